"""Reading SIGMAS: the one place where a grid is checked before sampling."""

import math
from typing import NamedTuple

import torch

from .plan import Renoising
from .time_maps import TimeMap


class GridStep(NamedTuple):
    """One step of a grid that moves.

    Attributes:
        index: counts in SIGMAS as given.
        sigma: where the step starts; the grid's, or above it where the step is churned.
        sigma_next: where it ends; the grid's.
        after: what happens to the end point before the next step, see `churn.py`; None for nothing.
    """

    index: int
    sigma: float
    sigma_next: float
    after: Renoising | None = None


# Steps shorter than this in log sigma, a few float32 roundings, are repetitions: they leave x alone and cost no call.
MIN_STEP = 1e-6


def grid_steps(sigmas, time: TimeMap) -> list[GridStep]:
    """The steps of a descending grid, without the repetitions.

    Args:
        sigmas: 1-D tensor or sequence; a tensor is read from its device once.
        time: the time map, for its largest sigma.

    Returns:
        One GridStep for every sigma that differs from the last one kept; none for a grid of length 0 or 1.

    Raises:
        ValueError: naming the entry: not 1-D, not finite, negative, rising, above the map's limit, or a
            first sigma of 0 with more to come.
    """
    values = read_sigmas(sigmas)
    if len(values) < 2:
        return []
    for i, sigma in enumerate(values):
        if not math.isfinite(sigma):
            raise ValueError(f"sigmas[{i}] is {sigma}; every sigma must be finite. Check the scheduler that made it.")
        if sigma < 0.0:
            raise ValueError(f"sigmas[{i}] is {sigma:g}; a sigma cannot be negative. Check the scheduler that made it.")
        if not time.allows(sigma):
            raise ValueError(
                f"sigmas[{i}] is {sigma:.9g}, but a flow model ends at sigma {time.sigma_limit:g}. "
                "Build the SIGMAS from this model."
            )
        if i and sigma > values[i - 1]:
            raise ValueError(
                f"sigmas[{i}] is {sigma:g}, above sigmas[{i - 1}] = {values[i - 1]:g}; "
                "SIGMAS must not rise. Sort them, or undo a Flip Sigmas node."
            )
    if values[0] == 0.0:
        raise ValueError("sigmas[0] is 0 with more to come; there is no noise to remove. Start from a sigma above 0.")
    steps, current = [], values[0]
    for i, sigma in enumerate(values[1:]):
        if current > 0.0 and (sigma == 0.0 or math.log(current / sigma) > MIN_STEP):
            steps.append(GridStep(i, current, sigma))
            current = sigma  # a repetition is measured from the last sigma kept, so that many cannot add up
    return steps


def read_sigmas(sigmas) -> list[float]:
    """SIGMAS as Python floats.

    Raises:
        ValueError: not one-dimensional.
    """
    values = sigmas if isinstance(sigmas, torch.Tensor) else torch.tensor(sigmas, dtype=torch.float64)
    values = values.detach().cpu()
    if values.ndim != 1:
        raise ValueError(f"sigmas must be one-dimensional, got shape {tuple(values.shape)}.")
    return values.double().tolist()
