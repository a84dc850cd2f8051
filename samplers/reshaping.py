"""SIGMAS are blended, resampled and split in lambda (half the logSNR).

A grid may begin where a flow model has no signal (lambda = -inf) and end at sigma = 0 (lambda = inf). Such ends are not
changed. The values between them, the body, are a curve of lambda over the index.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from .grid import check_moves, grid_steps, read_sigmas
from .schedules import MOST_STEPS
from .time_maps import TimeMap


class _Curve(NamedTuple):
    """A falling grid: the sigmas before the body, the body in lambda, and the sigmas after it."""

    head: list[float]
    body: np.ndarray
    tail: list[float]

    def grid(self, body: np.ndarray, time: TimeMap, like: torch.Tensor) -> torch.Tensor:
        """SIGMAS with the ends of this curve and another body; rising if `like` is rising."""
        values = [*self.head, *(time.sigma(float(lam)) for lam in body), *self.tail]
        grid = torch.tensor(values[::-1] if _rises(like) else values, dtype=like.dtype)
        check_moves(grid, "the new curve")
        return grid


def blend(sigmas_a: torch.Tensor, sigmas_b: torch.Tensor, weight: float, time: TimeMap) -> torch.Tensor:
    """(1 - weight) of one grid and weight of another, in lambda; the second is resampled to the steps of the first.

    Raises:
        ValueError: a grid cannot be sampled on or has no step, one falls and the other rises, the weight is not 0 to 1, or only
            one of the grids has an infinite end (no signal, or sigma = 0).
    """
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"weight must be between 0 and 1, got {weight!r}.")
    a, b = _curve("sigmas_a", sigmas_a, time), _curve("sigmas_b", sigmas_b, time)
    if _rises(sigmas_a) != _rises(sigmas_b):
        raise ValueError("sigmas_a and sigmas_b must both fall or both rise; put a Flip Sigmas node before one of them.")
    for end, (in_a, in_b) in (("starts", (a.head, b.head)), ("ends", (a.tail, b.tail))):
        if bool(in_a) != bool(in_b):
            with_end, without = ("sigmas_a", "sigmas_b") if in_a else ("sigmas_b", "sigmas_a")
            raise ValueError(
                f"{with_end} {end} at sigma {(in_a or in_b)[0]:g} and {without} does not, so they have no mean in logSNR there. "
                "Build both from the same model, or cut both."
            )
    return a.grid((1.0 - weight) * a.body + weight * _resampled(b.body, len(a.body)), time, sigmas_a)


def resample(sigmas: torch.Tensor, steps: int, time: TimeMap) -> torch.Tensor:
    """The same curve in another number of steps: lambda over the index, by monotone cubic interpolation (PCHIP).

    A grid resampled to a multiple of its body's steps keeps all its sigmas.

    Raises:
        ValueError: the grid cannot be sampled on, or steps is too small for its fixed ends.
    """
    curve = _curve("sigmas", sigmas, time)
    fixed = len(curve.head) + len(curve.tail)
    least = max(1, fixed + (len(curve.body) > 1))
    if steps < least:
        raise ValueError(f"steps must be {least} or more for these sigmas, got {steps}.")
    if steps > MOST_STEPS:
        raise ValueError(f"steps must be at most {MOST_STEPS}, got {steps}.")
    return curve.grid(_resampled(curve.body, steps + 1 - fixed), time, sigmas)


def split(sigmas: torch.Tensor, sigma: float, time: TimeMap) -> tuple[torch.Tensor, torch.Tensor]:
    """The two parts of a grid, cut at the entry nearest to `sigma` in lambda, which both parts contain.

    Raises:
        ValueError: the grid cannot be sampled on, or one part would have no step.
    """
    curve = _curve("sigmas", sigmas, time)
    if len(sigmas) < 3:
        raise ValueError(f"sigmas have a single step, from {float(sigmas[0]):g} to {float(sigmas[1]):g}, which cannot be split.")
    falling = sorted(read_sigmas(sigmas), reverse=True)
    index = len(curve.head) + int(abs(curve.body - time.lam(sigma)).argmin()) if sigma > 0.0 else len(falling) - 1
    if not (falling[-1] < sigma < falling[0] and 0 < index < len(falling) - 1):
        raise ValueError(
            f"the split is at sigma {sigma:.6g}, which leaves one part without a step. These sigmas can be split at any of their "
            f"own from {falling[1]:.6g} to {falling[-2]:.6g}."
        )
    index = len(sigmas) - 1 - index if _rises(sigmas) else index
    return sigmas[: index + 1].clone(), sigmas[index:].clone()


def _rises(sigmas: torch.Tensor) -> bool:
    return bool(sigmas[-1] > sigmas[0])


def _curve(name: str, sigmas: torch.Tensor, time: TimeMap) -> _Curve:
    values = read_sigmas(sigmas)
    if len(values) < 2:
        raise ValueError(f"{name} must have two sigmas or more, got {len(values)}; there is no step to reshape.")
    try:
        grid_steps(values, time)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    values = sorted(values, reverse=True)
    head = [v for v in values if v > 0.0 and not math.isfinite(time.lam(v))]
    tail = [v for v in values if v == 0.0]
    body = np.array([time.lam(v) for v in values[len(head) : len(values) - len(tail)]])
    if len(head) > 1 or len(tail) > 1 or len(body) == 0 or (np.diff(body) <= 0.0).any():
        raise ValueError(f"{name} must not repeat a sigma; the curve through them would stand still.")
    return _Curve(head, body, tail)


def _resampled(body: np.ndarray, count: int) -> np.ndarray:
    if len(body) == count:
        return body
    if len(body) == 1 or count == 1:
        return np.linspace(body[0], body[-1], count)
    from scipy.interpolate import PchipInterpolator  # noqa: PLC0415 (slow to import)

    return PchipInterpolator(np.arange(len(body)), body)(np.linspace(0.0, len(body) - 1.0, count))
