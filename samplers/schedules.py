"""Time grids built in logSNR, for any model: made in lambda (half the logSNR) and mapped back to the model's sigma."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from .grid import check_moves
from .spacings import SHIFTED, SPACINGS, Ends, spaced
from .time_maps import FLOW, TimeMap

# The finite part of a flow grid, in lambda at shift 1: sigma / alpha from 100 to 0.02. Spacings without their own ends use all
# of it. Among 12 intervals, from 10 to 300 and down to 0.01 to 0.04, `uniform` has the least error on this one with exp_res, on
# spectra of latents of 64x64 and 128x128, of videos of 21 frames, and on photographs, at shifts of 3 and 8.
FLOW_INTERIOR = (-4.6, 3.9)
# The stretch of the spacing logit, and on models without a shift, which are eps and v models, the sigma / alpha at its middle.
# They were chosen with exp_res at 6 to 20 calls, on spectra of latents of 64x64 and 128x128, of videos of 21 frames, on
# photographs, digits, the emoji networks and networks of galaxies. On flow models stretches of 1.35 to 1.65 have similar errors.
# On eps models a stretch of 2 with a middle of 5 has less error than 1.75 with 4, except on latents, where it has 1 % more.
FLOW_STRETCH = 1.5
VE_MIDDLE, VE_STRETCH = 5.0, 2.0
# The largest sigma below 1 on flow models; larger ones count as pure noise.
_NOISIEST = 1.0 - 5e-5
MOST_STEPS = 1_000_000

DIRECTIONS = ("denoise", "invert", "denoise inverted")
# Where the inversion of a flow model ends. At sigma 1 the latent holds nothing of the image, and the host divides by 1 - sigma.
# A larger value does not improve a round trip, and the division costs float32 digits.
FLOW_INVERSION_END = 0.999
# Where the inversion starts, as a fraction of the smallest sigma above 0. It was chosen from 1/2, 1/3 and the 0.0001 of Flip
# Sigmas on the exact digits and the trained networks; docs/inversion.md has the last two. The last has less error on a network
# whose output does not change below its smallest sigma.
INVERSION_START = 1.0 / 3.0


class SigmaRange(NamedTuple):
    """What a schedule needs to know about a model."""

    sigma_min: float
    sigma_max: float
    timesteps: tuple[float, ...] = ()  # 1 / (1 + e^lambda) at `spacings.timestep_places` of its timesteps, rising; for beta
    shift: float = 1.0  # of a flow model, sigma / (1 - sigma) = shift t / (1 - t); 1 for none, and on all other models


def logsnr_grid(
    steps: int,
    sigma_range: SigmaRange,
    time: TimeMap,
    spacing: str | Callable[[np.ndarray, Ends], np.ndarray] = "uniform",
    parameters: dict[str, float] | None = None,
    composition: float = 0.5,
    logsnr_range: tuple[float, float] | None = None,
    follow_shift: bool = True,
) -> torch.Tensor:
    """A descending grid of `steps` steps that ends at 0.

    If sigma_max has no signal at all (flow at sigma = 1, lambda = -inf), the grid continues from it at a finite logSNR.

    Args:
        steps: number of steps, >= 1.
        sigma_range: the model's sigmas.
        time: the model's time map, `VE` or `FLOW`, with its noise scale.
        spacing: one of `spacings.SPACINGS`, or a function of u and the ends, such as a `curve.Curve`.
        parameters: parameters of the spacing by name; missing ones have their defaults.
        composition: fraction of the steps, 0.1 to 0.9, spent on the first half of the grid. Above 0.5 more steps are spent in
            the noise, where the composition is decided, and below 0.5 on the details.
        logsnr_range: logSNR (2 lambda) of the first sigma and of the last one above 0, instead of the model's.
        follow_shift: move the whole grid of a flow model by -log(shift) in lambda, unless `logsnr_range` sets its ends.

    Returns:
        float32 tensor of shape (steps + 1,).

    Raises:
        ValueError: naming the input that is out of range.
    """
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}.")
    if steps > MOST_STEPS:
        raise ValueError(f"steps must be at most {MOST_STEPS}, got {steps}; take fewer, or a larger denoise.")
    if not 0.1 <= composition <= 0.9:
        raise ValueError(f"composition must be between 0.1 and 0.9, got {composition!r}.")
    if not 0.0 < sigma_range.shift < math.inf:
        raise ValueError(f"a model's shift must be above 0 and finite, got {sigma_range.shift!r}.")
    if follow_shift and logsnr_range is None and (callable(spacing) or spacing not in SHIFTED):
        time = time.scaled(time.noise_scale / sigma_range.shift)  # a shift multiplies sigma / alpha
    ends = _model_ends(sigma_range, time) if logsnr_range is None else _given_ends(logsnr_range, sigma_range, time)
    middle = sigma_range.shift if follow_shift and logsnr_range is not None else 1.0
    flow = time.is_like(FLOW)
    ends = ends._replace(middle=-math.log(middle if flow else VE_MIDDLE), stretch=FLOW_STRETCH if flow else VE_STRETCH)
    to_zero = logsnr_range is None and spacing in SPACINGS and SPACINGS[spacing].to_zero
    if to_zero:
        # flow models can be called below their smallest sigma, because their time is continuous
        latest = math.inf if flow else time.lam(sigma_range.sigma_min)
        ends = ends._replace(last=math.inf, limits=(time.lam(time.sigma_limit * _NOISIEST), latest))
    u = np.linspace(0.0, 1.0, steps + to_zero)[1:steps]
    u = u * (1.0 - composition) / (composition + u * (1.0 - 2.0 * composition))  # 1/2 at u = composition, never steep
    lam = spacing(u, ends) if callable(spacing) else spaced(spacing, u, ends, parameters or {})
    first = sigma_range.sigma_max if logsnr_range is None else time.sigma(ends.start)
    sigmas = [first, *(time.sigma(float(value)) for value in lam), 0.0]
    grid = torch.tensor(sigmas, dtype=torch.float32)
    check_moves(grid, "the curve" if callable(spacing) else f"spacing {spacing!r} with {parameters or 'its defaults'}")
    return grid


def _model_ends(sigma_range: SigmaRange, time: TimeMap) -> Ends:
    sigma_min, sigma_max, timesteps, _ = sigma_range
    if not 0.0 < sigma_min < sigma_max < math.inf:
        raise ValueError(f"a model's sigmas must satisfy 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}.")
    start, last = time.lam(sigma_max), time.lam(sigma_min)
    if not time.is_like(FLOW):
        return Ends(start, start, last, timesteps=timesteps)
    first = max(start, FLOW_INTERIOR[0])
    # a model that ends earlier keeps its end if that lies inside
    return Ends(start, first, min(last, FLOW_INTERIOR[1]) if last > first else FLOW_INTERIOR[1], timesteps=timesteps)


def _given_ends(logsnr_range: tuple[float, float], sigma_range: SigmaRange, time: TimeMap) -> Ends:
    first, last = (logsnr / 2.0 for logsnr in logsnr_range)
    least = time.lam(sigma_range.sigma_max)
    if not (least - 1e-4 <= first < last <= 20.0):
        raise ValueError(
            f"start_logsnr must be {2.0 * least:.4g} or more, the model's largest sigma, and below end_logsnr, which must be 40 "
            f"or less; got {2.0 * first:g} and {2.0 * last:g}."
        )
    return Ends(first, first, last, timesteps=sigma_range.timesteps)


def directed(grid: torch.Tensor, time: TimeMap, direction: str) -> torch.Tensor:
    """A grid for one of DIRECTIONS, from one that falls to 0 or is empty.

    "denoise" is the grid itself. "invert" rises through the same sigmas, from the image to the noise. The image is at sigma 0,
    where no model can be called, so the grid starts at a fraction of the smallest sigma above 0, see INVERSION_START. "denoise
    inverted" falls from the end of the inversion, which differs from "denoise" only on flow models, see FLOW_INVERSION_END.

    Raises:
        ValueError: an unknown direction, or a single step to invert.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(map(repr, DIRECTIONS))}, got {direction!r}.")
    if direction == "denoise" or len(grid) == 0:
        return grid
    if time.is_like(FLOW):
        grid = grid.clamp(max=FLOW_INVERSION_END)
        above = int((grid == grid[0]).sum())
        if above > 1 and grid[above] > 0.0:  # a fine grid has many sigmas beyond the end, which are spread in lambda
            spread = np.linspace(time.lam(float(grid[0])), time.lam(float(grid[above])), above + 1)[1:above]
            grid[1:above] = torch.tensor([time.sigma(lam) for lam in spread.tolist()], dtype=grid.dtype)
    if direction == "invert":
        if len(grid) < 3:
            raise ValueError("steps must be 2 or more for the direction 'invert'; a single step has no sigma near the image.")
        grid = torch.cat([grid[-2:-1] * INVERSION_START, grid[:-1].flip(0)])
    check_moves(grid, f"the direction {direction!r}")
    return grid


def denoise_tail(build: Callable[[int], torch.Tensor], steps: int, denoise: float) -> torch.Tensor:
    """The last `steps` steps of `build(int(steps / denoise))`, as the host's BasicScheduler does; no sigmas where denoise is 0.

    Raises:
        ValueError: denoise is outside [0, 1], or the whole grid would be too long.
    """
    if not 0.0 <= denoise <= 1.0:
        raise ValueError(f"denoise must be between 0 and 1, got {denoise}.")
    if denoise == 0.0:
        return torch.empty(0, dtype=torch.float32)
    if steps / denoise > MOST_STEPS:
        raise ValueError(f"denoise {denoise:g} at {steps} steps asks for a grid of {steps / denoise:.0f}; raise denoise.")
    return build(int(steps / denoise))[-(steps + 1) :]
