"""How far samples of digits are from data, and from the converged solution that they approximate."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import t as student

from embedded.digits import digits
from samplers.lab.distances import relative_distance

from .gddim_models import DigitsModel, gddim

_DATA_SEED, _SLICE_SEED, _FLOOR_SEED = 70_000, 71_000, 72_000
_NOISE_SEED = 73_000  # of stochastic samplers


@dataclass(frozen=True)
class Size:
    """How much a run measures.

    Attributes:
        seeds, items: batches, and items of each; intervals are over seeds.
        solved: items of a batch whose converged solution is known.
        converging: calls of that solution.
        held: draws of the data that samples are compared with.
        calls: of tables 1 and 6.
        corrected: degrees whose correctors are measured.
        lambdas, noisy_calls: of table 2.
        compared, tolerances: calls of table 8, and tolerances of RK45 there.
        drawn: calls of the trajectories in figures.
    """

    seeds: int = 5
    items: int = 500
    solved: int = 100
    converging: int = 401
    held: int = 20_000
    calls: tuple[int, ...] = (20, 30, 40, 50)
    corrected: tuple[int, ...] = (1, 2, 3)
    lambdas: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
    noisy_calls: int = 50
    compared: tuple[int, ...] = (20, 30, 50, 100, 200)
    tolerances: tuple[float, ...] = (0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-5)
    drawn: int = 200


class HeldData:
    """Draws of the data, and distances of samples from them.

    Args:
        items: draws.
        components: of the principal components of the 1,797 digits, the features of the Frechet distance.
        slices: random directions of the sliced Wasserstein distance.

    Attributes:
        share: of the digits' variance that is along the components.
    """

    def __init__(self, items: int, components: int = 20, slices: int = 200):
        mixture = digits(dtype=torch.float64)
        means = mixture.means.numpy()
        values, vectors = np.linalg.eigh(np.cov(means.T))
        self.basis, self.share = vectors[:, ::-1][:, :components], values[::-1][:components].sum() / values.sum()
        slices = np.random.default_rng(_SLICE_SEED).normal(size=(means.shape[1], slices))
        self.slices = slices / np.linalg.norm(slices, axis=0)
        data = self.draws(items, _DATA_SEED)
        self.moments = _moments(data @ self.basis)
        self._means = mixture.means.float()
        self._spread = self._distance_to_digits(data[:2000])
        self.sorted = np.sort(data @ self.slices, axis=0)

    @staticmethod
    def draws(items: int, seed: int) -> np.ndarray:
        """(items, 64) draws of the digits' mixture."""
        return digits(dtype=torch.float64).sample(items, torch.Generator().manual_seed(seed)).numpy()

    def frechet(self, samples: np.ndarray) -> float:
        """Squared 2-Wasserstein distance of Gaussians with the moments of the features; infinite where samples are."""
        if not np.isfinite(samples).all():
            return math.inf
        (mean, covariance), (other_mean, other) = _moments(samples @ self.basis), self.moments
        values, vectors = np.linalg.eigh(other)
        root = (vectors * np.sqrt(values)) @ vectors.T
        both = np.linalg.eigvalsh(root @ covariance @ root)
        overlap = np.sqrt(np.clip(both, 0.0, None)).sum()
        return float(((mean - other_mean) ** 2).sum() + np.trace(covariance) + np.trace(other) - 2.0 * overlap)

    def spread(self, samples: np.ndarray) -> float:
        """Root mean square distance to the nearest of the 1,797 digits, over that of the data: 1 is right, more is noise."""
        return self._distance_to_digits(samples) / self._spread if np.isfinite(samples).all() else math.inf

    def _distance_to_digits(self, samples: np.ndarray) -> float:
        nearest = torch.cdist(torch.from_numpy(samples).float(), self._means).min(dim=1).values
        return float(nearest.square().mean().sqrt())

    def sliced(self, samples: np.ndarray) -> float:
        """2-Wasserstein distance along random directions, their root mean square; infinite where samples are."""
        if not np.isfinite(samples).all():
            return math.inf
        at = ((np.arange(len(samples)) + 0.5) / len(samples) * len(self.sorted)).astype(int)
        return float(np.sqrt(((np.sort(samples @ self.slices, axis=0) - self.sorted[at]) ** 2).mean()))


class Cell(NamedTuple):
    """What a method measures, a number a seed.

    Attributes:
        frechet, sliced, spread: see `HeldData`.
        defect: median relative distance to the converged solution from the same start.
        calls: of the model, mean of the seeds.
    """

    frechet: list[float]
    sliced: list[float]
    spread: list[float]
    defect: list[float]
    calls: float


class Bench:
    """Measurements on a model, each made once.

    Args:
        model, size, held: what to measure on, how much, against what.
    """

    def __init__(self, model: DigitsModel, size: Size, held: HeldData):
        self.model, self.size, self.held = model, size, held
        self.starts = [model.start(size.items, seed) for seed in range(size.seeds)]
        self._references = [self._converged(size.converging, seed) for seed in range(size.seeds)]
        self._cells: dict[tuple, Cell] = {}

    def cell(self, method: Callable, calls: int | None) -> Cell:
        """A method's samples from all starts."""
        key = (getattr(method, "func", method), tuple(sorted(getattr(method, "keywords", {}).items())), calls)
        if key not in self._cells:
            self._cells[key] = self._measured(method, calls)
        return self._cells[key]

    def floor(self) -> Cell:
        """Of independent draws of the data instead of samples."""
        draws = [self.held.draws(self.size.items, _FLOOR_SEED + seed) for seed in range(self.size.seeds)]
        return self._compared(draws, [], 0)

    def reference_error(self) -> float:
        """Median distance between the converged solution and one with half the calls: what its own error is at most."""
        return median_distance(self._converged(self.size.converging // 2, 0), self._references[0])

    def rounding(self, calls: int) -> float:
        """Median distance between a solve in float32, as everything is measured, and one in float64."""
        start = self.model.start(self.size.solved, 0)
        return median_distance(gddim(self.model, start, calls), gddim(self.model, start.double(), calls))

    def _measured(self, method, calls) -> Cell:
        made, samples = self.model.calls, []
        for seed, start in enumerate(self.starts):
            torch.manual_seed(_NOISE_SEED + seed)
            samples.append(method(self.model, start, calls))
        defects = [median_distance(s[: self.size.solved], r) for s, r in zip(samples, self._references)]
        flat = [s.flatten(1).double().numpy() for s in samples]
        return self._compared(flat, defects, (self.model.calls - made) / len(samples))

    def _compared(self, batches, defects, calls: float) -> Cell:
        held = self.held
        return Cell(*([distance(b) for b in batches] for distance in (held.frechet, held.sliced, held.spread)), defects, calls)

    def _converged(self, calls: int, seed: int) -> torch.Tensor:
        # the lab's reference solves in lambda, which CLD does not have
        start = self.starts[seed][: self.size.solved].double()
        return partial(gddim, degree=3, corrector="PECE")(self.model, start, calls)


def median_distance(samples: torch.Tensor, truth: torch.Tensor) -> float:
    """Median of the relative distances of the items; infinite where samples are."""
    return float(relative_distance(samples, truth).nan_to_num(math.inf, math.inf).median())


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % confidence interval, by Student's t; infinite where a value is."""
    if not np.isfinite(values).all():
        return math.inf, math.inf
    return float(np.mean(values)), float(student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))


def smaller(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether a is below b, seed by seed, by more than the 95 % confidence interval of the difference."""
    if not np.isfinite(b).all():
        return bool(np.isfinite(a).all())
    mean, half = interval(np.subtract(b, a))
    return math.isfinite(mean) and mean > half


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return features.mean(axis=0), np.cov(features.T)
