"""Pictures of the first item by every pair, as a strip."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PIL import Image

from ..figure import DPI, new_figure, pixels
from .measure import Cell
from .reference import Reference
from .verdict import ranked

_ROWS, _COLUMNS = 10, 6
_WIDTH = 9.0  # inches, 1080 pixels: readable on a phone held upright
_GAP, _LINE = 6, 26  # pixels between tiles, and of a line of text above and below them


def strip(
    cells: Sequence[Cell],
    references: Mapping[float, Reference],
    image_of: Callable[[Cell], np.ndarray],
    truth: np.ndarray,
) -> np.ndarray:
    """Pictures of the first item: a row a pair, a column a number of calls, the converged solution at the end of each row.

    Args:
        cells: measured.
        references: by start.
        image_of: of a cell, (height, width, 3) in [0, 1]; asked for those shown, one by one, as a VAE takes its time.
        truth: of the reference.

    Returns:
        (height, width, 3), float32 in [0, 1].
    """
    found: dict[str, dict[int, Cell]] = {}
    for cell in cells:
        found.setdefault(cell.pair, {})[cell.budget or cell.calls] = cell
    order = list(dict.fromkeys(cell.pair for cell in [*ranked(cells, references), *cells]))[:_ROWS]
    columns = sorted({cell.budget or cell.calls for cell in cells if cell.pair in order})
    columns = [columns[round(i)] for i in np.linspace(0, len(columns) - 1, min(len(columns), _COLUMNS))]
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
