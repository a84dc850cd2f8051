"""Calibrations as files: exact round trips, all kinds of broken files, and warnings if other settings are used."""

import json
import math
import re

import pytest
import torch
from calibration_data import TIMES, grid_of
from conftest import ROOT

from samplers import calibration_file
from samplers.calibration_file import MAX_BYTES, CalibrationFile, Setting, check_name, check_same_grid, read, warnings, write
from samplers.lab.calibration.fitting import bases
from samplers.time_maps import FLOW, VE


def kept(time=VE, base="exp_res_rule_0"):
    """A calibration of an analytic plan."""
    sigmas = grid_of(time)
    return CalibrationFile.of(bases(sigmas, time)[base], sigmas, {"base": base, "model": "abc", "cfg": 5.0})


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("base", ["exp_res_rule_0", "exp_gddim", "exp_res_2mc"])
def test_there_and_back_to_the_bit(time, base, tmp_path):
    """The plan that is read has the numbers of the plan that was written, with its states."""
    one = kept(time, base)
    again = read(write(one, tmp_path / "new", "a name"))
    assert again == one and again.plan == one.plan and again.to_json() == one.to_json()
    for stage, given in zip(again.plan.stages, bases(grid_of(time), time)[base].stages):
        numbers = stage.step, stage.sigma, stage.scale, stage.weights, stage.states
        assert numbers == (given.step, given.sigma, given.scale, given.weights, given.states)


def test_files_are_never_overwritten(tmp_path):
    names = [write(kept(), tmp_path, "x").name for _ in range(3)]
    assert names == ["x_00001.json", "x_00002.json", "x_00003.json"]


def changed(**changes):
    """The JSON with changes: None removes a field, and a path names an inner one."""
    data = json.loads(kept().to_json())
    for path, value in changes.items():
        *way, last = path.split("__")
        inner = data
        for key in way:
            inner = inner[int(key) if key.isdigit() else key]
        last = int(last) if last.isdigit() else last
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return json.dumps(data)


# the end of the reason -> changes of a file, or its whole content
BROKEN = {
    "no calibration": [{"format": "other"}, {"format": None}, b"[]", b"null"],
    '"version" is 2': [{"version": 2}],
    '"version" is None': [{"version": None}],
    '"time" must be one of': [{"time": "warp"}, {"time": None}],
    "ends at sigma 1": [{"time": "flow"}],
    '"sigmas" must be a list': [{"sigmas": None}, {"sigmas": "abc"}, {"sigmas": [1.0] * 5000}],
    "sigmas.1. must be a number": [{"sigmas__1": "x"}, {"sigmas__1": True}, {"sigmas__1": 1e300}],
    "another checksum": [{"sigmas__0": 2e6}],  # a sigma may be larger than a weight
    "holds NaN": [{"sigmas__1": math.nan}],
    "holds Infinity": [{"sigmas__1": math.inf}],
    "must fall throughout": [{"sigmas__1": 99.0}],
    "cannot be negative": [{"sigmas__1": -1.0}],
    '"stages" must be a list': [{"stages": None}],
    '"stages" must have one entry for every step': [{"stages__2": None}],
    "stages.2. must be an object": [{"stages__2": 7}],
    "stages.2..scale must be a number": [{"stages__2__scale": None}],
    "holds -Infinity": [{"stages__2__scale": -math.inf}],
    '"stages.2..outputs" must be a list': [{"stages__2__outputs": None}],
    "names call 9": [{"stages__2__outputs__0": [9, 1.0]}],
    "names call -1": [{"stages__2__outputs__0": [-1, 1.0]}],
    "names call 0.5": [{"stages__2__outputs__0": [0.5, 1.0]}],
    "each once": [{"stages__2__outputs": [[0, 1.0], [0, 1.0]]}],
    "must be a pair": [{"stages__2__outputs__0": [0]}],
    "must be a number": [{"stages__2__outputs__0": [0, "x"]}],
    '"stages.2..states" must be a list': [{"stages__2__states": None}],
    "list of 0 to 0": [{"stages__0__states": [[0, 1.0]]}],
    '"provenance" is missing': [{"provenance": None}, {"provenance": []}],
    "not JSON": [b"", b"{"],
    "not UTF-8": [b"\xff\xfe"],
    "nested too deeply": [b"[" * 200_000],
    "larger than": [b" " * (MAX_BYTES + 1)],
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_files_are_refused_with_their_reason(message, tmp_path):
    for change in BROKEN[message]:
        content = change if isinstance(change, bytes) else changed(**change).encode()
        (tmp_path / "broken.json").write_bytes(content)
        with pytest.raises(ValueError, match=f"^broken.json: .*{message}"):
            read(tmp_path / "broken.json")


def test_a_digit_that_was_changed_is_refused(tmp_path):
    """Another weight would be a valid number, so only the checksum shows the change."""
    path = write(kept(), tmp_path, "x")
    text = path.read_text()
    place = text.index('"scale": 0.') + len('"scale": 0.')
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
    with pytest.raises(ValueError, match="x_00001.json: it is damaged or was changed by hand"):
        read(path)


@pytest.mark.parametrize("name", ["a", "my model 8", "v1.2_final-3", "A" * 80])
def test_names(name):
    assert check_name(name) == name


def test_other_grids_are_distinguished():
    """Grids that differ by a part in 100000 are refused, and rounding passes."""
    sigmas = grid_of(VE).tolist()
    check_same_grid([s * (1 + 1e-6) for s in sigmas], sigmas)
    for other in (sigmas[1:], sigmas[:-1], [sigmas[0], math.nan, *sigmas[2:]], [s * 1.001 for s in sigmas], [*sigmas[:-1], 0.01]):
        with pytest.raises(ValueError, match="SIGMAS output"):
            check_same_grid(other, sigmas)


def test_other_sigmas_and_a_model_of_another_kind_are_refused_before_the_first_call():
    one, sigmas, x = kept(), grid_of(VE), torch.ones(2, 3)
    with pytest.raises(ValueError, match="not those the sampler was calibrated on"):
        one.sample(None, x, sigmas[1:])
    with pytest.raises(ValueError, match="made for a ve model"):
        one.sample(None, x, sigmas, time=FLOW)


# --- other settings than those of the fit ---

HOME = Setting(5.0, (4, 64, 64), 3.0)


@pytest.mark.parametrize(
    "used, said",
    [
        (HOME._replace(cfg=3.0), "CFG is 3 and the file was made for 5"),
        (HOME._replace(cfg=5.5), "CFG is 5.5 and the file was made for 5"),
        (HOME._replace(cfg=9.0), "was not measured"),
        (HOME._replace(shape=(4, 96, 64)), "The latent is 4x96x64 and the file was made for 4x64x64"),
        (HOME._replace(shift=1.0), "shift is 1 and the file was made for 3"),
    ],
)
def test_every_difference_is_named(used, said):
    [text] = warnings(HOME, used)
    assert said in text


def test_what_is_the_same_or_not_known_is_not():
    assert not warnings(HOME, HOME) and not warnings(Setting(), HOME) and not warnings(HOME, Setting())


@pytest.mark.parametrize("value", [None, "x", [], [1], ["a", 2], {}, float("nan"), 10**400])
def test_a_strangers_provenance_is_read_with_care(value):
    """A value of a wrong type counts as not known."""
    assert Setting.of({"cfg": value, "shift": value, "resolution": value}) == Setting()


def test_what_the_node_writes_is_read():
    assert Setting.of({"cfg": 5, "shift": 3.0, "resolution": [8, 4, 64, 64]}) == HOME


def test_the_ratios_are_those_of_the_page():
    """They are the smallest and largest ratios in docs/calibration.md for each kind of change."""
    page = (ROOT / "docs" / "calibration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| (CFG [+-]\d|another resolution) \| [\d.]+ \| [\d.]+ \| ([\d.]+) \|$", page, re.MULTILINE)
    measured = {}
    for where, ratio in rows:
        measured.setdefault(where, []).append(float(ratio))
    known = {f"CFG {change:+d}": ratios for change, ratios in calibration_file.CFG.items()} | {
        "another resolution": calibration_file.RESOLUTION
    }
    assert known == {where: (min(ratios), max(ratios)) for where, ratios in measured.items()}
