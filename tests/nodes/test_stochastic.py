"""RES Stochastic (churn) through the real server."""

import pytest
from prompts import PLAIN, calls_of, check_good, check_refused, custom, execution_error, schedule, select

from samplers.catalogue import SAMPLERS, SOLVERS

_DEFAULTS = {"solver": "exp_res", "s_churn": 5.0, "s_tmin": 0.0, "s_tmax": 100_000.0, "s_noise": 1.0}


def _node(**inputs):
    return {"class_type": "RESStochasticChurn", "inputs": {**_DEFAULTS, **inputs}}


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_node(server, solver, kind):
    """At s_churn 0 it equals the deterministic sampler bit for bit, else it makes the same number of calls; the seed decides."""
    facts = custom(server, _node(solver=solver), schedule(12), kind)
    check_good(facts, calls_of(solver, 12))
    assert facts["sha256"] == custom(server, _node(solver=solver), schedule(12), kind)["sha256"]
    plain = custom(server, _deterministic(solver), schedule(12), kind)
    assert facts["sha256"] != plain["sha256"]
    assert custom(server, _node(solver=solver, s_churn=0.0), schedule(12), kind)["sha256"] == plain["sha256"]


def _deterministic(solver):
    """The sampler by its registered name or by its node: exp_res_3mc is RES Multistep in lambda of order 3 with corrector."""
    if solver in SAMPLERS:
        return select(solver)
    form = solver.removeprefix("exp_res_")
    return {"class_type": "RESMultistep", "inputs": {**PLAIN, "order": form[0], "corrector": form.endswith("c")}}


@pytest.mark.parametrize("name", ["s_churn", "s_tmin", "s_tmax", "s_noise"])
def test_inputs_out_of_range(server, name):
    check_refused(lambda: custom(server, _node(**{name: -1.0}), schedule()), name)


def test_limits_in_the_wrong_order(server):
    message = execution_error(server, lambda: custom(server, _node(s_tmin=2.0, s_tmax=1.0), schedule()))
    assert "s_tmax must be s_tmin = 2 or more, got 1.0" in message
