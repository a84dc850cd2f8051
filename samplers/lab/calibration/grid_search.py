"""Grids as monotone curves through five knots in logSNR, and the search for a better grid."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...grid import read_sigmas
from ...signature import Sigmas
from ...time_maps import TimeMap
from .fitting import NEAR_NOISE

KNOTS = 5
# Rounds of the search; each round tries every distance between knots longer and shorter by a factor that shrinks.
_FACTORS = (1.5, 1.25, 1.12, 1.06)
TRIALS = 2 * (KNOTS - 1) * len(_FACTORS)


class GridCurve:
    """Grids with the number of steps, the first sigma and the end of a given grid.

    The knots lie evenly over the steps to the last sigma above 0, which may move as well. The curve is added to the given
    grid's logSNR, so that the knots of the grid itself give exactly the grid.

    Args:
        sigmas: the given grid.
        time: the time map.
        floor: lower limit of all sigmas above 0.
    """

    def __init__(self, sigmas: Sigmas, time: TimeMap, floor: float):
        self._values = read_sigmas(sigmas)
        self._to_zero = self._values[-1] == 0.0
        self._time, self._floor = time, floor
        above = [s for s in self._values if s > 0.0]
        self._lam = np.array([max(time.lam(s), NEAR_NOISE) for s in above])
        self._places = np.linspace(0.0, 1.0, len(above))
        self.knots = np.interp(np.linspace(0.0, 1.0, KNOTS), self._places, self._lam)

    @property
    def movable(self) -> bool:
        """Whether there are enough steps for a curve to matter."""
        return len(self._lam) >= 3

    def grid(self, knots: np.ndarray) -> list[float] | None:
        """SIGMAS for knots, float32 numbers; None if they do not fall or are below the floor."""
        from scipy.interpolate import PchipInterpolator  # noqa: PLC0415 (slow to import)

        change = PchipInterpolator(np.linspace(0.0, 1.0, KNOTS), knots - self.knots)(self._places)
        lam = self._lam + change
        sigmas = [self._values[0], *(float(np.float32(self._time.sigma(value))) for value in lam[1:])]
        sigmas += [0.0] * self._to_zero
        if not self._to_zero:
            sigmas[-1] = self._values[-1]
        falls = all(a > b * (1.0 + 1e-4) for a, b in zip(sigmas, sigmas[1:]))
        return sigmas if falls and min(s for s in sigmas if s > 0.0) >= self._floor * (1.0 - 1e-6) else None

    def knots_at(self, distances: Sequence[float]) -> np.ndarray:
        """The knots with these distances between them; the last knot stays if SIGMAS end above 0."""
        knots = self._lam[0] + np.concatenate([[0.0], np.cumsum(distances)])
        if not self._to_zero:
            knots[1:] = self._lam[0] + (knots[1:] - self._lam[0]) * (self._lam[-1] - self._lam[0]) / (knots[-1] - self._lam[0])
        return knots


def search(curve: GridCurve, error: Callable[[list[float]], float], start: float) -> list[float] | None:
    """The best grid of a pattern search over the distances between knots, at most TRIALS of them tried.

    Args:
        curve: the curve to move.
        error: function from a grid to the error to minimise.
        start: error of the grid itself.

    Returns:
        A grid, or None if no grid was better.
    """
    best, best_grid = start, None
    distances = np.diff(curve.knots)
    for factor in _FACTORS:
        for index in range(KNOTS - 1):
            for by in (factor, 1.0 / factor):
                trial = distances.copy()
                trial[index] *= by
                grid = curve.grid(curve.knots_at(trial))
                if grid is None:
                    continue
                value = error(grid)
                if math.isfinite(value) and value < best:
                    best, best_grid, distances = value, grid, trial
                    break  # the other way is back
    return best_grid
