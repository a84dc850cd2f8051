"""Models of digits under CLD, and the samplers that are compared on them, each a function (model, u, calls) -> samples.

States have the shape (batch, 2, 8, 8), positions first; samples are positions, (batch, 1, 8, 8), in the data's units, in which
black is -1 and white 1. The grid is uniform in t^(1/2) from 1 to 0.001, and the last call is the step to t = 0 (arXiv 2206.05564,
appendix C).
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from embedded.cld_checkpoint import DIGITS_CLD, load
from embedded.cld_coordinates import LABEL_SCALE
from embedded.digits import SHAPE, digits
from embedded.process_mixture import ProcessMixture
from samplers.processes.cld import CLD
from samplers.processes.process_sampler import run_on, sample_gddim
from samplers.processes.process_times import time_grid
from samplers.processes.res_planner import res_on

from . import cld_baselines

_CHUNK = 250  # items a call, what fits a CPU's cache


class DigitsModel:
    """A model of the digits under CLD.

    Args:
        name: as printed.
        sde: its process.
        kind: "R" or "L", the parameterisation of its eps.
        function: `function(u, t) -> eps` like u; t of shape (batch,).

    Attributes:
        calls: made so far, of a whole batch each.
    """

    def __init__(self, name: str, sde: CLD, kind: str, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]):
        self.name, self.sde, self.kind, self.calls = name, sde, kind, 0
        self._function = function

    def eps(self, u: torch.Tensor, t: torch.Tensor, kind: str = "R") -> torch.Tensor:
        """eps of a kind at states of one time: eps_L = L^T R^-T eps_R."""
        self.calls += 1
        eps = torch.cat([self._function(*chunk) for chunk in zip(u.split(_CHUNK), t.split(_CHUNK))]).to(u)
        if kind == self.kind:
            return eps
        here, there = (self.sde.factor(float(t[0]), k) for k in (self.kind, kind))
        return cld_baselines.mapped(np.linalg.solve(here, there).T, eps)

    def start(self, items: int, seed: int, dtype=torch.float32) -> torch.Tensor:
        """Draws of the prior."""
        u = torch.randn(items, 2, *SHAPE[1:], generator=torch.Generator().manual_seed(seed))
        u[:, 1] *= self.sde.mass**0.5
        return u.to(dtype)


def mixture_model() -> DigitsModel:
    """The digits as a mixture of width 0.1, whose eps is a formula."""
    sde = CLD()
    exact = ProcessMixture(sde, digits(dtype=torch.float64))
    return DigitsModel("exact mixture", sde, "R", lambda u, t: exact.eps(u, float(t[0])))


def trained_model() -> DigitsModel:
    """The network that comes with the pack, without a class."""
    sde, kind, network = load(DIGITS_CLD, CLD)

    @torch.no_grad()
    def function(u, t):
        return network(u.float(), timesteps=LABEL_SCALE * t.float())

    return DigitsModel("trained network", sde, kind, function)


def times(model: DigitsModel, calls: int) -> torch.Tensor:
    """The grid of so many calls of a method that takes one a step; float64."""
    return torch.tensor(time_grid(model.sde, calls), dtype=torch.float64)


def gddim(model: DigitsModel, u, calls: int, degree: int = 2, corrector: str = "none", kind: str = "R", lam: float = 0.0):
    """gDDIM; where it diverges, samples are infinite."""
    grid = times(model, 1 + (calls - 1) // (2 if corrector == "PECE" else 1))
    options = {"sde": model.sde, "degree": degree, "corrector": corrector, "kind": kind, "noise_level": lam}
    draw = lambda s, t: torch.randn_like(u)  # noqa: E731
    eps = partial(model.eps, kind=kind)
    try:
        return positions(sample_gddim(eps, u, grid, disable=True, noise_sampler=draw, **options))
    except FloatingPointError:
        return torch.full_like(positions(u), torch.inf)


def res_3mc(model: DigitsModel, u, calls: int):
    """RES of third order with the corrector."""
    grid = times(model, calls)
    return positions(run_on(res_on(model.sde, grid, "3MC"), model.eps, u, grid, disable=True))


def euler_maruyama(model: DigitsModel, u, calls: int, lam: float):
    """Euler-Maruyama; Euler's method where lambda is 0."""
    return positions(cld_baselines.euler_maruyama(model.sde, model.eps, u, times(model, calls).tolist(), lam)[0])


def sscs(model: DigitsModel, u, calls: int):
    """The symmetric splitting CLD sampler."""
    return positions(cld_baselines.sscs(model.sde, model.eps, u, times(model, calls).tolist())[0])


def rk45(model: DigitsModel, u, calls: int | None, tolerance: float):
    """The probability-flow ODE by RK45, which takes as many calls as it needs."""
    return positions(cld_baselines.probability_flow_rk45(model.sde, model.eps, u, model.sde.t_max, model.sde.t_min, tolerance)[0])


def positions(u: torch.Tensor) -> torch.Tensor:
    """x of (x, v)."""
    return u[:, : u.shape[1] // 2]


# What table 8 compares at equal calls, and whether it is deterministic: the first with all others. One more line adds a method
# to the table and the verdicts.
COMPARED = {
    "gDDIM, q = 2": (partial(gddim, degree=2), True),
    "Euler, lambda = 0": (partial(euler_maruyama, lam=0.0), True),
    "Euler-Maruyama, lambda = 1": (partial(euler_maruyama, lam=1.0), False),
    "SSCS": (sscs, False),
    "RES-3MC": (res_3mc, True),
}
