"""The digits under a process whose noise differs by direction; without ComfyUI."""

from collections.abc import Callable

import torch

from embedded.digits import SHAPE, digits
from embedded.mixture import GaussianMixture
from embedded.process_mixture import ProcessMixture
from samplers.lab.distances import relative_distance
from samplers.plan import Plan
from samplers.processes.coordinates import Coordinates
from samplers.processes.linear_sde import LinearSDE
from samplers.processes.process_sampler import run_on
from samplers.processes.process_times import time_grid


class DigitsProcess:
    """The digits as a mixture of width 0.1 under a process; its eps is a formula.

    Args:
        sde: the process, of images of the digits' size.
    """

    def __init__(self, sde: LinearSDE):
        coordinates = Coordinates(sde, torch.zeros(1, *SHAPE, dtype=torch.float64))
        data = digits(dtype=torch.float64)
        means = coordinates.to_state(data.means.reshape(-1, *SHAPE)).flatten(1)
        self._sde, self._exact = sde, ProcessMixture(sde, GaussianMixture(means, data.std))

    def start(self, items: int, seed: int) -> torch.Tensor:
        """Draws of the prior, (items, size, 8, 8) in float64."""
        generator = torch.Generator().manual_seed(seed)
        u = torch.randn(items, self._sde.size, *SHAPE[1:], generator=generator, dtype=torch.float64)
        if self._sde.size == 2:
            u[:, 1] *= float(self._sde.prior_covariance()[1, 1]) ** 0.5
        return u

    def solve(self, plan: Callable[..., Plan], start: torch.Tensor, steps: int, power: float = 2.0) -> torch.Tensor:
        """The data's part of the state at t = 0 (in frequencies for blurring diffusion).

        Args:
            plan: function of (sde, times) that makes the plan.
            start: from `start`.
            steps, power: as in `time_grid`.
        """
        times = time_grid(self._sde, steps, power)
        eps = lambda u, t: self._exact.eps(u, float(t[0]))  # noqa: E731
        return run_on(plan(self._sde, times), eps, start, torch.tensor(times), disable=True)[:, :1]


def median_distance(samples: torch.Tensor, exact: torch.Tensor) -> float:
    """The median distance of the items, relative to the exact ones."""
    return float(relative_distance(samples, exact).median())
