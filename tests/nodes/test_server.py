"""Every sampler, scheduler and node through the real server over HTTP."""

import json

import pytest
from exact import REGISTERED
from prompts import ALPHA, PLAIN, calls_of, check_good, custom, execution_error, failure, graph_of, ksampler, schedule, select

from dev.setup import ROOT
from dev.workflow import to_prompt
from samplers.catalogue import SAMPLERS, SOLVERS
from samplers.spacings import SPACINGS


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_ksampler_with_cfg(server, name, kind):
    first = ksampler(server, name, kind)
    check_good(first, calls_of(name, 5))
    assert ksampler(server, name, kind)["sha256"] == first["sha256"], "same seed, same bytes"
    assert ksampler(server, name, kind, seed=4)["sha256"] != first["sha256"]


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("scheduler", ["logsnr_uniform", "logsnr_arctan"])
def test_schedulers_by_name(server, scheduler, kind):
    check_good(ksampler(server, "euler", kind, 8, scheduler=scheduler), 8)
    inputs = {"model": ["model", 0], "scheduler": scheduler, "steps": 5, "denoise": 0.8}
    basic = {"class_type": "BasicScheduler", "inputs": inputs}
    check_good(custom(server, select("exp_res_2m"), basic, kind), 5)


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_schedule_node(server, spacing, kind):
    parameters = {f"spacing.{name}": parameter.default for name, parameter in SPACINGS[spacing].parameters.items()}
    check_good(custom(server, select("exp_res_2s"), schedule(5, spacing, **parameters), kind), 9)
    shaped = {"composition": 0.6, "range": "logSNR", "range.start_logsnr": -5.0, "range.end_logsnr": 7.0}
    check_good(custom(server, select("exp_res_2s"), schedule(8, spacing, **parameters, **shaped), kind), 15)


TWO = {"stages": "2", "stages.c2": 0.5}
THREE = {"stages": "3", "stages.c2": 1 / 3, "stages.c3": 2 / 3}
DETERMINISTIC = [(0, "none"), (3, "none"), (2, "PEC"), (2, "PECE")]
# (node, its inputs, calls in 10 steps)
NODES = [("RESSingleStep", TWO, 19), ("RESSingleStep", THREE, 28)]
NODES += [("RESMultistep", {**PLAIN, "order": order}, 10) for order in "123"]
NODES += [("RESMultistep", {**PLAIN, **ALPHA, "order": "4", "corrector": corrector}, 10) for corrector in (False, True)]
NODES += [
    ("RESGDDIM", {"mode": "deterministic", "mode.degree": degree, "mode.corrector": corrector}, 10 + 9 * (corrector == "PECE"))
    for degree, corrector in DETERMINISTIC
]
NODES += [("RESGDDIM", {"mode": "stochastic", "mode.lambda": level, "mode.s_noise": 1.0}, 10) for level in (0.0, 0.5, 1.0)]


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("node, inputs, calls", NODES, ids=str)
def test_samplers_of_nodes(server, node, inputs, calls, kind):
    """PECE makes two calls per step, except in the last step and, on flow models, in the first, which has no eps to correct."""
    calls -= kind == "flow" and inputs.get("mode.corrector") == "PECE"
    check_good(custom(server, {"class_type": node, "inputs": inputs}, schedule(10), kind), calls)


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_churn_node(server, solver, kind):
    """At s_churn 0 it equals the deterministic sampler bit for bit, else it makes the same number of calls; the seed decides.

    exp_res_3mc is RES Multistep in lambda of order 3 with corrector.
    """
    form = solver.removeprefix("exp_res_")
    plain = {"class_type": "RESMultistep", "inputs": {**PLAIN, "order": form[0], "corrector": form.endswith("c")}}

    def run(s_churn):
        inputs = {"solver": solver, "s_churn": s_churn, "s_tmin": 0.0, "s_tmax": 100_000.0, "s_noise": 1.0}
        return custom(server, {"class_type": "RESStochasticChurn", "inputs": inputs}, schedule(12), kind)

    facts, expected = run(5.0), custom(server, select(solver) if solver in SAMPLERS else plain, schedule(12), kind)
    check_good(facts, calls_of(solver, 12))
    assert facts["sha256"] == run(5.0)["sha256"] != expected["sha256"] == run(0.0)["sha256"]


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("method", ["exp_res", "2m", "2s", "3s"])
def test_sde_node(server, method, kind):
    """The default equals the registered sampler, Brownian noise does not, and eta 0 is the deterministic sampler in logSNR."""

    def run(sampler):
        return custom(server, sampler, schedule(), kind)

    def node(**inputs):
        return run({"class_type": "RESSDE", "inputs": {"method": method, "eta": 1.0, "s_noise": 1.0, **inputs}})

    name = "exp_res_sde" if method == "exp_res" else f"exp_res_{method}_sde"
    facts, brownian = node(), node(noise="brownian")
    for result in (facts, brownian):
        check_good(result, calls_of(name, 5))
    assert brownian["sha256"] != facts["sha256"]
    if name in SAMPLERS:
        assert facts["sha256"] == run(select(name))["sha256"]
    deterministic, inputs = {
        "exp_res": ("RESMultistep", {**PLAIN, **ALPHA, "interpolation.eps_share": 0.0}),
        "2m": ("RESMultistep", PLAIN),
        "2s": ("RESSingleStep", TWO),
        "3s": ("RESSingleStep", THREE),
    }[method]
    if deterministic == "RESMultistep" or kind == "eps":  # on flow models RES Single-step integrates in log sigma
        assert node(eta=0.0)["sha256"] == run({"class_type": deterministic, "inputs": inputs})["sha256"]


DEFAULTS = {
    "exp_res_2s": [("RESSingleStep", TWO)],
    "exp_res_3s": [("RESSingleStep", THREE)],
    "exp_res_2m": [("RESMultistep", PLAIN)],
    "exp_res": [("RESMultistep", {**inputs, "order": "auto"}) for inputs in (PLAIN, {**PLAIN, **ALPHA})],
    "exp_gddim": [("RESGDDIM", {"mode": "deterministic", "mode.degree": 2, "mode.corrector": "none"})],
    "exp_gddim_sde": [("RESGDDIM", {"mode": "stochastic", "mode.lambda": 1.0, "mode.s_noise": 1.0})],
}


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", [*REGISTERED, "exp_gddim_sde"])
def test_nodes_are_the_registered_samplers(server, name, kind):
    """The other inputs of RES Multistep are not used with order auto, and have any values."""
    expected = custom(server, select(name), schedule(8), kind)
    for node, inputs in DEFAULTS[name]:
        facts = custom(server, {"class_type": node, "inputs": inputs}, schedule(8), kind)
        assert facts["sha256"] == expected["sha256"] and facts["calls"] == calls_of(name, 8)


_STAND_INS = {
    ("UNETLoader", "High noise"): "high",
    ("UNETLoader", "Low noise"): "low",
    ("CLIPTextEncode", "Positive"): "positive",
    ("CLIPTextEncode", "Negative"): "negative",
    ("EmptyHunyuanLatentVideo", ""): "latent",
}


@pytest.mark.parametrize("boundary", [0.875, 0.9], ids=["text to video", "image to video"])
def test_the_wan_22_example_gives_each_model_half_of_the_steps(server, boundary):
    """As its note says. Two toy models at Wan's shift stand in for the checkpoints."""
    [example] = (ROOT / "example_workflows").glob("*_Wan22_*.json")
    saved = to_prompt(json.loads(example.read_text()))
    ids = {key: _STAND_INS.get((node["class_type"], node["_meta"]["title"]), key) for key, node in saved.items()}
    run, graph = graph_of("flow")
    graph["shifted"] = {"class_type": "ModelSamplingSD3", "inputs": {"model": ["digits", 0], "shift": 8.0}}
    for name in ("high", "low"):
        graph[name] = {"class_type": "TestCountCalls", "inputs": {"model": ["shifted", 0], "run": f"{name} {run}"}}
    for key, node in saved.items():
        if node["class_type"] in ("RESLogSNRSchedule", "RESSigmasSplit", "KSamplerSelect", "SamplerCustom"):
            wires = {name: [ids[value[0]], value[1]] for name, value in node["inputs"].items() if isinstance(value, list)}
            graph[key] = {**node, "inputs": {**node["inputs"], **wires}}
        if node["class_type"] == "RESSigmasSplit":
            graph[key]["inputs"]["at.sigma"] = boundary
        if node["class_type"] == "SamplerCustom":
            name, _ = wires["model"]
            graph[f"report {name}"] = {"class_type": "TestReport", "inputs": {"latent": [key, 0], "run": f"{name} {run}"}}
    outputs = server.run(graph)
    high, low = (outputs[f"report {name}"]["facts"][0] for name in ("high", "low"))
    assert high["calls"] == 8
    check_good(low, 8)


# --- errors: by name, through the node, before the first model call ---

BAD_SIGMAS = {
    "nan 1 0": "sigmas[0] is nan",
    "14 inf 0": "sigmas[1] is inf",
    "14 1 -1": "sigmas[2] is -1",
    "1 14 0": "sigmas[1] is 14, above sigmas[0] = 1",
    "0 0": "sigmas[0] is 0, but more sigmas follow",
}


@pytest.mark.parametrize("name", ["exp_res", "exp_res_3s_sde"])
@pytest.mark.parametrize("values", BAD_SIGMAS)
def test_bad_sigmas(server, name, values):
    sigmas = {"class_type": "TestSigmas", "inputs": {"values": values}}
    assert BAD_SIGMAS[values] in execution_error(server, lambda: custom(server, select(name), sigmas))


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("values", ["", "5"])
def test_sigmas_without_steps_return_the_latent_as_the_host_does(server, name, values):
    sigmas = {"class_type": "TestSigmas", "inputs": {"values": values}}
    ours, hosts = (custom(server, select(n), sigmas) for n in (name, "euler"))
    assert ours["sha256"] == hosts["sha256"] and ours["calls"] == 0


@pytest.mark.parametrize("name", SAMPLERS)
def test_unknown_model_sampling(server, name):
    sigmas = {"class_type": "TestSigmas", "inputs": {"values": "14 1 0"}}
    message = execution_error(server, lambda: custom(server, select(name), sigmas, patch="TestUnknownSampling"))
    assert "model_sampling is of an unknown kind (Strange" in message


def test_model_refuses_other_latents(server):
    other = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
    details = failure(lambda: ksampler(server, "exp_res_2m", "eps", latent=other))["execution_error"]
    assert "Use Toy Latent with the data of Toy Model" in details["exception_message"]
