"""What a calibration spends: seeds, and model calls, known before it starts."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from ...grid import read_sigmas
from ...signature import Sigmas
from .search import TRIALS

BASES = ("exp_res", "exp_res_2m", "exp_res_2mc", "exp_res_1m", "exp_gddim")  # analytic plans that it may start from
BASES_FITTED = 2  # those of them that have the least error
RIDGES = (3e-4, 3e-3, 3e-2, 3e-1)
HISTORIES = (4, 6)
MAX_ITEMS = 10_000  # of each kind; their seeds are listed, and their samples kept
_CANDIDATES = BASES_FITTED * len(HISTORIES) * len(RIDGES)
_SEEDS = 0xFFFFFFFFFFFFFFFF + 1  # that the host has


@dataclass(frozen=True)
class Settings:
    """How much is spent.

    Attributes:
        pilots, selection, test: items to fit on, to choose on and to report on (0: no report); each rounded up to whole batches.
        tolerance: median relative distance between the ends of the last two references.
        first, cap: steps of the first reference, doubled until it stays, and of the last.
        move_grid: whether to search for a better grid too.
        robust: whether outlying pilots are weighted down, see `fitting.py`.
    """

    pilots: int = 8
    selection: int = 8
    test: int = 8
    tolerance: float = 1e-3
    first: int = 32
    cap: int = 1024
    move_grid: bool = False
    robust: bool = True

    def __post_init__(self) -> None:
        for name, least in (("pilots", 2), ("selection", 2), ("test", 0)):
            if not least <= getattr(self, name) <= MAX_ITEMS:
                raise ValueError(f"{name} must be between {least} and {MAX_ITEMS}, got {getattr(self, name)}.")


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
    """Model calls of a calibration, a call being one of a whole batch.

    Attributes:
        least: if the second reference agrees with the first.
        most: if it takes as many steps as it may.
    """

    least: int
    most: int


def cost(sigmas: Sigmas, settings: Settings, batch: int, others: int = 0) -> Cost:
    """What a calibration will take at least and at most, before it starts; see `calls`."""
    last = settings.first
    while 2 * last <= settings.cap:
        last *= 2
    return Cost(*(calls(sigmas, settings, batch, level, others) for level in (2 * settings.first, last)))


def calls(sigmas: Sigmas, settings: Settings, batch: int, level: int, others: int = 0) -> int:
    """Model calls if the reference settles at a number of steps; no more than that.

    Args:
        sigmas: the grid.
        settings, batch: of the calibration.
        level: steps of the finest reference.
        others: methods of one call a step that are compared with on test seeds.
    """
    pilot, selection, test = map(len, split_seeds(0, settings, batch))
    steps = len(read_sigmas(sigmas)) - 1
    runs = _CANDIDATES * (pilot + selection) + len(BASES) * selection + (2 + others) * test
    if settings.move_grid:
        runs += (TRIALS + 2) * pilot + selection
    levels = [settings.first]
    while levels[-1] < level:
        levels.append(2 * levels[-1])
    references = [_reference(level, steps) for level in levels]
    return runs * steps + sum(references) * pilot + references[-1] * (selection + test)


def _reference(level: int, steps: int) -> int:
    # every step of SIGMAS is cut into whole parts, and the step to the floor is one more
    return 3 * (level + steps + 1)
