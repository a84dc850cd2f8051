"""Step-distilled models made from exact models: one call gives what a teacher solves in many steps."""

import math

import torch

from samplers.time_maps import TimeMap

from .exact_worlds import Exact, Mixture
from .solve import EARLIEST, solve

_STEPS = 12  # teacher steps per student step
_FLOOR = 1e-3


class Student:
    """A model for which Euler is exact on one grid: each output leads to the teacher's state at the next grid point.

    Attributes:
        shape: shape of one item.
        teacher: the denoiser whose solution is the right result.

    Args:
        teacher: the exact denoiser.
        sigmas: the grid that it was distilled for, falling to 0.
        time: the teacher's time map.
    """

    def __init__(self, teacher: Exact, sigmas: torch.Tensor, time: TimeMap):
        self.shape, self.teacher, self._time = teacher.shape, teacher, time
        self._sigmas = sigmas.tolist()

    def __call__(self, x: torch.Tensor, sigma: float, alpha: float = 1.0) -> torch.Tensor:
        """D with which Euler's x + (t - sigma) (x - D) / sigma is the teacher's solution at the next grid point t."""
        after = max(t for t in self._sigmas if t < sigma * (1.0 - 1e-5) or t == 0.0)
        solved = solve(self.teacher, x, self._between(sigma, after), self._time)
        return (solved - x * (after / sigma)) / (1.0 - after / sigma)

    def _between(self, start: float, end: float) -> torch.Tensor:
        time, last = self._time, end or self._time.sigma(-math.log(_FLOOR))
        lam = torch.linspace(max(time.lam(start), EARLIEST), max(time.lam(last), EARLIEST + 1.0), _STEPS, dtype=torch.float64)
        inner = [time.sigma(value) for value in lam.tolist()[1:]]
        return torch.tensor([start, *inner[: None if end == 0.0 else -1], end], dtype=torch.float64)


class FreshDraws:
    """A model whose outputs are final pictures of the mixture: draws from the posterior given x, new ones at every sigma.

    Combining two outputs gains nothing, since any single picture is right.
    """

    def __init__(self, data: Mixture):
        self.shape, self._means = data.shape, data.mixture.means
        self._std = data.mixture.std

    def __call__(self, x: torch.Tensor, sigma: float, alpha: float = 1.0) -> torch.Tensor:
        """One picture per item."""
        flat, variance = x.flatten(1).double(), (alpha * self._std) ** 2 + sigma**2
        logits = (alpha * flat @ self._means.T - 0.5 * alpha**2 * self._means.square().sum(1)) / variance
        uniform = torch.rand(len(self._means), generator=torch.Generator().manual_seed(int(sigma * 1e6)), dtype=torch.float64)
        picked = (logits - (-uniform.log()).log()).argmax(1)
        return self._means[picked].reshape(x.shape).to(x.dtype)

    def distance(self, samples: torch.Tensor) -> torch.Tensor:
        """Relative distance to the nearest picture, (batch,)."""
        away, nearest = torch.cdist(samples.flatten(1).double(), self._means).min(1)
        return away / self._means[nearest].norm(dim=1)
