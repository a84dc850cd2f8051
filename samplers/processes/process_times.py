"""Grids of times for linear diffusions."""

import math

import numpy as np

from .linear_sde import LinearSDE


def time_grid(sde: LinearSDE, steps: int, power: float = 2.0, last: float | None = None) -> list[float]:
    """Times uniform in t^(1 / power) from t_max, and 0.

    Args:
        sde: the process, for the ends.
        steps: model calls, at least 1; the last goes from `last` to 0.
        power: 2 is the paper's grid; larger ones spend more of the steps near the data.
        last: the last time above 0; None for the process's own.

    Raises:
        ValueError: an argument is out of its range.
    """
    last = sde.t_min if last is None else last
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")
    if not (power > 0.0 and math.isfinite(power)):
        raise ValueError(f"power must be above 0, got {power:g}.")
    if not 0.0 < last < sde.t_max:
        raise ValueError(f"t_min must be above 0 and below {sde.t_max:g}, where sampling starts; got {last:g}.")
    later = np.linspace(sde.t_max ** (1.0 / power), last ** (1.0 / power), steps)[1:] ** power
    return [sde.t_max, *later.tolist(), 0.0]
