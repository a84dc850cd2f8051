"""Where a model's ODE really goes: grids that are fine enough for it, and the states along them."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...grid import MIN_STEP, read_sigmas
from ...signature import Sigmas
from ...time_maps import TimeMap

# lambda at which a flow model's step from pure noise, where it is -inf, counts as begun.
NEAR_NOISE = -7.0


def fine_grid(sigmas: Sequence[float], time: TimeMap, floor: float, steps: int) -> list[float]:
    """A grid that holds every sigma of another one and is nearly uniform in logSNR in between.

    Args:
        sigmas: falling, from sigmas[0] to a last one that may be 0.
        time: the time map.
        floor: where a grid to 0 takes its last step, if it is below the last sigma above 0.
        steps: to cover it with; the number made is a little larger, as every given sigma is met.

    Returns:
        sigmas, each a float32 number.
    """
    points = [s for s in sigmas if s > 0.0]
    if sigmas[-1] == 0.0 and floor < points[-1] * (1.0 - MIN_STEP):
        points.append(float(np.float32(floor)))
    lam = [max(time.lam(s), NEAR_NOISE) for s in points]
    most = (lam[-1] - lam[0]) / steps
    fine = [points[0]]
    for start, end, sigma in zip(lam, lam[1:], points[1:]):
        parts = max(math.ceil((end - start) / most - 1e-9), 1)
        between = [float(np.float32(time.sigma(start + (end - start) * k / parts))) for k in range(1, parts)]
        fine += [s for s in between if sigma < s < fine[-1]] + [sigma]
    return fine + [0.0] * (sigmas[-1] == 0.0)


@dataclass
class Trajectory:
    """A solution of the ODE at falling sigmas, of some items.

    Attributes:
        sigmas: where it is known, without the end.
        x: states there, (items, ...) each.
        denoised: outputs there.
        end: the state at the end.
        last: sigma of the end.
    """

    sigmas: list[float]
    x: list[torch.Tensor]
    denoised: list[torch.Tensor]
    end: torch.Tensor
    last: float

    def at(self, sigma: float) -> torch.Tensor:
        """The state at a sigma: one that is known, or by the cubic through the two about it, with dx/dsigma = (x - D) / sigma.

        Raises:
            ValueError: sigma lies outside of it.
        """
        if sigma == self.last:
            return self.end
        right = bisect.bisect_left([-s for s in self.sigmas], -sigma)
        if right < len(self.sigmas) and self.sigmas[right] == sigma:
            return self.x[right]
        if not 0 < right < len(self.sigmas):
            raise ValueError(f"sigma {sigma:g} is not on the trajectory, from {self.sigmas[0]:g} to {self.sigmas[-1]:g}.")
        s0, s1 = self.sigmas[right - 1 : right + 1]
        x0, x1 = (x.double() for x in self.x[right - 1 : right + 1])
        d0, d1 = self.denoised[right - 1 : right + 1]
        u, h = (sigma - s0) / (s1 - s0), s1 - s0
        slope0, slope1 = (x0 - d0) / s0, (x1 - d1) / s1
        at_ends = (1.0 + 2.0 * u) * (1.0 - u) ** 2 * x0 + u**2 * (3.0 - 2.0 * u) * x1
        return at_ends + h * u * (1.0 - u) * ((1.0 - u) * slope0 - u * slope1)


def joined(parts: Sequence[Trajectory]) -> Trajectory:
    """Trajectories over the same sigmas as one of all their items."""
    x, denoised = ([torch.cat(tensors) for tensors in zip(*(getattr(p, name) for p in parts))] for name in ("x", "denoised"))
    return Trajectory(parts[0].sigmas, x, denoised, torch.cat([p.end for p in parts]), parts[0].last)


class Recorder:
    """A sampler's callback that keeps the states at some sigmas; all of its steps' starts with sigmas None."""

    def __init__(self, sigmas: Sigmas | None = None):
        self._wanted = None if sigmas is None else set(read_sigmas(sigmas))
        self._found: dict[float, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, info: dict[str, Any]) -> None:
        """Keep the state of a call that starts a step, if it is wanted."""
        sigma = float(info["sigma_hat"])
        if sigma == float(info["sigma"]) and (self._wanted is None or sigma in self._wanted):
            x, denoised = (info[name].detach().float().cpu().clone() for name in ("x", "denoised"))
            self._found.setdefault(sigma, (x, denoised))

    def trajectory(self, end: torch.Tensor, last: float) -> Trajectory:
        """What was kept, with the end."""
        sigmas = sorted(self._found, reverse=True)
        return Trajectory(
            sigmas, [self._found[s][0] for s in sigmas], [self._found[s][1] for s in sigmas], end.detach().cpu(), last
        )
