"""Grids of times for linear diffusions."""

import math

import numpy as np

from .linear_sde import LinearSDE


def time_grid(
    sde: LinearSDE, steps: int, power: float = 2.0, last: float | None = None, start: float | None = None
) -> list[float]:
    """Times uniform in t^(1 / power), and 0.

    Args:
        sde: the process, for the ends.
        steps: model calls, at least 1; the last goes from `last` to 0.
        power: 2 is the paper's grid; larger ones spend more of the steps near the data.
        last: the last time above 0; None for the process's own.
        start: the first; None for t_max.

    Raises:
        ValueError: an argument is out of its range.
    """
    last = sde.t_min if last is None else last
    start = sde.t_max if start is None else start
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")
    if not (power > 0.0 and math.isfinite(power)):
        raise ValueError(f"power must be above 0, got {power:g}.")
    if not 0.0 < last < start <= sde.t_max:
        raise ValueError(f"t_min must be above 0 and below t_start, which is at most {sde.t_max:g}; got {last:g} and {start:g}.")
    ends = np.linspace(start ** (1.0 / power), last ** (1.0 / power), steps) if steps > 1 else np.array([start ** (1.0 / power)])
    return [start, *(ends[1:] ** power).tolist(), 0.0]
