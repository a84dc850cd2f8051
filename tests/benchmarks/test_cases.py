"""The benchmark cases: references are converged, calls are counted, and samplers are compared at equal calls."""

from functools import partial

import pytest

from benchmarks import host_samplers
from benchmarks.cases import at_most, network_cases, standard_cases


@pytest.fixture(scope="module")
def cases(pack):
    return standard_cases(batch=8, converging=200)


def test_references_are_converged(cases):
    for case in cases:
        coarse = case.converge(case.start, float(case.model_sampling.sigma_max), 100)
        assert float(case.error(coarse).median()) < 1e-4


# of each network without guidance, and with --long with it
@pytest.mark.parametrize("index", [0, 2, *(pytest.param(index, marks=pytest.mark.long) for index in (1, 3))])
def test_references_of_networks_are_converged(pack, index):
    """Two step sizes agree within float32 and ComfyUI's rounding of timesteps."""
    case = network_cases(batch=2)[index]
    case.reference = case.converge(150)
    assert float(case.error(case.converge(75)).median()) < 1.5e-3


def test_every_sampler_keeps_its_budget_and_converges(cases):
    """At 60 calls every deterministic sampler is close to the reference, so each name runs the right sampler."""
    case = cases[2]
    for name in (*host_samplers.DETERMINISTIC, "exp_res_2m", "exp_res_3m", "exp_res_2s", "exp_res_3s"):
        samples, calls = at_most(case, host_samplers.sampler(name), partial(case.grid, "karras"), 60)
        assert 57 <= calls <= 60, name
        assert float(case.error(samples).median()) < 0.05, name


@pytest.mark.parametrize("budget, calls", [(9, 9), (10, 9), (5, 5)])
def test_two_stage_methods_use_odd_budgets_exactly(cases, budget, calls):
    case = cases[2]
    assert at_most(case, host_samplers.sampler("exp_res_2s"), partial(case.grid, "karras"), budget)[1] == calls
