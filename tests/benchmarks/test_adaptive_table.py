"""The adaptive benchmark: everything that it compares converges to its reference, which is itself converged."""

import pytest

from benchmarks.adaptive_steps import adaptive_sampler, converged, fixed_grids, fixed_sampler, table
from benchmarks.cases import digits_case


@pytest.fixture(scope="module")
def cases(pack):
    return [digits_case("eps", 4), digits_case("flow", 4, cfg=1.0)]  # networks take minutes


def test_every_run_converges_to_the_reference(cases):
    for case in cases:
        fixed = fixed_grids(case)
        ends = fixed["logsnr_uniform"](2)[[0, -1]]
        truth = converged(case).flatten(1)
        runs = {name: case.sample(adaptive_sampler(name, 0.002), ends)[0] for name in ("exp_res_adaptive", "dpm_adaptive")}
        runs |= {name: case.sample(fixed_sampler(), grid(100))[0] for name, grid in fixed.items()}
        runs["half the steps"] = converged(case, 100)
        for name, samples in runs.items():
            error = (samples.flatten(1) - truth).norm(dim=1) / truth.norm(dim=1)
            assert float(error.median()) < (0.03 if name == "uniform sigma" else 1e-3), f"{name}, {case.name}"


def test_a_row_a_tolerance(cases):
    rows = [line.split("|")[1:-1] for line in table(cases[0], (0.2, 0.02)).splitlines()[4:]]
    assert [float(row[0]) for row in rows] == [0.2, 0.02]
    loose, tight = ([float(cell.split("(")[0]) for cell in row[1:]] for row in rows)
    for column in (0, 5):  # the calls of both adaptive samplers, then their errors
        assert loose[column] < tight[column] and loose[column + 1] > tight[column + 1]
