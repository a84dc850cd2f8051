"""The converged solution that solvers are measured against."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from ..schedules import SigmaRange
from ..time_maps import TimeMap
from .distances import relative_distance

FIRST, CAP, TOLERANCE = 48, 1536, 1e-3
_LEFT_OUT, _LEFT_OUT_FROM = 0.1, 4  # share of items that need not agree; at least one in batches of this size
# The first step crosses all noise above e^7 times the size of the data, unless the caller knows data with larger parts. The
# solution at sigma = 0 is computed down to e^-2 times the model's smallest sigma, where the last step of most schedules starts.
# If the reference ended with that step, a sampler with the same error would look exact; a lower sigma changes far less than
# TOLERANCE.
EARLIEST, _BEYOND = -7.0, 2.0
# Below this multiple of its agreement, the reference's own error decides which of two results is closer.
_MARGIN = 3.0


class NotConverged(ValueError):
    """The levels of a reference do not agree closely enough for its use."""


class Reference(NamedTuple):
    """A converged solution. The error of the finest level is a fraction of its agreement with the level before."""

    samples: torch.Tensor  # (batch, ...) at sigma = 0
    steps: int  # of the finest level
    agreement: float  # relative distance of the last two levels that 90 % of the items do not exceed, see `agreement`
    worst: float  # the same for the worst item
    calls: int  # model calls of all levels
    parted: tuple[int, ...] = ()  # items of the batch, from 0, that need not agree and do not, the largest distance first
    tolerance: float = TOLERANCE  # the requested agreement

    @property
    def converged(self) -> bool:
        """Whether the reference has the requested agreement."""
        return self.agreement <= self.tolerance

    @property
    def floor(self) -> float:
        """The distance to this reference below which results cannot be distinguished."""
        return _MARGIN * self.agreement


class Agreement(NamedTuple):
    """How closely two levels of a solution agree."""

    most: float  # the largest distance of the items that must agree
    worst: float  # the largest distance of all items
    left_out: tuple[int, ...]  # the items, from 0, that need not agree, the largest distance first


def agreement(distances: torch.Tensor) -> Agreement:
    """The agreement of two levels, by the distance of every item, (items,); NaN counts as infinite.

    One item in ten need not agree, and at least one of 4 items or more. Trajectories on the border between two images may never
    agree, and medians and quartiles hardly depend on them.
    """
    ordered, items = distances.nan_to_num(nan=math.inf).sort(descending=True)
    few = int(_LEFT_OUT * len(items) + 1e-9)
    count = max(few, 1) if len(items) >= _LEFT_OUT_FROM else few
    return Agreement(float(ordered[count]), float(ordered[0]), tuple(items[:count].tolist()))


def reference_floor(sigma_range: SigmaRange, time: TimeMap) -> float:
    """The sigma from which the lab's references step to 0."""
    return time.sigma(time.lam(sigma_range.sigma_min) + _BEYOND)


def reference_grid(steps: int, start: float, floor: float, time: TimeMap, earliest: float = EARLIEST) -> torch.Tensor:
    """A grid, float32 of shape (steps + 1,), that is uniform in logSNR from sigma `start` to `floor` and ends at 0.

    The first step ends at the lambda `earliest` if `start` is at higher noise.
    """
    first = max(time.lam(start), earliest) if start < time.sigma(earliest) else earliest
    last = max(time.lam(floor), first + _BEYOND)
    between = [time.sigma(first + (last - first) * i / (steps - 1)) for i in range(1, steps)]
    return torch.tensor([start, *between, 0.0], dtype=torch.float64).float()


def converge(solve: Callable[[int], torch.Tensor], tolerance: float = TOLERANCE, first: int = FIRST, cap: int = CAP) -> Reference:
    """Double the steps of a third-order solver, from `first`, until two levels agree or the cap allows no finer level.

    On a network that is rough in sigma the finest level may miss the tolerance, see `converged`.

    Args:
        solve: solve(steps) -> samples, (batch, ...), with one model call per step.
        tolerance: largest relative distance of two levels, for the items that must agree, see `agreement`.
        first, cap: smallest and largest number of steps.

    Raises:
        NotConverged: the last two levels are not finite.
        ValueError: the tolerance is not above 0, or the cap allows no second level.
    """
    if not 0.0 < tolerance < math.inf:
        raise ValueError(f"tolerance must be a number above 0, got {tolerance!r}.")
    if cap < 2 * first:
        raise ValueError(f"reference_calls must be {2 * first} or more, got {cap}: {first} and {2 * first} steps are compared.")
    steps, calls = first, first
    samples = solve(steps)
    while True:
        steps, coarse = 2 * steps, samples
        samples = solve(steps)
        calls += steps
        distance = relative_distance(coarse, samples)
        agreed = agreement(distance)
        if agreed.most > tolerance and 2 * steps <= cap:
            continue
        if agreed.most == math.inf:
            raise NotConverged(
                f"the reference came to hold NaN or infinity in {steps // 2} or {steps} steps, so there is nothing to measure "
                "against. Look at a picture of the model with dpmpp_2m first; half precision that overflows is the usual cause."
            )
        parted = tuple(item for item in agreed.left_out if not distance[item] <= max(tolerance, agreed.most))
        return Reference(samples, steps, agreed.most, agreed.worst, calls, parted, tolerance)
