"""A measurement as text and as rows of a CSV file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .distances import sliced_distance
from .measure import Cell, same_start
from .reference import Reference
from .verdict import Verdict, at_floor, comparable, lines, log, ranked, reference_of

_AT_FLOOR = "≈"
_NO_BREAK = "\u00a0"  # a space at which editors do not break a line
_CSV = (
    "sampler", "schedule", "budget", "calls", "steps", "start", "kind", "median", "q25", "q75", "seconds", "rank", "agreement",
)  # fmt: skip


def csv_rows(cells: Sequence[Cell], references: Mapping[float, Reference]) -> list[dict[str, Any]]:
    """One row per cell, ranked cells first; `rank` is empty for others, and `agreement` is the agreement of the reference."""
    order = ranked(cells, references)
    others = [cell for cell in cells if not any(cell is other for other in order)]
    rows = []
    for rank, cell in enumerate([*order, *others], 1):
        kind = "distance of distributions" if cell.stochastic else "error"
        values = (cell.sampler, cell.schedule, cell.budget or "", cell.calls, cell.steps, cell.start, kind, *cell.spread)
        agreement = reference_of(cell, references).agreement
        rows.append(dict(zip(_CSV, (*values, round(cell.seconds, 4), rank if rank <= len(order) else "", agreement))))
    return rows


def table(
    cells: Sequence[Cell], references: Mapping[float, Reference], notes: Sequence[str], verdict: Verdict | None = None
) -> str:
    """Markdown: the verdict, errors by pair and calls, SDE samplers separately, and notes on the numbers."""
    order = comparable(cells)
    common = order[0].start if order else math.nan
    parts = [] if verdict is None else [f"**{verdict.sentence}**", " ".join(verdict.remarks)]
    for start in sorted(references, key=lambda start: not same_start(start, common)):
        group = [cell for cell in cells if not cell.stochastic and same_start(cell.start, start)]
        title = "Error: relative distance to the converged solution, median over items [quartiles]"
        if not same_start(start, common):
            other = f"it starts at sigma {start:.6g} and not at {common:.6g}, which is another problem"
            title = f"Not ranked, because {other}. {title}"
        if group:
            parts.append(f"{title}\n\n{_grid(group, references)}")
    if stochastic := [cell for cell in cells if cell.stochastic]:
        title = (
            "SDE samplers, never ranked with the others: distance between their distribution over the batch and the distribution "
            "of the converged solution, along random directions, in standard deviations, median [quartiles]"
        )
        parts.append(f"{title}\n\n{_grid(stochastic, references)}\n\n{_chance(next(iter(references.values())))}")
    for start, reference in references.items():
        parts.append(_reference(start, reference))
    return "\n\n".join([*parts, *(f"- {note}" for note in notes)])


def _reference(start: float, reference: Reference) -> str:
    items, parted = len(reference.samples), reference.parted
    text = f"Reference from sigma {start:.6g}: order 3, {reference.steps} steps. "
    text += f"{items - len(parted)} of {items} items agree with a run of half as many steps to {reference.agreement:.1e}"
    if parted:
        names = f"item{'s' * (len(parted) > 1)} {', '.join(map(str, parted))} (counted from 0)"
        text += f"; {names} do{'es' * (len(parted) == 1)} not, by {reference.worst:.1e} at most. "
    else:
        text += f", all of them to {reference.worst:.1e}. "
    if not reference.converged:
        text += f"**The tolerance is {reference.tolerance:g}; raise reference_calls to reach it.** "
    return (
        f"{text}Errors up to {reference.floor:.1e}, three times this agreement, are marked {_AT_FLOOR} and not ranked, because "
        "the reference's own error decides there."
    )


def _chance(reference: Reference) -> str:
    distance = distance_by_chance(reference)
    if distance is None:
        return "With so few items this distance says nothing; take a batch of 32 or more."
    return f"Two batches of {len(reference.samples)} items drawn from one distribution are about {distance:.2g} apart by chance."


def distance_by_chance(reference: Reference) -> float | None:
    """The distance of two such batches, from the distance of the reference's halves, which falls like the root of their size."""
    half = len(reference.samples) // 2
    if half < 2:
        return None
    return float(sliced_distance(reference.samples[:half], reference.samples[half : 2 * half]).median()) / math.sqrt(2.0)


def _grid(cells: Sequence[Cell], references: Mapping[float, Reference]) -> str:
    """A table of pairs by calls."""
    pairs = {pair: {cell.column: cell for cell in line} for pair, line in lines(cells).items()}
    best = dict.fromkeys(sorted({cell.column for cell in cells}), math.inf)
    for cell in cells:
        if cell.calls <= cell.column:  # otherwise it is not the best of its column
            best[cell.column] = min(best[cell.column], cell.median)

    def order(pair: str) -> float:
        """The mean log ratio to the best of every column."""
        return float(np.mean([log(cell.median) - log(best[column]) for column, cell in pairs[pair].items()]))

    text = ["| sampler + schedule | " + " | ".join(f"{column} calls" for column in best) + " |"]
    text.append("|---|" + "--:|" * len(best))
    for pair in sorted(pairs, key=order):
        entries = [_entry(pairs[pair].get(column), column, best[column], references) for column in best]
        text.append(f"| {pair} | {' | '.join(entries)} |")
    return "\n".join(text)


def _entry(cell: Cell | None, column: int, best: float, references: Mapping[float, Reference]) -> str:
    if cell is None:
        return ""
    made = "" if cell.calls == column else f" ({cell.calls} calls)"
    if not cell.stochastic and at_floor(cell, references):
        return f"{_AT_FLOOR} {cell.median:.3g}{made}"
    bold = "**" if cell.median == best and cell.budget else ""  # a sampler that chooses its steps is alone
    return f"{bold}{cell.median:.3g}{bold} [{cell.spread.q25:.2g},{_NO_BREAK}{cell.spread.q75:.2g}]{made}"
