"""The report on unseen cases: its rows, what is listed apart, and that its data are not those of development."""

import torch

from benchmarks import targets
from benchmarks.cases import grids, network_cases, standard_cases


def row(ours: float, theirs: float, last_step: float = 0.0, grid: str = "karras") -> targets.Row:
    quartiles = ({"q25": 0.5 * d, "median": d, "q75": 2.0 * d} for d in (ours, theirs))
    return targets.Row("ring", grid, 6, next(quartiles), "deis", next(quartiles), last_step)


def test_no_case_shares_its_noise_with_development(pack):
    seen = {case.name: case for case in (*standard_cases(4), *network_cases(4))}
    for case in targets.cases(4):
        assert case.name not in seen or not torch.equal(case.noise, seen[case.name].noise)


def test_rows_of_a_case(pack):
    """simple ends at sigma 0.14 of a flow model with 20 steps: its last step alone is worse than all of the others' sampling."""
    case = next(case for case in targets.cases(4, converging=100) if case.name == "digits flow")
    rows = targets.deterministic_rows([case], (20,))
    assert [found.grid for found in rows] == list(grids(case))
    for found in rows:
        assert found.ours["q25"] <= found.ours["median"] <= found.ours["q75"] and found.theirs["median"] > 0.0
    assert rows[0].last_step > 10.0 * max(found.last_step for found in rows[1:])


def test_stochastic_rows_of_a_case(pack):
    """At 48 calls every sampler follows the path, so that all are near one another."""
    rows = targets.stochastic_rows(targets.cases(8)[:1], (48,))
    assert [found.grid for found in rows] == ["eta 1", "eta 0.5"]
    assert all(found.theirs["median"] < 0.05 and 0.3 < found.ratio < 3.0 for found in rows)


def test_a_row_is_listed_apart_where_both_samplers_show_the_last_step_alone():
    assert row(1.1, 0.9, last_step=1.0).limited
    assert not row(1.1, 0.5, last_step=1.0).limited, "the host's best gets below it"
    assert not row(0.5, 1.1, last_step=1.0).limited, "ours gets below it"
    assert not row(2.0, 1.0, last_step=1.0).limited, "ours does not reach it"
    assert not row(1.0, 1.0).limited, "none is known"


def test_the_report_counts_every_row_once():
    rows = [row(1.0, 2.0), row(4.0, 1.0), row(1.1, 1.0, 1.0), row(9.0, 1.0, grid=targets.UNIFORM)]
    counted, limited, uniform = targets.section("exp_res", rows).split("### Apart")
    assert "| all | 1.41 | 1 of 2 | 1 | 4.00 |" in counted
    assert "| all | 1.10 | 0 of 1 | 0 | 1.10 |" in limited
    assert "| all | 9.00 | 0 of 1 | 1 | 9.00 |" in uniform and "all 4 rows" in uniform
