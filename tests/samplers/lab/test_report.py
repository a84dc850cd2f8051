"""The picture of what was measured: numbers on both axes, however little the errors differ."""

import math

import pytest
import torch

from samplers.lab import measure_picture
from samplers.lab.measure import Cell
from samplers.lab.measure_report import table
from samplers.lab.reference import Reference

pytest.importorskip("matplotlib")


def _labels(axis, limits):
    """The numbers that stand at an axis, as they are drawn."""
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    low, high = sorted(limits)
    return [tick.label1.get_text() for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_text()]


@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("last", [0.31, 0.2, 1e-4], ids=["near", "within a decade", "decades"])
def test_numbers_on_both_axes(monkeypatch, stochastic, last):
    figures, pixels = [], measure_picture.pixels
    monkeypatch.setattr(measure_picture, "pixels", lambda figure: figures.append(figure) or pixels(figure))
    cells = [
        Cell(
            "euler", "karras", calls, calls, calls, 14.6, stochastic, torch.full((8,), error), torch.zeros(1), torch.ones(2), 0.1
        )
        for calls, error in ((6, 0.34), (10, math.sqrt(0.34 * last)), (20, last))
    ]
    measure_picture.picture(cells, {14.6: Reference(torch.randn(8, 1, 4, 4), 96, 1e-4, 1e-3, 144)})
    [figure] = figures
    [axes] = figure.axes
    assert _labels(axes.xaxis, axes.get_xlim()) == ["6", "10", "20"]
    assert len(_labels(axes.yaxis, axes.get_ylim())) >= 2


@pytest.mark.parametrize("parted, text", [((), "8 of 8 items agree"), ((5,), "7 of 8 items agree"), ((5,), "item 5 (counted")])
def test_items_that_left_the_reference_are_named(parted, text):
    cell = Cell("euler", "karras", 6, 6, 6, 14.6, False, torch.full((8,), 0.3), torch.zeros(1), torch.ones(2), 0.1)
    reference = Reference(torch.randn(8, 1, 4, 4), 96, 1e-4, 0.2, 144, parted)
    assert text in table([cell], {14.6: reference}, [])
