"""Reads and checks SIGMAS before sampling."""

import itertools
import math
from dataclasses import dataclass

import torch

from .plan import Renoising
from .signature import Sigmas
from .time_maps import FLOW, TimeMap


@dataclass(frozen=True)
class GridStep:
    """One step of a grid that moves."""

    index: int  # of the step in SIGMAS as given
    sigma: float  # where the step starts; the sigma of the grid, or a larger one if the step is churned
    sigma_next: float  # where the step ends, a sigma of the grid
    after: Renoising | None = None  # what happens to the end point before the next step, see `churn.py`

    @property
    def rising(self) -> bool:
        """Whether it goes from the image to the noise."""
        return self.sigma_next > self.sigma

    @property
    def noisy_end(self) -> float:
        """The larger sigma: where a falling step starts and a rising one ends."""
        return max(self.sigma, self.sigma_next)

    def h(self, time: TimeMap) -> float:
        """Its size in lambda; inf for a step to sigma = 0."""
        return math.inf if self.sigma_next == 0.0 else time.lam(self.sigma_next) - time.lam(self.sigma)


# Steps shorter than this in log sigma, a few float32 roundings, are repetitions: they do not change x and make no call.
MIN_STEP = 1e-6
# Below this, sigma is too small for float32, in which models get it.
_LEAST = 1e-30
# A rising step multiplies the state, and with it the rounding of float32, by the ratio of its sigmas.
_MOST_RISE = 1e6
# A model whose sigmas begin above this is not a flow model.
_BEYOND_FLOW = 2.0


def grid_steps(sigmas: Sigmas, time: TimeMap, rising: bool = True) -> list[GridStep]:
    """The steps of a grid that falls to the image or rises to the noise (inversion), without the repetitions.

    The grid is a 1-D tensor, which is read from its device once, or a sequence. With a length of 0 or 1 it has no steps.
    `rising` says whether the sampler can follow a rising grid.

    Raises:
        ValueError: naming the entry: not 1-D, not finite, negative, above the map's limit, neither falling nor rising
            throughout, or a first sigma of 0 with more to come; a rising grid for a sampler that cannot follow it; or an end in
            pure noise.
    """
    values = read_sigmas(sigmas)
    if not values:
        return []
    for i, sigma in enumerate(values):
        if not math.isfinite(sigma):
            raise ValueError(f"sigmas[{i}] is {sigma}; every sigma must be finite. Check the scheduler that made it.")
        if sigma < 0.0:
            raise ValueError(f"sigmas[{i}] is {sigma:g}; a sigma cannot be negative. Check the scheduler that made it.")
        if 0.0 < sigma < _LEAST:
            raise ValueError(f"sigmas[{i}] is {sigma:g}, which float32 cannot distinguish from 0. Set it to 0.")
        if not time.allows(sigma):
            raise ValueError(
                f"sigmas[{i}] is {sigma:.9g}, but a {time.process} model ends at sigma {time.sigma_limit:g}. "
                "Build the SIGMAS from this model."
            )
    if values[-1] > values[0]:
        _check_rising(values, rising)
    else:
        _check_falling(values)
    if time.process == FLOW.process and time.is_pure_noise(values[-1]):
        raise ValueError(
            f"sigmas[{len(values) - 1}] is {values[-1]:.9g}, where a flow model's latent holds nothing of the image, and ComfyUI "
            "divides by 1 - sigma = 0. End below 1: split SIGMAS after the first step or later, and turn an image into noise by "
            "the direction 'invert' of RES LogSNR Schedule."
        )
    steps: list[GridStep] = []
    current = values[0]
    for i, sigma in enumerate(values[1:]):
        if current > 0.0 and (sigma == 0.0 or abs(math.log(current / sigma)) > MIN_STEP):
            steps.append(GridStep(i, current, sigma))
            current = sigma  # a repetition is measured from the last kept sigma, so that many repetitions cannot add up to a step
    return steps


def check_moves(sigmas: Sigmas, what: str) -> None:
    """Raise a ValueError if a new grid, `what`, repeats a sigma or turns, because fewer calls than its steps would be made."""
    values = read_sigmas(sigmas)
    for before, sigma in itertools.pairwise(values if values[0] > values[-1] else values[::-1]):
        if not sigma < before:
            raise ValueError(f"{what} repeats sigma {sigma:g} at {len(values) - 1} steps; take fewer steps.")


def _check_falling(values: list[float]) -> None:
    for i, (before, sigma) in enumerate(zip(values, values[1:]), start=1):
        if sigma > before:
            raise ValueError(
                f"sigmas[{i}] is {sigma:g}, above sigmas[{i - 1}] = {before:g}; SIGMAS must fall throughout, or rise "
                "throughout to turn an image into noise. Sort them."
            )
    if values[0] == 0.0 and len(values) > 1:
        raise ValueError("sigmas[0] is 0, but more sigmas follow; there is no noise to remove. Start from a sigma above 0.")


def _check_rising(values: list[float], allowed: bool) -> None:
    for i, (before, sigma) in enumerate(zip(values, values[1:]), start=1):
        if sigma < before:
            raise ValueError(
                f"sigmas[{i}] is {sigma:g}, below sigmas[{i - 1}] = {before:g}; SIGMAS must rise throughout to turn an image "
                "into noise, or fall throughout. Sort them."
            )
        if before > 0.0 and sigma > _MOST_RISE * before:
            raise ValueError(
                f"sigmas[{i}] is {sigma:g}, more than a million times sigmas[{i - 1}] = {before:g}; so long a step magnifies the "
                "rounding of the image. Start at a larger sigma."
            )
    if not allowed:
        raise ValueError(
            f"sigmas rise from {values[0]:g} to {values[-1]:g}, which a sampler that adds noise or chooses its own steps cannot "
            "follow. Undo the Flip Sigmas node or direction invert, or turn an image into noise with a sampler such as exp_res."
        )
    if values[0] == 0.0:
        raise ValueError(
            "sigmas[0] is 0, but more sigmas follow; at sigma 0 a model cannot predict the noise. Start at a small sigma, as "
            "Flip Sigmas and the direction 'invert' of RES LogSNR Schedule do."
        )


def made_for_flow(sigmas: Sigmas, time: TimeMap, sigma_max: float) -> str:
    """A warning if a whole grid of a flow model is used on another kind of model; "" otherwise.

    SIGMAS from 1 to 0 are legal for partial denoising on such a model, but none of its schedules begins exactly at 1.
    `grid_steps` refuses the reverse, because sigmas of flow models end at 1. `time` and `sigma_max` are the model's.
    """
    values = read_sigmas(sigmas)
    whole = len(values) > 2 and abs(values[0] - 1.0) < 1e-6 and values[-1] == 0.0
    if not whole or not time.allows(_BEYOND_FLOW) or sigma_max < _BEYOND_FLOW:
        return ""
    return (
        f"the sigmas go from 1 to 0, like those of a flow model, but this model begins at {sigma_max:.4g} and is not one, so "
        "nearly all of its noise is left out. Build the SIGMAS from this model."
    )


def read_sigmas(sigmas: Sigmas) -> list[float]:
    """SIGMAS as Python floats; a ValueError if they are not one-dimensional."""
    values = sigmas.detach().cpu() if isinstance(sigmas, torch.Tensor) else torch.tensor(sigmas, dtype=torch.float64)
    if values.ndim != 1:
        raise ValueError(f"sigmas must be one-dimensional, got shape {tuple(values.shape)}.")
    return values.double().tolist()
