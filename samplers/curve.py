"""Grids drawn by hand: a monotone curve through points, from the share of the steps to the share of the logSNR range."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .spacings import Ends

MAX_POINTS = 64
MAX_TEXT = 10_000  # characters
# Points that are closer to each other would make a jump in the grid.
MIN_GAP = 0.001
STRAIGHT = "[[0, 0], [1, 1]]"


class Curve(NamedTuple):
    """A spacing for `schedules.logsnr_grid`: lambda over u, monotone cubic (PCHIP) between points."""

    points: tuple[tuple[float, float], ...]  # shares of the steps and of the range of logSNR, rising from (0, 0) to (1, 1)

    def share(self, u: np.ndarray) -> np.ndarray:
        """The share of the logSNR range that is covered after the share u of the steps."""
        from scipy.interpolate import PchipInterpolator  # noqa: PLC0415 (slow to import)

        return PchipInterpolator(*zip(*self.points))(u)

    def __call__(self, u: np.ndarray, ends: Ends) -> np.ndarray:
        """lambda at u."""
        return ends.first + self.share(u) * (ends.last - ends.first)


def read_curve(text: str) -> Curve:
    """The curve of a JSON list of points, [[0, 0], ..., [1, 1]]; a ValueError names the point that is wrong, counted from 1."""
    if len(text) > MAX_TEXT:
        raise ValueError(f"curve must have at most {MAX_TEXT} characters, got {len(text)}.")
    try:
        points = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"curve must be a JSON list of points, such as {STRAIGHT}; it is none: {error}.") from None
    if not isinstance(points, list) or not 2 <= len(points) <= MAX_POINTS:
        got = f"{len(points)} points" if isinstance(points, list) else f"{type(points).__name__}"
        raise ValueError(f"curve must be a list of 2 to {MAX_POINTS} points, such as {STRAIGHT}; got {got}.")
    values = [_point(number, point) for number, point in enumerate(points, 1)]
    for number, expected in ((1, (0.0, 0.0)), (len(values), (1.0, 1.0))):
        if values[number - 1] != expected:
            raise ValueError(f"curve: point {number} must be {_written(expected)}, got {_written(values[number - 1])}.")
    for number, (before, here) in enumerate(zip(values, values[1:]), 2):
        for axis, (name, direction) in enumerate((("first", "right of"), ("second", "above"))):
            if here[axis] - before[axis] < MIN_GAP * (1.0 - 1e-9):
                raise ValueError(
                    f"curve: point {number}, {_written(here)}, must lie {direction} point {number - 1}, {_written(before)}: "
                    f"its {name} number must be larger by {MIN_GAP} or more."
                )
    return Curve(tuple(values))


def _point(number: int, point: object) -> tuple[float, float]:
    values: list[Any] = point if isinstance(point, list) and len(point) == 2 else [None]
    if not all(type(value) in (int, float) and 0 <= value <= 1 for value in values):
        raise ValueError(
            f"curve: point {number} must be two numbers from 0 to 1, the share of the steps and the share of the logSNR range; "
            f"got {json.dumps(point):.60}."
        )
    return float(values[0]), float(values[1])


def _written(point: Sequence[float]) -> str:
    return json.dumps([round(value, 6) for value in point])
