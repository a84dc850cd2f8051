"""The report on unseen cases: its rows, what is listed apart, and that its data are not those of development."""

import sys

import pytest
import torch

from benchmarks import targets
from benchmarks.cases import grids, network_cases, standard_cases


@pytest.fixture(scope="module")
def module(pack):
    return next(m for name, m in sys.modules.items() if name.endswith(".nodes.digits_model"))


def test_no_case_shares_its_noise_with_development(module):
    seen = {case.name: case for case in (*standard_cases(module, 4), *network_cases(4))}
    for case in targets.cases(module, 4):
        assert case.name not in seen or not torch.equal(case.noise, seen[case.name].noise)


def test_a_row(module):
    case = next(case for case in targets.cases(module, 4) if case.name == "odd digits CFG 4")
    row = targets.row(case, "karras", grids(case)["karras"], 10)
    assert row["ours"] == tuple(sorted(row["ours"])) and row["ratio"] == pytest.approx(row["ours"][1] / row["bests"][1])
    assert not row["limited"]
    assert "| odd digits CFG 4 | karras | 10 |" in targets.table([row])
    assert targets.summary([row], (10,)).count("\n") == 4


def test_a_row_whose_last_step_is_the_limit(module):
    """simple ends at sigma 0.14 of a flow model with 20 steps: whatever goes on before, the last step is what is seen."""
    case = next(case for case in targets.cases(module, 4) if case.name == "digits flow")
    assert targets.row(case, "simple", grids(case)["simple"], 20)["limited"]
