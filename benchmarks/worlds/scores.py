"""Scores: each error divided by the error of the best of ComfyUI's samplers in the same row, and by Euler's error."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from .. import host_samplers, pages
from .bench import Bench
from .world_cases import Case

ABOVE, EULER = 1.5, 1.1


class Row(NamedTuple):
    """The error of a sampler for one case, grid and number of calls.

    Attributes:
        error: median relative distance to the right result.
        best, best_error: the best of ComfyUI's deterministic samplers in this row.
        euler_error: Euler's.
        visible: smaller errors count as this.
    """

    sampler: str
    world: str
    case: str
    guidance: float
    grid: str
    calls: int
    error: float
    best: str
    best_error: float
    euler_error: float
    visible: float = 0.0

    @property
    def ratio(self) -> float:
        """The error over the error of ComfyUI's best; below 1 the row is won."""
        return max(self.error, self.visible) / max(self.best_error, self.visible)

    @property
    def over_euler(self) -> float:
        """The error over Euler's error."""
        return max(self.error, self.visible) / max(self.euler_error, self.visible)


class Score(NamedTuple):
    """Scores of rows: geometric mean and worst of the ratio, the share above ABOVE, the rows above EULER times Euler's error."""

    rows: int
    mean: float
    worst: float
    above: float
    behind_euler: int


def score(rows: Sequence[Row]) -> Score:
    """The Score of at least one row."""
    ratios = [row.ratio for row in rows]
    above, behind = sum(ratio > ABOVE for ratio in ratios), sum(row.over_euler > EULER for row in rows)
    return Score(len(rows), statistics.geometric_mean(ratios), max(ratios), above / len(rows), behind)


def rows_of(bench: Bench, case: Case, scheduler: str, samplers: Iterable[str]) -> list[Row]:
    """The rows of samplers, including the host's, on a grid."""
    errors = bench.errors(case, scheduler, dict.fromkeys((*bench.theirs, *samplers)))
    result = []
    for calls in case.calls_on(scheduler):
        cell = {name: errors[calls, name] for name in bench.theirs if not math.isnan(errors[calls, name])}
        best = min(cell, key=cell.get)
        for name in samplers:
            error = errors[calls, name]
            if not math.isnan(error):
                facts = error, best, cell[best], cell[bench.baseline], case.visible
                result.append(Row(name, case.world, case.name, case.guidance, scheduler, calls, *facts))
    return result


GROUPS: dict[str, Callable[[Row], str]] = {
    "world": lambda row: row.world,
    "grid": lambda row: row.grid,
    "calls": lambda row: f"{row.calls} calls",
    "guidance": lambda row: f"CFG {row.guidance:g}",
}


def grouped(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Rows grouped by a key, in the order of first occurrence."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _cells(name: str, result: Score) -> list[str]:
    return [name, str(result.rows), f"{result.mean:.2f}", f"{result.worst:.1f}", f"{result.above:.0%}", str(result.behind_euler)]


HEAD = ["rows", "error over the best", "worst row", f"above {ABOVE}", f"above {EULER} Euler"]


def summary(rows: Sequence[Row]) -> str:
    """Markdown: one sampler, over all rows and by world, grid, calls and guidance."""
    lines = [_cells("all", score(rows))]
    for key in GROUPS.values():
        groups = grouped(rows, key)
        if len(groups) > 1:
            order = sorted(groups, key=lambda name: groups[name][0].calls) if key is GROUPS["calls"] else groups
            lines += [_cells(name, score(groups[name])) for name in order]
    return pages.table(["", *HEAD], lines)


def headline(rows: Sequence[Row], name: str) -> str:
    """Markdown: the summary sentence on a sampler and on ComfyUI's best single sampler."""
    groups = grouped(rows, lambda row: row.sampler)
    result, best = score(groups[name]), min(host_samplers.DETERMINISTIC, key=lambda other: score(groups[other]).mean)
    theirs = score(groups[best])
    count = len(host_samplers.DETERMINISTIC)
    return (
        f"Over {result.rows} rows `{name}` has {result.mean:.2f} times the error of the best of ComfyUI's {count} deterministic "
        f"samplers (geometric mean; the best one is chosen for each row). The ratio is above {ABOVE} in {result.above:.0%} of "
        f"the rows and at most {result.worst:.1f}. In {result.behind_euler} "
        f"row{'s' * (result.behind_euler != 1)} the error is more "
        f"than {EULER} times Euler's. The best single sampler of ComfyUI, `{best}`, has a mean ratio of {theirs.mean:.2f}; its "
        f"ratio is above {ABOVE} in {theirs.above:.0%} of the rows and at most {theirs.worst:.1f}."
    )


def comparison(rows: Sequence[Row]) -> str:
    """Markdown: samplers, the best on top."""
    groups = grouped(rows, lambda row: row.sampler)
    ordered = sorted(((score(group), name) for name, group in groups.items()), key=lambda pair: pair[0].mean)
    return pages.table(["sampler", *HEAD], [_cells(f"`{name}`", result) for result, name in ordered])


def table(rows: Sequence[Row]) -> str:
    """Markdown: every row."""
    lines = []
    for row in rows:
        others = row.best, f"{row.best_error:.4f}", f"{row.euler_error:.4f}", f"{row.ratio:.2f}"
        lines.append([row.case, row.grid, str(row.calls), f"{row.error:.4f}", *others])
    return pages.table(["case", "grid", "calls", "error", "best", "its error", "euler", "ratio"], lines, (0, 1, 4))


def errors(rows: Sequence[Row], samplers: Sequence[str]) -> str:
    """Markdown: mean and largest error of samplers by number of calls."""
    by_calls = grouped(sorted(rows, key=lambda row: row.calls), GROUPS["calls"])
    lines = []
    for name in samplers:
        own = [[row.error for row in group if row.sampler == name] for group in by_calls.values()]
        lines.append([f"`{name}`", *(f"{number(errors):.4f}" for errors in own for number in (statistics.fmean, max))])
    return pages.table(["sampler", *(f"{calls}, {what}" for calls in by_calls for what in ("mean", "largest"))], lines)
