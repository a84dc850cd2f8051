"""The warnings if a calibration is used with other settings than those of the fit."""

import re

import pytest
from conftest import ROOT

from samplers import calibration_file as transfer
from samplers.calibration_file import Setting, warnings

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
    known = {f"CFG {change:+d}": ratios for change, ratios in transfer.CFG.items()} | {"another resolution": transfer.RESOLUTION}
    assert known == {where: (min(ratios), max(ratios)) for where, ratios in measured.items()}
