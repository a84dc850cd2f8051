"""Pictures of the first item, as a grid of pairs by model calls."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from ..figure import DPI, new_figure, pixels
from .measure import Cell
from .reference import Reference
from .verdict import Verdict, ranked

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
    """A grid of pictures of the first item: a row for every pair, the best one on top, a column for every number of calls.

    The converged solution is at the end of each row, and the item's error is below each picture.

    Args:
        cells: measured cells.
        references: references by first sigma.
        image_of: function from a cell to its image, (height, width, 3) in [0, 1]; called only for cells that are shown, because
            a VAE is slow.
        truth: function from a reference to its image.
        verdict: its sentence is the title, its pair is the first row, and its baseline is the second row.

    Returns:
        (height, width, 3), float32 in [0, 1].
    """
    by_pair: dict[str, dict[int, Cell]] = {}
    for cell in cells:
        by_pair.setdefault(cell.pair, {})[cell.budget or cell.calls] = cell
    first = [] if verdict is None else [verdict.best.pair, verdict.baseline]
    others = (cell.pair for cell in [*ranked(cells, references), *cells])
    order = [pair for pair in dict.fromkeys([*first, *others]) if pair in by_pair][:_ROWS]
    columns = sorted({cell.budget or cell.calls for cell in cells if cell.pair in order})
    columns = [columns[round(i)] for i in np.linspace(0, len(columns) - 1, min(len(columns), _COLUMNS))]
    width = round(_WIDTH * DPI)
    side = (width - _NAMES) // (len(columns) + 1) - _GAP
    size = side, max(1, round(side * truth.shape[0] / truth.shape[1]))
    row_height = size[1] + _LINE + _GAP
    title = [] if verdict is None else textwrap.wrap(verdict.sentence, _TITLE)
    header = _MARGIN + _TITLE_LINE * len(title) + _HEADER
    sheet = np.ones((header + len(order) * row_height, width, 3), np.float32)
    names = [f"{calls} calls" for calls in columns] + ["converged"]
    texts = [_Text(_MARGIN, _MARGIN, "\n".join(title), 15, "left", True)]
    texts.append(_Text(_MARGIN, header - _HEADER + 12, "numbers: error", 11, "left", False))
    for column, name in enumerate(names):
        texts.append(_Text(_NAMES + column * (side + _GAP) + side / 2, header - _HEADER + 8, name, 14, "center", True))
    for row, pair in enumerate(order):
        top = header + row * row_height
        is_best = verdict is not None and pair == verdict.best.pair
        name = "\n".join(line for part in pair.split(" + ") for line in textwrap.wrap(part, _LETTERS))
        texts.append(_Text(_MARGIN, top + 4, name, 12, "left", is_best))
        shown = [by_pair[pair].get(calls) for calls in columns]
        images = [None if cell is None else image_of(cell) for cell in shown] + [truth]
        below = ["" if cell is None else _below(cell, column) for cell, column in zip(shown, columns)] + [""]
        for column, (image, text) in enumerate(zip(images, below)):
            left = _NAMES + column * (side + _GAP)
            if image is not None:
                sheet[top : top + size[1], left : left + side] = _resized(image, size)
            texts.append(_Text(left + side / 2, top + size[1] + 2, text, 11, "center", False))
    return _with_texts(sheet, texts)


class _Text(NamedTuple):
    x: float  # pixels
    y: float  # of the upper edge
    text: str
    size: int
    align: Literal["left", "center"]
    bold: bool


def _below(cell: Cell, column: int) -> str:
    """The item's error, and the calls if they differ from the column's."""
    parts = [] if cell.stochastic else [f"{float(cell.distances[0]):.2g}"]
    return ", ".join([*parts, *([f"{cell.calls} calls"] if cell.calls != column else [])])


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image in another size; small images keep their pixels."""
    small = Image.fromarray(_bytes(image))
    kind = Image.Resampling.NEAREST if max(image.shape[:2]) < 64 else Image.Resampling.LANCZOS
    return np.asarray(small.resize(size, kind), np.float32) / 255.0


def _bytes(image: np.ndarray) -> np.ndarray:
    """Bytes for numbers in [0, 1]; 0 for NaN."""
    return (np.clip(np.nan_to_num(image), 0.0, 1.0) * 255.0).round().astype(np.uint8)


def _with_texts(sheet: np.ndarray, texts: Sequence[_Text]) -> np.ndarray:
    """A picture with texts on it."""
    figure = new_figure(_WIDTH, sheet.shape[0] / DPI, layout=None)
    height, width = sheet.shape[:2]
    for x, y, text, size, align, bold in texts:
        weight = "bold" if bold else "normal"
        figure.text(x / width, 1.0 - y / height, text, fontsize=size, ha=align, va="top", fontweight=weight)
    return sheet * pixels(figure)  # matplotlib would take a second longer
