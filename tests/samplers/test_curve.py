"""Curves pass through their points and rise, and bad curves are refused by name."""

import json
import re

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from samplers.curve import MAX_POINTS, MAX_TEXT, MIN_GAP, STRAIGHT, read_curve
from samplers.schedules import SigmaRange, logsnr_grid
from samplers.time_maps import FLOW, VE

MODELS = {"eps": (SigmaRange(0.0291675, 14.614642), VE), "flow": (SigmaRange(0.003, 1.0), FLOW)}


@pytest.mark.parametrize("model", MODELS)
def test_the_grid_passes_through_the_points(model):
    """At the third of 11 sigmas above 0 a fifth of the steps is done. A straight line is uniform."""
    points, time = [[0, 0], [0.2, 0.5], [0.6, 0.7], [1, 1]], MODELS[model][1]
    sigmas, uniform = logsnr_grid(11, *MODELS[model], read_curve(json.dumps(points))), logsnr_grid(11, *MODELS[model], "uniform")
    first, last = 2 * time.lam(float(uniform[1])) - time.lam(float(uniform[2])), time.lam(float(uniform[-2]))
    for u, share in points[1:]:
        assert time.lam(float(sigmas[round(10 * u)])) == pytest.approx(first + share * (last - first), abs=1e-4)
    for text in (STRAIGHT, "[[0, 0], [0.25, 0.25], [0.9, 0.9], [1.0, 1]]"):
        torch.testing.assert_close(logsnr_grid(11, *MODELS[model], read_curve(text)), uniform, rtol=1e-6, atol=0)


@settings(max_examples=200)
@example([(1.0, 0.015625), (0.015625, 1.0)])
@given(st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=1, max_size=20))
def test_every_curve_rises(gaps):
    """It rises strictly, so the grid never repeats a sigma, except near 1, where float32 has few numbers."""
    sums = np.cumsum(np.array([(0.0, 0.0), *gaps]), 0)
    points = np.round(sums / sums[-1], 4)
    if (np.diff(points, axis=0) < MIN_GAP).any():
        return
    curve = read_curve(json.dumps(points.tolist()))
    assert (np.diff(curve.share(np.linspace(0.0, 1.0, 500))) > 0.0).all()
    assert (logsnr_grid(100, *MODELS["eps"], curve).diff() < 0.0).all()
    try:
        assert (logsnr_grid(100, *MODELS["flow"], curve).diff() < 0.0).all()
    except ValueError as error:
        assert re.fullmatch("the curve repeats sigma .* at 100 steps; take fewer steps.", str(error))
        assert np.diff(curve.share(np.linspace(0.0, 1.0, 100))).min() < 1e-4


WRONG = {
    "": "must be a JSON list of points",
    "0.5": "got float",
    "[[0, 0]]": "got 1 points",
    json.dumps([[0, 0]] * (MAX_POINTS + 1)): f"got {MAX_POINTS + 1} points",
    " " * (MAX_TEXT + 1): f"at most {MAX_TEXT} characters",
    "[" * 5000: "must be a JSON list of points",
    "[[0, 0], [0.5, 0.5, 0.5], [1, 1]]": r"point 2 must be two numbers from 0 to 1.*got \[0.5, 0.5, 0.5\]",
    '[[0, 0], ["a", 0.5], [1, 1]]': r'point 2 must be two numbers.*got \["a", 0.5\]',
    "[[0, 0], [true, 0.5], [1, 1]]": "point 2 must be two numbers",
    "[[0, 0], [NaN, 0.5], [1, 1]]": "point 2 must be two numbers",
    "[[0, 0], [0.5, 1e999], [1, 1]]": "point 2 must be two numbers",
    f"[[0, 0], [0.5, {10**300}], [1, 1]]": "point 2 must be two numbers",
    "[[0, 0], {}, [1, 1]]": "point 2 .* got \\{\\}",
    "[[0, 0], [[0], 1], [1, 1]]": r"point 2 .* got \[\[0\], 1\]",
    "[[0.1, 0], [1, 1]]": r"point 1 must be \[0.0, 0.0\], got \[0.1, 0.0\]",
    "[[0, 0], [0.5, 0.5], [1, 0.9]]": r"point 3 must be \[1.0, 1.0\]",
    "[[0, 0], [0.5, 0.5], [0.4, 0.6], [1, 1]]": r"point 3, \[0.4, 0.6\], must lie right of point 2, \[0.5, 0.5\]",
    "[[0, 0], [0.5, 0.5], [0.6, 0.5], [1, 1]]": r"point 3, .* must lie above point 2",
    "[[0, 0], [0.5, 0.5], [0.5005, 0.6], [1, 1]]": "its first number must be larger by 0.001 or more",
}


@pytest.mark.parametrize("text", WRONG, ids=[text[:40] for text in WRONG])
def test_errors_name_the_point(text):
    with pytest.raises(ValueError, match=WRONG[text]):
        read_curve(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@settings(max_examples=500)
@given(st.text() | json_values.map(json.dumps) | st.lists(json_values, min_size=2, max_size=5).map(json.dumps))
def test_whatever_the_text_it_is_read_or_refused(text):
    try:
        curve = read_curve(text)
    except ValueError as error:
        assert str(error).startswith("curve")
    else:
        assert curve.points[0] == (0.0, 0.0) and curve.points[-1] == (1.0, 1.0)
