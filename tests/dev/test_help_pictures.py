"""The pictures of the help pages can be drawn with today's samplers and lab."""

import matplotlib.pyplot as plt
import pytest

from dev.help_pictures import PICTURES


@pytest.mark.parametrize("name", PICTURES)
def test_it_can_be_drawn(name):
    figure = PICTURES[name]()
    assert any(axes.lines or axes.images or axes.collections or axes.patches for axes in figure.axes)
    plt.close(figure)
