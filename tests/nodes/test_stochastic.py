"""RES Stochastic (churn) through the real server."""

import pytest
from test_server import _calls, _custom, _execution_error, _good, _refused, _schedule, _select

from samplers.stochastic import SOLVERS

_DEFAULTS = {"solver": "exp_res", "s_churn": 5.0, "s_tmin": 0.0, "s_tmax": 100_000.0, "s_noise": 1.0}


def _node(**inputs):
    return {"class_type": "RESStochasticChurn", "inputs": {**_DEFAULTS, **inputs}}


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_node(server, solver, kind):
    """At s_churn 0 it is the registered sampler to the bit, otherwise as many calls; the seed decides."""
    facts = _custom(server, _node(solver=solver), _schedule(12), kind)
    _good(facts, _calls(solver, 12))
    assert facts["sha256"] == _custom(server, _node(solver=solver), _schedule(12), kind)["sha256"]
    by_name = _custom(server, _select(solver), _schedule(12), kind)
    assert facts["sha256"] != by_name["sha256"]
    assert _custom(server, _node(solver=solver, s_churn=0.0), _schedule(12), kind)["sha256"] == by_name["sha256"]


@pytest.mark.parametrize("name", ["s_churn", "s_tmin", "s_tmax", "s_noise"])
def test_inputs_out_of_range(server, name):
    _refused(lambda: _custom(server, _node(**{name: -1.0}), _schedule()), name)


def test_limits_in_the_wrong_order(server):
    message = _execution_error(server, lambda: _custom(server, _node(s_tmin=2.0, s_tmax=1.0), _schedule()))
    assert "s_tmax must be s_tmin = 2 or more, got 1.0" in message
