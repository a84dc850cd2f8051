"""Times of linear diffusions: grids of times, and half the logSNR, which relates them to sigmas of other models."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ..grid import GridStep, grid_steps
from ..time_maps import TimeMap
from .linear_sde import LinearSDE

_LEAST = 1e-8  # the smallest time above 0
_HALVINGS = 56  # after which an interval of length 20 in log t is shorter than a rounding


def time_grid(sde: LinearSDE, steps: int, power: float = 2.0, last: float | None = None) -> list[float]:
    """Times that are uniform in t^(1 / power) from t_max to `last` (None for the process's t_min), and 0, for 1 or more steps.

    Power 2 is the paper's grid; larger powers put more of the steps near the data. A ValueError names an argument that is out of
    its range.
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


def falling_steps(sde: LinearSDE, sigmas: Sequence[float]) -> list[GridStep]:
    """The steps of a grid of times; a ValueError as from `grid_steps`, or for a time too small to be distinguished from 0."""
    for i, t in enumerate(sigmas):
        if 0.0 < t < _LEAST:
            raise ValueError(f"sigmas[{i}] is {t:g}, a time too small to differ from 0 for {sde.name}. Set it to 0.")
    steps = grid_steps(sigmas, time_map_of(sde), rising=False)
    return [replace(step, sigma=min(step.sigma, sde.t_max)) for step in steps]


@lru_cache(maxsize=16)
def time_map_of(sde: LinearSDE) -> TimeMap:
    """t -> alpha, the mean of the first number of a state that started at 1, and lambda, half the logSNR of that number."""
    return TimeMap(
        name=sde.name,
        sigma_limit=sde.t_max,
        alpha=lambda t: float(sde.first.transition(t, 0.0).flat[0]),
        lam=lru_cache(maxsize=4096)(lambda t: float(half_log_snr(sde, np.array([t]))[0])),
        sigma=lambda lam: float(times_at(sde, np.array([lam]))[0]),
    )


def half_log_snr(sde: LinearSDE, t: np.ndarray) -> np.ndarray:
    """Lambda of the first number of the first block, at times t of shape (n,)."""
    moments = sde.first.transition(t, 0.0), sde.first.covariance(t)
    signal, variance = (matrix.reshape(len(t), math.prod(matrix.shape[1:]))[:, 0] for matrix in moments)
    return np.log(signal) - 0.5 * np.log(variance)


def times_at(sde: LinearSDE, lams: np.ndarray) -> np.ndarray:
    """The inverse of `half_log_snr`, by halving an interval of log t."""
    low, high = np.full(lams.shape, math.log(0.1 * _LEAST)), np.full(lams.shape, math.log(sde.t_max))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        later = half_log_snr(sde, np.exp(middle)) > lams
        low, high = np.where(later, middle, low), np.where(later, high, middle)
    return np.exp(0.5 * (low + high))
