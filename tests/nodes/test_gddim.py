"""The gDDIM node through the real server."""

import pytest
from prompts import check_good, check_refused, custom, execution_error, graph_of, ksampler, report, schedule


def _gddim(**inputs):
    return {"class_type": "RESGDDIM", "inputs": inputs}


def _deterministic(degree=2, corrector="none"):
    return _gddim(mode="deterministic", **{"mode.degree": degree, "mode.corrector": corrector})


def _stochastic(strength=1.0):
    return _gddim(mode="stochastic", **{"mode.lambda": strength, "mode.s_noise": 1.0})


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
@pytest.mark.parametrize("corrector", ["none", "PEC", "PECE"])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_deterministic(server, degree, corrector, kind):
    """PECE makes two calls per step, except in the last step and, on flow models, in the first, which has no eps to correct."""
    calls = 10 if corrector != "PECE" else 19 - (kind == "flow")
    check_good(custom(server, _deterministic(degree, corrector), schedule(10), kind), calls)


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_stochastic(server, strength, kind):
    check_good(custom(server, _stochastic(strength), schedule(10), kind), 10)


def test_defaults_are_the_samplers_by_name(server):
    """The same seed gives the same bytes."""
    by_name = [ksampler(server, name, "eps", steps=8)["sha256"] for name in ("exp_gddim", "exp_gddim_sde")]
    by_node = [custom(server, node, schedule(8))["sha256"] for node in (_deterministic(), _stochastic())]
    assert by_name == by_node and len(set(by_name)) == 2


def test_values_out_of_range(server):
    check_refused(lambda: custom(server, _deterministic(degree=4), schedule()), "mode.degree")
    check_refused(lambda: custom(server, _deterministic(corrector="P"), schedule()), "mode.corrector")
    check_refused(lambda: custom(server, _stochastic(-0.1), schedule()), "mode.lambda")


@pytest.mark.parametrize(
    "inputs, message",
    [
        (
            {"mode": "stochastic", "mode.lambda": ["number", 1], "mode.s_noise": 1.0},
            "mode.lambda must be a number from 0 to 3, got -1.0",
        ),
        (
            {"mode": "stochastic", "mode.lambda": 1.0, "mode.s_noise": ["number", 1]},
            "mode.s_noise must be a number from 0 to 10, got -1.0",
        ),
        (
            {"mode": "deterministic", "mode.degree": ["number", 0], "mode.corrector": "none"},
            "mode.degree must be a whole number from 0 to 3, got -1",
        ),
    ],
    ids=["lambda", "s_noise", "degree"],
)
def test_values_out_of_range_through_a_link(server, inputs, message):
    """A linked value is not checked by the host."""
    run, graph = graph_of()
    graph["number"] = {"class_type": "TestNumber", "inputs": {"value": -1.0}}
    graph["sampler"], graph["sigmas"] = _gddim(**inputs), schedule()
    wires = {name: [name, 0] for name in ("model", "positive", "negative", "sampler", "sigmas")}
    wires |= {"latent_image": ["latent", 0], "add_noise": True, "noise_seed": 1, "cfg": 1.0}
    graph["sample"] = {"class_type": "SamplerCustom", "inputs": wires}
    assert message in execution_error(server, lambda: report(server, run, graph, ["sample", 0]))
