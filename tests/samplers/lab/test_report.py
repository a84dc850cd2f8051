"""The picture of a measurement has numbers on both axes, even if the errors hardly differ."""

import math

import pytest
import torch

from samplers.lab import measure_picture
from samplers.lab.measure import Cell
from samplers.lab.measure_report import table
from samplers.lab.reference import Reference

pytest.importorskip("matplotlib")


def _labels(axis, limits):
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    low, high = sorted(limits)
    return [tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_text()]


def _cell(name, calls, error, stochastic=False):
    first = torch.zeros(1)
    return Cell(name, "karras", calls, calls, calls, 14.6, stochastic, torch.full((8,), error), first, torch.ones(2), 0.1)


def _reference(agreement=1e-3, parted=()):
    return Reference(torch.randn(8, 1, 4, 4), 96, 1e-4, agreement, 144, parted)


@pytest.fixture
def figures(monkeypatch):
    """The drawn figures, before they become pixels."""
    drawn, pixels = [], measure_picture.pixels
    monkeypatch.setattr(measure_picture, "pixels", lambda figure: drawn.append(figure) or pixels(figure))
    return drawn


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("last", [0.31, 0.2, 1e-4], ids=["near", "within a decade", "decades"])
def test_numbers_on_both_axes(figures, stochastic, last):
    errors = (6, 0.34), (10, math.sqrt(0.34 * last)), (20, last)
    cells = [_cell("euler", calls, error, stochastic) for calls, error in errors]
    measure_picture.picture(cells, {14.6: _reference()})
    [figure] = figures
    [axes] = figure.axes
    assert _labels(axes.xaxis, axes.get_xlim()) == ["6", "10", "20"]
    assert len(_labels(axes.yaxis, axes.get_ylim())) >= 2


def test_equal_lines_are_drawn_once_under_both_names(figures):
    cells = [_cell(name, calls, error) for calls, error in ((6, 0.3), (10, 0.1)) for name in ("heun", "same")]
    measure_picture.picture([*cells, _cell("other", 6, 0.3), _cell("other", 10, 0.2)], {14.6: _reference()})
    [axes] = figures[0].axes
    labels = [" ".join(text.get_text().split()) for text in axes.get_legend().get_texts()]
    assert sorted(labels) == ["heun + karras = same + karras", "other + karras"]
    assert sum(len(line.get_xdata()) == 2 and line.get_marker() == "o" for line in axes.get_lines()) == 2


@pytest.mark.parametrize("parted, text", [((), "8 of 8 items agree"), ((5,), "7 of 8 items agree"), ((5,), "item 5 (counted")])
def test_items_that_left_the_reference_are_named(parted, text):
    assert text in table([_cell("euler", 6, 0.3)], {14.6: _reference(0.2, parted)}, [])
