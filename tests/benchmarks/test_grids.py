"""The report on grids: every pair of sampler and scheduler is run, and ratios are to the host's best pair."""

import pytest

from benchmarks import grids
from benchmarks.cases import standard_cases


@pytest.fixture(scope="module")
def case(pack):
    return next(case for case in standard_cases(2) if case.name == "digits flow")


def test_ratios_are_to_the_best_of_the_hosts_pairs(case):
    ours = grids.defects([case], ("exp_res",), (*grids.OURS, *grids.THEIRS), (6,))
    theirs = grids.defects([case], ("euler", "dpmpp_2m"), grids.THEIRS, (6,))
    assert len(ours) == len(grids.OURS) + len(grids.THEIRS) and len(theirs) == 2 * len(grids.THEIRS)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in grids.table([case.name], ours, theirs).splitlines()[2:]]
    assert [row[:2] for row in rows[: len(ours)]] == [["exp_res", scheduler] for scheduler in (*grids.OURS, *grids.THEIRS)]
    best = min(theirs.values())
    for sampler, scheduler, defect, ratio in rows:
        found = {**ours, **theirs}[case.name, sampler, scheduler, 6]
        assert float(defect) == pytest.approx(found, abs=1e-4) and float(ratio) == pytest.approx(found / best, abs=0.01)
    assert rows[len(ours)][3] == "1.00"
