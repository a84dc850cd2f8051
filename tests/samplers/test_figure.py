"""Pictures of matplotlib's figures show the data."""

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="matplotlib of requirements.txt is not in this environment")

from samplers.figure import DPI, new_figure, pixels
from samplers.grid_picture import picture
from samplers.lab.trace import Row
from samplers.lab.trace_picture import picture as trace_picture
from samplers.time_maps import FLOW, VE


def test_pixels_of_a_figure():
    figure = new_figure(2.0, 1.0, layout=None)
    figure.set_facecolor((1.0, 0.0, 0.2))
    image = pixels(figure)
    assert image.shape == (DPI, 2 * DPI, 3) and image.dtype == np.float32
    assert np.allclose(image, [1.0, 0.0, 0.2])


@pytest.mark.parametrize("time", [None, VE, FLOW])
def test_grids_with_infinite_ends(time):
    """Pure noise and sigma 0 have no logSNR, and the lines end there."""
    grids = {"sigmas": [1.0, 0.5, 0.1, 0.0], "sigmas_b": [1.0, 0.0]}
    one, both = (picture({name: grids[name] for name in names}, time, time is not None) for names in (["sigmas"], list(grids)))
    assert one.shape == both.shape == (624, 840, 3) and (one != both).any()


def test_traces_with_shares_and_with_missing_values():
    rows = [Row(step, 1.0 - step / 4, 0.0, 0.1, 0.01, 0.02, 3.0, 0.5, 1, 2.0, (0.7, 0.3)) for step in range(3)]
    higher = trace_picture(rows)
    assert higher.shape == (936, 840, 3) and (higher != trace_picture([row._replace(shares=(0.3, 0.7)) for row in rows])).any()
    missing = [Row(0, 1.0, float("-inf"), *[float("nan")] * 5, 1, 2.0), rows[1]._replace(shares=())]
    assert trace_picture(missing).shape == (624, 840, 3) and (trace_picture(missing) != trace_picture(missing[:1])).any()


def test_a_warning_stands_above_the_grids():
    grids = {"sigmas": [1.0, 0.5, 0.1, 0.0]}
    warned = picture(grids, VE, True, "sigmas: made for another model")
    red = (warned[..., 0] > 0.7) & (warned[..., 1] < 0.4) & (warned[..., 2] < 0.4)
    assert red[:60].any() and not red[60:].any() and warned.shape == picture(grids, VE, True).shape
