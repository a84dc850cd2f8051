"""Converged solutions, by the lab's reference and a single-step method of third order."""

import math

import torch

from samplers.lab.reference import Reference, converge, reference_grid
from samplers.loop import run
from samplers.single_step import single_step_plan
from samplers.tableaus import res_3s
from samplers.time_maps import TimeMap

# The latents' coarsest coefficients have a standard deviation of 40, so a flow's first step must end far beyond e^7.
EARLIEST = -math.log(1e4)


def solve(denoiser, x: torch.Tensor, sigmas: torch.Tensor, time: TimeMap) -> torch.Tensor:
    """RES-3S on a grid.

    Args:
        denoiser: `denoiser(x, sigma, alpha)` with floats.
        x: (batch, ...) at sigmas[0].
        sigmas: falling.
        time: the model's time map.
    """

    def model(x, sigma):
        value = float(sigma.reshape(-1)[0])
        return denoiser(x, value, time.alpha(value))

    return run(single_step_plan(sigmas, res_3s(), time), model, x, sigmas, disable=True)


def converged(
    denoiser, x: torch.Tensor, start: float, time: TimeMap, floor: float, first: int, tolerance: float, cap: int
) -> Reference:
    """The solution at sigma 0 from x at sigma `start`, in x's dtype; see `samplers.lab.reference.converge`.

    Args:
        floor: the last sigma above 0, of the VE form.
        first, tolerance, cap: of the lab's `converge`.

    Raises:
        NotConverged: it is not finite.
    """
    last = time.sigma(-math.log(floor))

    def level(steps):
        return solve(denoiser, x, reference_grid(steps, start, last, time, EARLIEST), time)

    return converge(level, tolerance, first, cap)
