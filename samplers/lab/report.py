"""What was measured, as text, as rows of a CSV file, and as pictures."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..figure import DPI, new_figure, pixels
from .distances import sliced_distance
from .measure import Cell, ranked, same_start
from .reference import Reference

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN_PAIRS, _STRIP_ROWS, _STRIP_COLUMNS = 10, 10, 6
_WIDTH = 9.0  # inches, 1080 pixels: readable on a phone held upright
_GAP, _LINE = 6, 26  # pixels between tiles, and of a line of text above and below them
_CSV = ("sampler", "schedule", "budget", "calls", "steps", "start", "kind", "median", "q25", "q75", "seconds", "rank")


def csv_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row a cell, the ranked ones first; `rank` is empty for what is not ranked."""
    order = ranked(cells)
    rows = []
    for cell in [*order, *(cell for cell in cells if not _among(cell, order))]:
        kind = "distance of distributions" if cell.stochastic else "defect"
        values = (cell.sampler, cell.schedule, cell.budget or "", cell.calls, cell.steps, cell.start, kind, *cell.spread)
        rank = order.index(cell) + 1 if _among(cell, order) else ""
        rows.append(dict(zip(_CSV, (*values, round(cell.seconds, 4), rank))))
    return rows


def _among(cell: Cell, cells: Sequence[Cell]) -> bool:
    return any(cell is other for other in cells)


def table(cells: Sequence[Cell], references: Mapping[float, Reference], notes: Sequence[str]) -> str:
    """Markdown: defects by pair and calls, SDE samplers apart, then everything there is to know about the numbers."""
    order = ranked(cells)
    common = order[0].start if order else math.nan
    parts: list[str] = []
    for start in references:
        group = [cell for cell in cells if not cell.stochastic and same_start(cell.start, start)]
        title = "Defect: relative distance to the converged solution, median over items [quartiles]"
        if not same_start(start, common):
            title = f"Not ranked, as it starts at sigma {start:.6g} and not at {common:.6g}: an ODE of its own. {title}"
        if group:
            parts.insert(0 if same_start(start, common) else len(parts), f"{title}\n\n{_grid(group)}")
    if stochastic := [cell for cell in cells if cell.stochastic]:
        title = (
            "SDE samplers, never ranked with the others: distance of their distribution over the batch to that of the converged "
            "solution, along random directions, in standard deviations, median [quartiles]"
        )
        parts.append(f"{title}\n\n{_grid(stochastic)}\n\n{_chance(next(iter(references.values())))}")
    for start, found in references.items():
        parts.append(_reference(start, found))
    return "\n\n".join([*parts, *(f"- {note}" for note in notes)])


def _reference(start: float, found: Reference) -> str:
    items, parted = len(found.samples), found.parted
    text = f"Reference from sigma {start:.6g}: order 3, {found.steps} steps. "
    agree = f"{items - len(parted)} of {items} items agree with a run of half as many steps to {found.agreement:.1e}"
    if not parted:
        return f"{text}{agree}, all of them to {found.worst:.1e}."
    names = f"item{'s' * (len(parted) > 1)} {', '.join(map(str, parted))} (counted from 0)"
    return f"{text}{agree}; {names} do{'es' * (len(parted) == 1)} not, by {found.worst:.1e} at most."


def _chance(reference: Reference) -> str:
    apart = _apart_by_chance(reference)
    if apart is None:
        return "Of so few items such a distance says nothing; take a batch of 32 or more."
    return f"Two batches of {len(reference.samples)} items drawn from one distribution are about {apart:.2g} apart by chance."


def _apart_by_chance(reference: Reference) -> float | None:
    """The distance of two such batches, from that of the reference's halves, which falls like the root of their size."""
    half = len(reference.samples) // 2
    if half < 2:
        return None
    return float(sliced_distance(reference.samples[:half], reference.samples[half : 2 * half]).median()) / math.sqrt(2.0)


def _grid(cells: Sequence[Cell]) -> str:
    """Pairs by calls."""
    columns = sorted({cell.budget or cell.calls for cell in cells})
    pairs: dict[str, dict[int, Cell]] = {}
    for cell in cells:
        pairs.setdefault(cell.pair, {})[cell.budget or cell.calls] = cell
    # one that made more calls than its dry run did, and than the column allows, is not the best of it
    best = {
        column: min(
            (cell.spread.median for cell in cells if column == (cell.budget or cell.calls) >= cell.calls), default=math.inf
        )
        for column in columns
    }
    lines = ["| sampler, schedule | " + " | ".join(f"{column} calls" for column in columns) + " |"]
    lines.append("|---|" + "--:|" * len(columns))
    for pair, found in sorted(pairs.items(), key=lambda item: _order_of(item[1], best)):
        lines.append(f"| {pair} | " + " | ".join(_entry(found.get(column), column, best[column]) for column in columns) + " |")
    return "\n".join(lines)


def _order_of(found: Mapping[int, Cell], best: Mapping[int, float]) -> float:
    """Mean log distance above the best of every column."""
    return float(np.mean([_log(cell.spread.median) - _log(best[column]) for column, cell in found.items()]))


def _log(value: float) -> float:
    """Of 0 and of infinity too, as of numbers beyond all others."""
    return math.log(min(max(value, 1e-300), 1e300))


def _entry(cell: Cell | None, column: int, best: float) -> str:
    if cell is None:
        return ""
    made = "" if cell.calls == column else f" ({cell.calls} calls)"
    bold = "**" if cell.spread.median == best and cell.budget else ""  # a sampler that chooses its steps is alone
    return f"{bold}{cell.spread.median:.3g}{bold} [{cell.spread.q25:.2g}, {cell.spread.q75:.2g}]{made}"


def picture(cells: Sequence[Cell], references: Mapping[float, Reference]) -> np.ndarray:
    """Distance against calls, log-log, a line a pair; SDE samplers in a panel of their own.

    Returns:
        (height, width, 3), float32 in [0, 1].
    """
    order, stochastic = ranked(cells), [cell for cell in cells if cell.stochastic]
    figure = new_figure(_WIDTH, 13.0 if order and stochastic else 10.0)
    panels = [
        (group, label) for group, label in ((order, "defect"), (stochastic, "distance of distributions (SDE)")) if group
    ] or [([], "defect")]
    for axes, (group, label) in zip(np.atleast_1d(figure.subplots(len(panels))), panels):
        _draw(axes, group, label)
        if group is order and order:
            floor = next(r.agreement for start, r in references.items() if same_start(start, order[0].start))
            _floor(axes, floor, "agreement of the reference")
        elif group:
            _floor(axes, _apart_by_chance(next(iter(references.values()))), "by chance")
    return pixels(figure)


def _floor(axes: "Axes", height: float | None, text: str) -> None:
    if height:
        axes.axhline(height, color="0.6", linestyle=":", linewidth=1.5)
        axes.text(0.99, height, text, transform=axes.get_yaxis_transform(), ha="right", fontsize=11)


def _draw(axes: "Axes", cells: Sequence[Cell], label: str) -> None:
    from matplotlib.ticker import NullLocator  # noqa: PLC0415 (slow to import)

    lines: dict[str, list[Cell]] = {}
    for cell in cells:
        lines.setdefault(cell.pair, []).append(cell)
    pairs = sorted(lines, key=lambda pair: float(np.mean([_log(c.spread.median) for c in lines[pair]])))
    for rank, pair in enumerate(pairs):
        points = sorted(lines[pair], key=lambda cell: cell.calls)
        calls, spreads = [cell.calls for cell in points], [cell.spread for cell in points]
        if rank < _SHOWN_PAIRS:
            [line] = axes.plot(calls, [s.median for s in spreads], marker="o", markersize=7, linewidth=2.5, label=pair)
            band = [s.q25 for s in spreads], [s.q75 for s in spreads]
            axes.fill_between(calls, *band, color=line.get_color(), alpha=0.12 if rank < 3 else 0.0, linewidth=0)
        else:
            axes.plot(calls, [s.median for s in spreads], color="0.75", linewidth=1.0, zorder=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({cell.calls for cell in cells})
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.tick_params(labelsize=14, which="both")
    axes.xaxis.set_minor_locator(NullLocator())  # those of y get numbers where there is less than a decade
    axes.set_xlabel("model calls", fontsize=16)
    axes.set_ylabel(label + ", median", fontsize=16)
    axes.grid(alpha=0.3)
    more = len(pairs) - _SHOWN_PAIRS
    title = f"and {more} more in grey, see the table" if more > 0 else None
    if pairs:
        axes.legend(fontsize=13, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, title=title, frameon=False)


def strip(cells: Sequence[Cell], image_of: Callable[[Cell], np.ndarray], truth: np.ndarray) -> np.ndarray:
    """Pictures of the first item: a row a pair, a column a number of calls, the converged solution at the end of each row.

    Args:
        cells: measured.
        image_of: of a cell, (height, width, 3) in [0, 1]; asked for those shown, one by one, as a VAE takes its time.
        truth: of the reference.

    Returns:
        (height, width, 3), float32 in [0, 1].
    """
    found: dict[str, dict[int, Cell]] = {}
    for cell in cells:
        found.setdefault(cell.pair, {})[cell.budget or cell.calls] = cell
    order = list(dict.fromkeys(cell.pair for cell in [*ranked(cells), *cells]))[:_STRIP_ROWS]
    columns = sorted({cell.budget or cell.calls for cell in cells if cell.pair in order})
    columns = [columns[round(i)] for i in np.linspace(0, len(columns) - 1, min(len(columns), _STRIP_COLUMNS))]
    width = round(_WIDTH * DPI)
    side = width // (len(columns) + 1) - _GAP
    size = side, max(1, round(side * truth.shape[0] / truth.shape[1]))
    row_height = size[1] + 2 * _LINE
    sheet, texts = np.ones((len(order) * row_height, width, 3), np.float32), []

    def place(row: int, column: int, image: np.ndarray, text: str) -> None:
        top, left = row * row_height + _LINE, column * (side + _GAP)
        sheet[top : top + size[1], left : left + side] = _resized(image, size)
        texts.append((left + side / 2, top + size[1] + 2, text, "center"))

    for row, pair in enumerate(order):
        texts.append((2, row * row_height + 4, pair, "left"))
        for column, calls in enumerate(columns):
            if calls in found[pair]:
                cell = found[pair][calls]
                defect = "" if cell.stochastic else f": {float(cell.distances[0]):.2g}"  # the item's own
                place(row, column, image_of(cell), f"{cell.calls} calls{defect}")
        place(row, len(columns), truth, "converged")
    return _with_texts(sheet, texts)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """To (width, height); small images keep their pixels."""
    small = Image.fromarray(_bytes(image))
    kind = Image.Resampling.NEAREST if max(image.shape[:2]) < 64 else Image.Resampling.LANCZOS
    return np.asarray(small.resize(size, kind), np.float32) / 255.0


def _bytes(image: np.ndarray) -> np.ndarray:
    """Of [0, 1]; black where it is NaN."""
    return (np.clip(np.nan_to_num(image), 0.0, 1.0) * 255.0).round().astype(np.uint8)


def _with_texts(sheet: np.ndarray, texts: Sequence[tuple[float, float, str, str]]) -> np.ndarray:
    """A picture with (x, y of the upper edge, text, alignment) on it."""
    figure = new_figure(_WIDTH, sheet.shape[0] / DPI, layout=None)
    height, width = sheet.shape[:2]
    for x, y, text, alignment in texts:
        figure.text(x / width, 1.0 - y / height, text, fontsize=11 if alignment == "center" else 13, ha=alignment, va="top")
    return sheet * pixels(figure)  # matplotlib would take a second for the pictures
