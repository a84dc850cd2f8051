"""Settings and seeds of a calibration, and its errors as numbers, text and picture."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from ...figure import new_figure, pixels
from ...plan import Plan
from ..distances import relative_distance, spread
from .fitting import Fitting

RIDGES = (3e-3, 3e-2, 3e-1, 3e-4)
HISTORIES = (4, 6)
MAX_ITEMS = 10_000  # items of each kind; their seeds are listed, and their samples are kept
_SEEDS = 2**64  # number of seeds in ComfyUI
# Smaller relative distances are rounding, and larger ones mean a lost item; their logarithms say nothing.
LEAST, _MOST = 1e-7, 1e3


class Seeds(NamedTuple):
    """Three disjoint sets of seeds, with one batch per seed."""

    pilot: list[int]
    selection: list[int]
    test: list[int]


class Cost(NamedTuple):
    """The smallest and largest number of model calls, each of a whole batch."""

    least: int
    most: int


@dataclass(frozen=True)
class Settings:
    """The settings of a calibration. Numbers of items are rounded up to whole batches."""

    pilots: int = 16  # items for the fit
    selection: int = 16  # items for the choice
    test: int = 16  # items for the report; 0 for no report
    # The reference agrees if its last doubling moved the samples by no more than this share of the best base's error, both as
    # medians over the pilots.
    share: float = 0.2
    first: int = 32  # steps of the coarsest reference, which has at least twice the steps of the grid
    levels: int = 4  # the maximum number of levels of the reference
    ridges: tuple[float, ...] = RIDGES
    thorough: bool = True  # whether to try also the second best base, and a longer history with the best base and ridge
    noise: float = 2.0  # standard errors by which a fit's mean log error on the selection items must be below the base's
    move_grid: bool = False  # whether to search also for a better grid

    def __post_init__(self) -> None:
        for name, least in (("pilots", 2), ("selection", 2), ("test", 0)):
            if not least <= getattr(self, name) <= MAX_ITEMS:
                raise ValueError(f"{name} must be between {least} and {MAX_ITEMS}, got {getattr(self, name)}.")

    def references(self, steps: int) -> list[int]:
        """Steps of the references for a grid of `steps` steps, the coarsest first."""
        return [max(self.first, 2 * steps) * 2**level for level in range(self.levels)]

    def seeds(self, first: int, batch: int) -> Seeds:
        """Consecutive seeds, enough of each kind for the requested items in batches of `batch`."""
        pilot, selection, test = (math.ceil(count / batch) for count in (self.pilots, self.selection, self.test))
        every = [(first + k) % _SEEDS for k in range(pilot + selection + test)]
        return Seeds(every[:pilot], every[pilot : pilot + selection], every[pilot + selection :])


CAREFUL = Settings()
QUICK = Settings(4, 4, 4, first=16, levels=2, ridges=(3e-3, 3e-1), thorough=False)


class Errors(NamedTuple):
    """Relative distances to the reference, over items."""

    median: float
    log_mean: float  # exp of the mean log

    @classmethod
    def of(cls, distances: torch.Tensor) -> "Errors":
        """The errors of items with these distances, (items,)."""
        return cls(spread(distances).median, float(_logs(distances).mean().exp()))


def clearly_less(distances: torch.Tensor, others: torch.Tensor, by: float = 1.0) -> bool:
    """Whether the mean log of distances is below that of others, item by item, by more than `by` of its standard errors."""
    difference = _logs(distances) - _logs(others)
    return float(difference.mean()) < -by * float(difference.std()) / math.sqrt(len(difference))


def _logs(distances: torch.Tensor) -> torch.Tensor:
    return distances.clamp(LEAST, _MOST).log()


def distances(samples: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Relative distances of the items; infinite if a sample is not finite."""
    return relative_distance(samples, reference).nan_to_num(nan=math.inf)


class Settled(NamedTuple):
    """The quality of the reference."""

    steps: int  # of its finest level
    last_change: float  # median relative distance between the pilots' ends on its last two levels
    share: float  # that distance, as a share of the best base's median error
    # "agrees" if the share is small enough; "no gain" if a finer level changes the fit by less than its standard error; "cap" if
    # the maximum of steps is reached
    why: str

    @property
    def coarse(self) -> bool:
        """Whether the reference is no better than the best base, so that nothing can be fitted to it."""
        return not self.share < 1.0


@dataclass
class Calibrated:
    """The result of a calibration."""

    sigmas: torch.Tensor  # the grid, moved or as given
    plan: Plan  # on this grid
    analytic: str  # the base with the least error, for comparison
    base: str  # of the plan
    fitting: Fitting | None  # None if the analytic plan is kept
    seeds: Seeds
    reference: Settled
    grid_changed: bool = False  # whether the grid differs from the given grid
    selection: dict[str, Errors] = field(default_factory=dict)  # on selection seeds, of "base" and "calibrated"
    # on test seeds, of "base" (on the given grid), of "calibrated" and of the rivals
    test: dict[str, Errors] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether the analytic plan on the given grid is kept."""
        return self.fitting is None and not self.grid_changed


_WIDTH, _BAR = 7.0, 0.26  # inches
_OURS = ("base", "calibrated")
_MUCH = 1.1  # ratio of errors from which the report recommends another sampler


def summary(result: Calibrated, items: int) -> str:
    """A text with the gain on this number of test items, the choice, and the quality of the reference."""
    lines = []
    rivals = {name: errors for name, errors in result.test.items() if name not in _OURS}
    if rivals:
        best = min(rivals, key=lambda name: rivals[name].median)
        ratio = max(result.test["calibrated"].median, LEAST) / max(rivals[best].median, LEAST)  # both may be exact
        gain = f"calibrated has {ratio:.3g} times the error of {best}, the best of {len(rivals)} other samplers"
        lines.append(f"{gain} on {items} test items." + (f" Sample with {best} here." if ratio > _MUCH else ""))
    return "\n".join([*lines, _choice(result), _reference(result.reference)])


def errors_list(result: Calibrated, items: int) -> str:
    """The errors on this number of test items, as a list of Markdown, the best first."""
    title = f"Relative distance to the converged solution, for {items} items of test seeds: median, and mean of logs:\n"
    errors = reversed(_named(result).items())
    return "\n".join([title, *(f"- {name}: {of.median:.4g}, {of.log_mean:.4g}" for name, of in errors)])


def _choice(result: Calibrated) -> str:
    if result.reference.coarse:
        return (
            f"Kept: {result.analytic} without a fit, because the reference is no better than it. The effort careful has a finer "
            "reference, and less guidance also helps."
        )
    if result.kept:
        return (
            f"Kept: {result.analytic} without a fit, because no fit was clearly better on the selection items. The SAMPLER and "
            "the file hold this analytic plan."
        )
    fit = f"{result.base}, ridge {result.fitting.ridge:g}, history {result.fitting.history}" if result.fitting else result.base
    grid = "moved" if result.grid_changed else "as given"
    gain = result.selection["calibrated"].log_mean / result.selection["base"].log_mean
    return f"Fitted: {fit}; grid {grid}. On the selection items it has {gain:.3g} times the error of {result.analytic}."


def _reference(settled: Settled) -> str:
    text = (
        f"Reference: {settled.steps} steps. Its last doubling moved the pilots by {settled.last_change:.3g} (median), "
        f"{settled.share:.3g} of the error of the best analytic plan."
    )
    if settled.why == "no gain":
        return f"{text} More steps would not improve the fit by more than its standard error."
    if settled.why == "cap":
        return f"{text} This is more than was requested, so all errors here are uncertain by about {settled.last_change:.3g}."
    return text


def _named(result: Calibrated) -> dict[str, Errors]:
    """The errors on test seeds by name, the rivals first, the worst on top."""
    rivals = sorted((name for name in result.test if name not in _OURS), key=lambda name: -result.test[name].median)
    names = {name: name for name in rivals} | {
        "base": f"{result.analytic}, analytic",
        "calibrated": "calibrated (kept)" if result.kept else "calibrated",
    }
    return {text: result.test[name] for name, text in names.items() if name in result.test}


def picture(result: Calibrated) -> np.ndarray:
    """The errors on test seeds as bars: (height, width, 3), float32 in [0, 1]."""
    from matplotlib.ticker import NullFormatter  # noqa: PLC0415 (slow to import)

    errors = _named(result)
    figure = new_figure(_WIDTH, 0.9 + _BAR * max(len(errors), 3))
    axes = figure.subplots()
    bars = axes.barh(list(errors), [e.median for e in errors.values()], color=["C7"] * (len(errors) - 1) + ["C0"])
    axes.bar_label(bars, fmt="%.3g", padding=3)
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.invert_yaxis()
    axes.set_xlabel("median distance to the converged solution, test seeds")
    return pixels(figure)
