"""Calibration files of strangers give a plan that can be sampled with, or a short error that names them, quickly."""

import contextlib
import copy
import json
import math
import re
import time
from pathlib import PurePosixPath, PureWindowsPath

import pytest
import torch
from calibration_data import grid_of
from hypothesis import given, settings
from hypothesis import strategies as st

from samplers.calibration_file import MAX_PROVENANCE, CalibrationFile, check_name, checksum, read, write
from samplers.lab.calibration.fitting import bases
from samplers.time_maps import FLOW, VE

_TIMES = {time.name: time for time in (VE, FLOW)}
_SIGMAS = grid_of(VE)
_GOOD = CalibrationFile.of(bases(_SIGMAS, VE)["exp_res_2mc"], _SIGMAS, {"base": "exp_res_2mc", "model": "abc"})
_DATA = json.loads(_GOOD.to_json())

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=9,
)
# values that an attacker would write into any place
_HOSTILE = [None, True, [], {}, "", "x" * 50_000, -1, 10**400, 1e308, -0.0, 1e-320, math.nan, math.inf, [[]], [0] * 5_000]
hostile = st.sampled_from([*_HOSTILE, "\ud800", "../x"])


def _places(value, way=()):
    """Every value in JSON."""
    yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from _places(part, (*way, key))


_PLACES = [place for place in _places(_DATA) if place]
# top-level fields are chosen as often as the many numbers of the stages
places = st.sampled_from([place for place in _PLACES if len(place) == 1]) | st.sampled_from(_PLACES)


@st.composite
def mutated(draw):
    """The text of a good file with a few of its values replaced, moved, doubled or removed."""
    data = copy.deepcopy(_DATA)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(places)
        inner = data
        try:
            for key in way:
                inner = inner[key]
            if isinstance(inner, dict) != isinstance(last, str):  # an earlier change put another kind of container here
                continue
            change = draw(st.sampled_from(["replace", "remove", "copy", "number"]))
            if change == "remove":
                del inner[last]
            elif change == "copy":
                inner[last] = [copy.deepcopy(inner[last])] * draw(st.integers(0, 3))
            else:
                inner[last] = draw(st.floats() | st.integers() if change == "number" else json_values | hostile)
        except (KeyError, IndexError, TypeError):  # an earlier change removed the place
            continue
    if draw(st.booleans()):
        data["checksum"] = checksum(data)  # a new checksum, as in a file that was changed on purpose
    return json.dumps(data)


def check(content: bytes, folder):
    path = folder / "stranger.json"
    path.write_bytes(content)
    begun = time.monotonic()
    try:
        kept = read(path)
    except ValueError as error:
        assert str(error).startswith("stranger.json: ") and 20 < len(str(error)) < 500
    else:
        plan = kept.plan
        assert all(math.isfinite(number) for stage in plan.stages for number in (stage.scale, *dict(stage.weights).values()))
        assert CalibrationFile.from_json(kept.to_json()) == kept
        x, grid = torch.ones(1, 2), torch.tensor(kept.sigmas, dtype=torch.float64)
        with contextlib.suppress(FloatingPointError):  # weights of 1e6 may diverge
            kept.sample(lambda x, sigma: 0.5 * x, x, grid, disable=True, time=_TIMES[kept.time])
    assert time.monotonic() - begun < 2.0


contents = mutated().map(str.encode) | mutated().map(str.encode) | json_values.map(lambda v: json.dumps(v).encode()) | st.binary()


@pytest.mark.parametrize("examples", [150, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_a_plan_or_a_reason(tmp_path, examples):
    settings(max_examples=examples)(given(contents)(lambda content: check(content, tmp_path)))()


@pytest.mark.parametrize(
    "provenance, message",
    [
        ('{"a": "' + "x" * MAX_PROVENANCE + '"}', "at most 20000 characters"),
        ('{"a": 1e999}', "not finite"),
        ('{"a": ' + "[" * 940 + "]" * 940 + "}", "nested too deeply|at most|another checksum"),
    ],
    ids=["lengthy", "infinite", "nested"],
)
def test_what_it_says_of_itself_is_short_and_can_be_written(provenance, message, tmp_path):
    content = _GOOD.to_json().replace(json.dumps(_GOOD.provenance, indent=1).replace("\n", "\n "), provenance)
    assert provenance in content
    (tmp_path / "long.json").write_text(content)
    try:
        kept = read(tmp_path / "long.json")
    except ValueError as error:
        assert re.search(f"long.json: .*({message})", str(error))
    else:
        assert "nested" in message and json.loads(kept.to_json())["provenance"] == kept.provenance


names = st.text(max_size=90) | st.text(st.sampled_from("aZ09 ._-/\\:*?\0\n~%$é∕．"), max_size=12)
names |= st.sampled_from(["con", "LPT9.txt", "aux .x", "..", "C:\\x", "\\\\server\\share", "a/../../b", "x [output]", "COM¹"])
names |= st.just("%2e%2e")


@settings(max_examples=1_000)
@given(names)
def test_a_name_is_that_of_a_file_in_the_folder_on_every_system(tmp_path_factory, name):
    try:
        check_name(name)
    except ValueError as error:
        assert len(str(error)) < 400
        return
    assert PureWindowsPath(name).name == PurePosixPath(name).name == name and not PureWindowsPath(name).is_reserved()
    assert name.isascii() and name == name.strip() and not name.endswith(".")
    folder = tmp_path_factory.getbasetemp() / "named"
    path = write(_GOOD, folder, name)
    assert path.resolve().parent == folder.resolve() and read(path) == _GOOD
    path.unlink()
