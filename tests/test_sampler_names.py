"""The documentation and the editor's words name the samplers of the catalogue."""

import re

import pytest
from conftest import ROOT, files

from samplers.catalogue import ADAPTIVE_SAMPLERS, METHODS, SAMPLERS
from samplers.lab.calibration.fitting import BASES


def test_the_table_lists_every_sampler_with_its_calls_per_step():
    table = (ROOT / "docs" / "samplers.md").read_text(encoding="utf-8").partition("## All samplers")[2].partition("\n## ")[0]
    listed = {}
    for row in re.findall(r"^\| (`.*) \|$", table, re.MULTILINE):
        names, _, calls, _ = (cell.strip() for cell in row.split("|"))
        names, calls = re.findall(r"`(\w+)`", names), [int(number) for number in calls.split(",")]
        listed |= zip(names, calls if len(calls) > 1 else calls * len(names), strict=True)
    assert listed == {name: method.calls_per_step for name, method in (SAMPLERS | ADAPTIVE_SAMPLERS).items()}


@pytest.mark.parametrize("file", files(".md", ".json"), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_texts_name_only_samplers_that_exist(file):
    named = re.findall(r"\bexp_(?:res|gddim)[a-z0-9_]*\b", file.read_text(encoding="utf-8"))
    assert set(named) <= {*METHODS, *ADAPTIVE_SAMPLERS, *BASES}
