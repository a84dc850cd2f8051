"""What a calibration spends: its settings, its seeds, and its model calls, known before it starts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .bases import BASES
from .search import TRIALS

RIDGES = (3e-3, 3e-2, 3e-1, 3e-4)
HISTORIES = (4, 6)
MAX_ITEMS = 10_000  # of each kind; their seeds are listed, and their samples kept
_SEEDS = 0xFFFFFFFFFFFFFFFF + 1  # that ComfyUI has


@dataclass(frozen=True)
class Settings:
    """How much is spent.

    Attributes:
        pilots, selection, test: items to fit on, to choose on and to report on (0: no report); each rounded up to whole batches.
        share: the reference agrees when its last doubling moved the samples by no more than this share of the best base's error,
            both in the median over the pilots.
        first, levels: steps of the coarsest reference, at least twice the grid's, and how often that may be doubled, and one.
        ridges: that are tried.
        thorough: whether the second best base is tried too, and a longer history with the base and ridge that did best.
        noise: a fit is given where its mean log error on the selection items is below the base's by so many standard errors.
        move_grid: whether to search for a better grid too.
        robust: whether outlying pilots are weighted down, see `fitting.py`.
    """

    pilots: int = 16
    selection: int = 16
    test: int = 16
    share: float = 0.2
    first: int = 32
    levels: int = 4
    ridges: tuple[float, ...] = RIDGES
    thorough: bool = True
    noise: float = 2.0
    move_grid: bool = False
    robust: bool = True

    def __post_init__(self) -> None:
        for name, least in (("pilots", 2), ("selection", 2), ("test", 0)):
            if not least <= getattr(self, name) <= MAX_ITEMS:
                raise ValueError(f"{name} must be between {least} and {MAX_ITEMS}, got {getattr(self, name)}.")
        if self.levels < 2:
            raise ValueError(f"levels must be 2 or more, got {self.levels}: references are compared.")

    def references(self, steps: int) -> list[int]:
        """Steps of the references for a grid of so many steps, the coarsest first."""
        first = max(self.first, 2 * steps)
        return [first * 2**k for k in range(self.levels)]

    @property
    def candidates(self) -> int:
        """Fits that are tried, at most."""
        return len(self.ridges) * (1 + self.thorough) + self.thorough


CAREFUL = Settings()
QUICK = Settings(4, 4, 4, first=16, levels=2, ridges=(3e-3, 3e-1), thorough=False)


class Seeds(NamedTuple):
    """Three sets of seeds without a common one, a batch each."""

    pilot: list[int]
    selection: list[int]
    test: list[int]


def split_seeds(seed: int, settings: Settings, batch: int) -> Seeds:
    """Consecutive seeds from `seed`, as many of each kind as give the items asked for, in batches of `batch`."""
    counts = [math.ceil(count / batch) for count in (settings.pilots, settings.selection, settings.test)]
    every = [(seed + k) % _SEEDS for k in range(sum(counts))]
    return Seeds(every[: counts[0]], every[counts[0] : sum(counts[:2])], every[sum(counts[:2]) :])


class Cost(NamedTuple):
    """Model calls of a calibration, each of a whole batch.

    Attributes:
        least: if the second reference agrees with the first.
        most: if the finest reference is needed.
    """

    least: int
    most: int


def calls(settings: Settings, seeds: Seeds, steps: int, references: Sequence[int], probes: int, rivals: int) -> int:
    """Model calls of a calibration. A candidate that runs away, or a grid that is not one, saves some of them.

    Args:
        settings, seeds: of the calibration.
        steps: of the grid.
        references: calls of every level of the reference that is solved, the coarsest first.
        probes: fits made to see whether a finer reference changes the fit.
        rivals: samplers of one call per step that are compared with on the test seeds.
    """
    pilot, selection, test = map(len, seeds)
    candidates = settings.candidates
    runs = (len(BASES) + probes + candidates) * pilot + (1 + settings.thorough + candidates) * selection + (2 + rivals) * test
    if settings.move_grid:
        runs += (TRIALS + 2) * pilot + selection
    return runs * steps + sum(references) * pilot + references[-1] * (selection + test)
