"""The verdict of a measurement: the best pair of sampler and schedule, what it saves, and the limits of this result.

All runs start from the same noise, so pairs are compared item by item. One pair is ahead of another if both conditions hold:

    it is nearer in three items of four:    upper quartile of log(d / d') < 0
    more than chance would make it so:      mean of log(d / d') < -2 standard errors

d and d' are the distances of an item from the reference. The quartiles of d and of d' nearly always overlap, because items
differ more than samplers do. Distances below `Reference.floor` are not compared, because the reference's own error decides
there.
"""

import math
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

import torch

from .distances import spread
from .measure import Cell, same_start
from .reference import NotConverged, Reference

_ERRORS = 2.0  # standard errors
_FEW = 16  # with fewer items the best of many pairs is often best only by chance
_EQUAL = 0.01  # medians with a smaller relative difference are drawn as one line
_MEDIAN = attrgetter("median")
_LEAST, _MOST = 1e-300, 1e300  # stand for the logarithms of 0 and of infinity


class Verdict(NamedTuple):
    """What a measurement says, in one sentence, and its limits."""

    best: Cell  # of the best pair
    sentence: str
    remarks: tuple[str, ...]
    baseline: str = ""  # the pair it was compared with

    @property
    def text(self) -> str:
        """The sentence and the remarks."""
        return " ".join([self.sentence, *self.remarks])


def comparable(cells: Sequence[Cell]) -> list[Cell]:
    """The cells of ODE samplers that start at the first sigma of most cells."""
    odes = [cell for cell in cells if not cell.stochastic]
    starts = [cell.start for cell in odes]
    common = max(starts, key=starts.count, default=0.0)
    return [cell for cell in odes if same_start(cell.start, common)]


def at_floor(cell: Cell, references: Mapping[float, Reference]) -> bool:
    """Whether a cell is so close to its reference that it cannot be compared with other such cells."""
    return cell.median <= reference_of(cell, references).floor


def ranked(cells: Sequence[Cell], references: Mapping[float, Reference]) -> list[Cell]:
    """The comparable cells that are not at the floor, the closest first."""
    above = [cell for cell in comparable(cells) if not at_floor(cell, references)]
    return sorted(above, key=lambda cell: cell.median)


def lines(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """The cells of every pair, the fewest calls first."""
    by_pair: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.calls):
        by_pair.setdefault(cell.pair, []).append(cell)
    return by_pair


def ahead(cell: Cell, other: Cell) -> bool:
    """Whether a cell is closer than another, item by item and by more than chance; False for a single item."""
    if len(cell.distances) < 2:
        return False
    ratios = _logs(cell.distances) - _logs(other.distances)
    error = float(ratios.std()) / math.sqrt(len(ratios))
    return spread(ratios).q75 < 0.0 and float(ratios.mean()) < -_ERRORS * error


def equal_lines(cells: Sequence[Cell]) -> list[list[str]]:
    """Groups of pairs whose medians are the same at every number of calls, up to 1 %."""
    groups: list[list[str]] = []
    by_pair = lines(cells)
    for pair, line in by_pair.items():
        if (group := next((group for group in groups if _equal(by_pair[group[0]], line)), None)) is None:
            groups.append(group := [])
        group.append(pair)
    return [group for group in groups if len(group) > 1]


def calls_to_reach(line: Sequence[Cell], distance: float) -> float | None:
    """The fewest calls from which on every median of a line is at most a distance; None if the last median is larger.

    Calls are interpolated between two cells, in logarithms, but not below the first cell.
    """
    place = len(line)
    while place > 0 and line[place - 1].median <= distance:
        place -= 1
    if place == len(line):
        return None
    if place == 0:
        return float(line[0].calls)
    before, after = line[place - 1], line[place]
    high, low = log(before.median), log(after.median)
    share = (high - log(distance)) / (high - low)
    return before.calls * (after.calls / before.calls) ** share


def judge(
    cells: Sequence[Cell], references: Mapping[float, Reference], calls: int, baseline: str = "", notes: Sequence[str] = ()
) -> Verdict:
    """The best pair within a number of calls, or within the fewest calls if no pair made so few, compared with the baseline.

    Raises:
        ValueError: no ODE sampler was measured; the notes say why cells are missing.
        NotConverged: the reference is so far from its tolerance that nothing can be distinguished.
    """
    odes = comparable(cells)
    if not odes:
        raise ValueError(f"no ODE sampler was measured, so there is no best pair: {'; '.join(notes) or 'there is none'}.")
    reference = reference_of(odes[0], references)
    if not reference.converged and not ranked(cells, references):
        raise NotConverged(
            f"the reference with {reference.steps} steps agrees with {reference.steps // 2} steps only to "
            f"{reference.agreement:.2g}, and every error is within three times this, so samplers cannot be distinguished. Raise "
            "reference_calls; a model that adds its own noise cannot be measured."
        )
    return _Judge(odes, reference, max(calls, min(cell.calls for cell in odes)), baseline).verdict()


class _Judge:
    def __init__(self, cells: Sequence[Cell], reference: Reference, calls: int, baseline: str):
        self._cells, self._reference, self._calls, self._baseline = cells, reference, calls, baseline
        self._lines = lines(cells)
        self._columns = sorted({cell.column for cell in cells})
        within = {pair: [cell for cell in line if cell.calls <= calls] for pair, line in self._lines.items()}
        self._nearest = {pair: min(cells, key=_MEDIAN) for pair, cells in within.items() if cells}
        self._first = min(self._nearest.values(), key=_MEDIAN)  # the closest of all
        self._floor = [cell for cells in within.values() for cell in cells if cell.median <= reference.floor]

    def verdict(self) -> Verdict:
        if self._floor:
            fewest = min(cell.calls for cell in self._floor)
            equal = [cell for cell in self._floor if cell.calls == fewest]
            best = min(equal, key=lambda cell: self._above_the_best(cell.pair, max(cell.column, cell.calls)))
            tied = [cell.pair for cell in equal if cell.pair != best.pair]
        else:
            chosen = min(self._ties(self._first), key=lambda pair: self._above_the_best(pair, self._calls))
            best = self._nearest[chosen]
            tied = [pair for pair in self._ties(best) if pair != chosen]
        return Verdict(best, self._sentence(best, tied), tuple(self._remarks(best)), self._baseline)

    def _ties(self, best: Cell) -> list[str]:
        """The pairs that a cell is not ahead of, including its own pair."""
        return [pair for pair, cell in self._nearest.items() if cell is best or not ahead(best, cell)]

    def _at(self, pair: str, budget: int) -> Cell | None:
        """A pair's cell with the most calls within a budget."""
        return next((cell for cell in reversed(self._lines[pair]) if cell.calls <= budget), None)

    def _above_the_best(self, pair: str, budget: int) -> float:
        """Mean log distance above the best pair at a budget, and at its neighbours with half the weight.

        Distances below the floor count as the floor.
        """
        place = max(i for i, column in enumerate(self._columns) if column <= budget)
        weights = {i: 1.0 if i == place else 0.5 for i in (place - 1, place, place + 1) if 0 <= i < len(self._columns)}
        total, weight = 0.0, 0.0
        for i, share in weights.items():
            within = budget if i == place else self._columns[i]
            cells = {name: cell for name in self._nearest if (cell := self._at(name, within)) is not None}
            if pair in cells:
                medians = {name: max(cell.median, self._reference.floor) for name, cell in cells.items()}
                total, weight = total + share * (log(medians[pair]) - log(min(medians.values()))), weight + share
        return total / weight

    def _sentence(self, best: Cell, tied: Sequence[str]) -> str:
        saving = self._saving(best)
        if self._floor:
            also = f", as {_named(tied)}," if tied else ""
            return f"At {best.calls} calls {best.pair}{also} is as close to the solution as this reference can measure{saving}."
        if len(self._nearest) == 1:
            return f"{best.pair} is the only pair: its error is {best.median:.2g} at {best.calls} calls."
        if tied:
            return (
                f"No clear winner at {self._calls} calls: {_named([best.pair, *tied])} cannot be distinguished on "
                f"{_items(best)}; the first of them is taken{saving}."
            )
        return f"{best.pair} is the best of {len(self._nearest)} pairs at {self._calls} calls{saving}."

    def _saving(self, best: Cell) -> str:
        """What the best pair saves compared with the baseline, or with the next pair if it is the baseline."""
        if self._baseline not in self._nearest:
            return ""
        if best.pair != self._baseline:
            return self._against(best, self._baseline)
        others = [pair for pair in self._nearest if pair != best.pair]
        next_pair = min(others, key=lambda pair: self._nearest[pair].median, default=None)
        return " (the baseline)" + (self._against(best, next_pair) if next_pair else "")

    def _against(self, best: Cell, pair: str) -> str:
        """The calls that the best pair saves compared with another, or a text that it is not clearly closer."""
        other = self._nearest[pair]
        if not ahead(best, other) and best.median > self._reference.floor:
            return f", which is not clearly closer than {pair}"
        needed = calls_to_reach(self._lines[pair], max(best.median, self._reference.floor))
        if needed is not None and math.floor(needed) > best.calls:
            return f": with {best.calls} calls it is as close as {pair} with {math.floor(needed)}"
        enough = calls_to_reach(self._lines[best.pair], other.median)
        if enough is not None and math.ceil(enough) < other.calls:
            return f": with {math.ceil(enough)} calls it is as close as {pair} with {other.calls}"
        return f": its error is {best.median:.2g}, and the error of {pair} is {other.median:.2g}"

    def _remarks(self, best: Cell) -> list[str]:
        remarks = [f"The verdict rests on {_items(best)}."]
        if len(best.distances) < _FEW:
            remarks[0] += f" The best of many pairs on fewer than {_FEW} items is often not the best on others."
        if self._baseline and self._baseline not in self._nearest:
            remarks.append(f"The baseline {self._baseline} has no error to compare with.")
        if best.pair != self._first.pair and not self._floor:
            remarks.append(
                f"{self._first.pair} has the smaller median, {self._first.median:.3g} against {best.median:.3g}, but this "
                f"may be chance; {best.pair} is closer at the neighbouring budgets."
            )
        remarks += self._falls_back(best.pair)
        remarks += self._not_monotone(best.pair)
        if equal := equal_lines(self._cells):
            remarks.append(f"Equal at every number of calls: {'; '.join(' = '.join(group) for group in equal)}.")
        if not (reference := self._reference).converged:
            remarks.append(
                f"The reference agrees only to {reference.agreement:.1e}, not to {reference.tolerance:g}. Errors up to "
                f"{reference.floor:.1e}, three times this, are not ranked."
            )
        return remarks

    def _falls_back(self, pair: str) -> list[str]:
        """The budgets at which the best pair is in the worse half."""
        places = []
        for column in self._columns:
            others = [cell for name in self._lines if (cell := self._at(name, column)) is not None]
            own = self._at(pair, column)
            if own is not None and (place := sorted(map(_MEDIAN, others)).index(own.median) + 1) > (len(others) + 1) / 2:
                places.append(f"number {place} of {len(others)} at {column} calls")
        return [f"{pair} is only {', '.join(places)}."] if places else []

    def _not_monotone(self, best: str) -> list[str]:
        """Pairs that more calls make clearly worse, the best pair in detail."""
        worse = {
            pair: (before, after)
            for pair, line in self._lines.items()
            for before, after in zip(line, line[1:])
            if before.calls < after.calls and ahead(before, after)
        }
        remarks = []
        if best in worse:
            before, after = worse.pop(best)
            remarks.append(
                f"{best} is not monotone: its error is {before.median:.2g} at {before.calls} calls and {after.median:.2g} "
                f"at {after.calls}."
            )
        if worse:
            remarks.append(f"With more calls the error becomes clearly larger at some budget for {_named(list(worse))}.")
        return remarks


def reference_of(cell: Cell, references: Mapping[float, Reference]) -> Reference:
    """The reference from a cell's first sigma."""
    return next(reference for start, reference in references.items() if same_start(start, cell.start))


def log(value: float) -> float:
    """Logarithm, also of 0 and of infinity, which become numbers beyond all others."""
    return math.log(min(max(value, _LEAST), _MOST))


def _logs(distances: torch.Tensor) -> torch.Tensor:
    return distances.double().nan_to_num(nan=_MOST, posinf=_MOST).clamp(_LEAST, _MOST).log()


def _equal(line: Sequence[Cell], other: Sequence[Cell]) -> bool:
    if [cell.calls for cell in line] != [cell.calls for cell in other]:
        return False
    return all(abs(log(one.median) - log(two.median)) <= _EQUAL for one, two in zip(line, other))


def _items(cell: Cell) -> str:
    return "1 item" if len(cell.distances) == 1 else f"{len(cell.distances)} items"


def _named(pairs: Sequence[str], most: int = 3) -> str:
    """Names as text, such as "a, b, c and 4 more"."""
    shown, more = list(pairs[:most]), len(pairs) - most
    if more > 0:
        shown.append(f"{more} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
