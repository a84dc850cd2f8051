"""Pictures of the first item, as a grid of pairs by model calls."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..figure import DPI, new_figure, pixels
from .measure import Cell
from .reference import Reference
from .verdict import Verdict, lines, ranked

_ROWS, _COLUMNS = 10, 6
_WIDTH = 9.0  # inches, 1080 pixels: readable on a phone held upright
_NAMES, _HEADER, _GAP, _LINE = 200, 40, 6, 22  # pixels: names of rows, names of columns, gaps between tiles, a line below a tile
_LETTERS = 18  # of a name, a line
_MARGIN, _TITLE, _TITLE_LINE = 8, 70, 32  # pixels, letters of the title in a line, pixels of such a line


def strip(
    cells: Sequence[Cell],
    references: Mapping[float, Reference],
    image_of: Callable[[Cell], np.ndarray],
    truth: np.ndarray,
    verdict: Verdict | None = None,
) -> np.ndarray:
    """A grid of pictures of the first item, (height, width, 3), float32 in [0, 1]: a row per pair, a column per number of calls.

    `truth`, the image of the converged solution, is at the end of each row, and the item's error is below each picture.
    `image_of` gives the image of a cell, (height, width, 3) in [0, 1], and is called only for cells that are shown, because a
    VAE is slow. The verdict's sentence is the title, its pair is the first row, and its baseline is the second row.
    """
    by_pair = {pair: {cell.column: cell for cell in line} for pair, line in lines(cells).items()}
    first = [] if verdict is None else [verdict.best.pair, verdict.baseline]
    others = (cell.pair for cell in [*ranked(cells, references), *cells])
    order = [pair for pair in dict.fromkeys([*first, *others]) if pair in by_pair][:_ROWS]
    columns = sorted({column for pair in order for column in by_pair[pair]})
    columns = [columns[round(i)] for i in np.linspace(0, len(columns) - 1, min(len(columns), _COLUMNS))]
    title = [] if verdict is None else textwrap.wrap(verdict.sentence, _TITLE)
    sheet = _Sheet(len(order), len(columns) + 1, truth.shape[0] / truth.shape[1], title)
    for column, name in enumerate([*(f"{calls} calls" for calls in columns), "converged"]):
        sheet.write(sheet.left(column) + sheet.width / 2, sheet.header - _HEADER + 8, name, 14, ha="center", weight="bold")
    for row, pair in enumerate(order):
        is_best = verdict is not None and pair == verdict.best.pair
        name = "\n".join(line for part in pair.split(" + ") for line in textwrap.wrap(part, _LETTERS))
        sheet.write(_MARGIN, sheet.top(row) + 4, name, 12, weight="bold" if is_best else "normal")
        for column, calls in enumerate(columns):
            if cell := by_pair[pair].get(calls):
                sheet.show(row, column, image_of(cell), _below(cell, calls))
        sheet.show(row, len(columns), truth)
    return pixels(sheet.figure)


class _Sheet:
    """A figure of tiles, in pixels from the upper left corner."""

    def __init__(self, rows: int, columns: int, ratio: float, title: Sequence[str]):
        width = round(_WIDTH * DPI)
        self.width = (width - _NAMES) // columns - _GAP
        self.height = max(1, round(self.width * ratio))
        self.header = _MARGIN + _TITLE_LINE * len(title) + _HEADER
        height = self.header + rows * (self.height + _LINE + _GAP)
        self.figure = new_figure(_WIDTH, height / DPI, layout=None)
        self._axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        self._axes.axis("off")
        self.write(_MARGIN, _MARGIN, "\n".join(title), 15, weight="bold")
        self.write(_MARGIN, self.header - _HEADER + 12, "numbers: error", 11)

    def left(self, column: int) -> int:
        return _NAMES + column * (self.width + _GAP)

    def top(self, row: int) -> int:
        return self.header + row * (self.height + _LINE + _GAP)

    def write(self, x: float, y: float, text: str, size: int, **options: Any) -> None:
        """Write a text with its upper edge at y."""
        self._axes.text(x, y, text, fontsize=size, va="top", **options)

    def show(self, row: int, column: int, image: np.ndarray, below: str = "") -> None:
        """Show an image, (height, width, 3), black where it is not finite; small images keep their pixels."""
        left, top = self.left(column), self.top(row)
        place = left, left + self.width, top + self.height, top
        self._axes.imshow(np.clip(np.nan_to_num(image), 0.0, 1.0), extent=place, aspect="auto")
        self.write(left + self.width / 2, top + self.height + 2, below, 11, ha="center")


def _below(cell: Cell, column: int) -> str:
    """The item's error, and the calls if they differ from the column's."""
    parts = [] if cell.stochastic else [f"{float(cell.distances[0]):.2g}"]
    return ", ".join([*parts, *([f"{cell.calls} calls"] if cell.calls != column else [])])
