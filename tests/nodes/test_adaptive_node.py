"""exp_res_adaptive and RES Adaptive in the real host."""

import logging

import pytest
import torch
from prompts import cfg_guider, graph_of, schedule

from dev.server import PromptError
from samplers.adaptive import ATOL, C2, C3, MAX_CALLS, RTOL

KINDS = ["eps", "v", "edm", "flow"]
_DEFAULTS = {"rtol": RTOL, "atol": ATOL, "max_calls": MAX_CALLS}
_STAGES = {"stages": "3", "c2": C2, "c3": C3}


@pytest.fixture
def parts(pack, guided_digits):
    """parts(kind) -> noise, guider, SIGMAS and latent, as the host's nodes make them."""
    from comfy_extras.nodes_custom_sampler import RandomNoise

    def make(kind, batch=4):
        guider = guided_digits(kind)
        sigmas = pack["RESLogSNRSchedule"].execute(guider.model_patcher, 12, 1.0, {"spacing": "uniform"}).result[0]
        latent = pack["RESToyLatent"].execute("digits", batch).result[0]
        return RandomNoise.execute(5).result[0], guider, sigmas, latent

    return make


def _run(pack, noise, guider, sigmas, latent):
    """(SAMPLER, SIGMAS, LATENT, calls)."""
    return pack["RESAdaptive"].execute(**_DEFAULTS, noise=noise, guider=guider, sigmas=sigmas, latent_image=latent).result


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_gives_the_calls_made_and_a_grid_that_repeats_its_latent(pack, parts, kind):
    import comfy.patcher_extension
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    noise, guider, sigmas, latent = parts(kind)
    made = []
    wrapper = lambda executor, *args, **kwargs: made.append(1) or executor(*args, **kwargs)  # noqa: E731
    guider.model_patcher.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "count", wrapper)
    _, grid, result, calls = _run(pack, noise, guider, sigmas, latent)
    assert calls == len(made) <= MAX_CALLS
    assert grid[[0, -2, -1]].tolist() == sigmas[[0, -2, -1]].tolist() and grid.dtype == sigmas.dtype
    fixed = pack["RESSingleStep"].execute(_STAGES).result[0]
    for sampler, expected in (
        (comfy.samplers.sampler_object("exp_res_adaptive"), calls),
        (fixed, 3 * (len(grid) - 2) + 1),
    ):
        made.clear()
        again = SamplerCustomAdvanced.execute(noise, guider, sampler, grid, latent).result[0]
        assert torch.equal(again["samples"], result["samples"]) and len(made) == expected


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_a_smaller_tolerance_is_nearer_to_the_solution(pack, parts, kind):
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    noise, guider, sigmas, latent = parts(kind, batch=16)
    fine = pack["RESLogSNRSchedule"].execute(guider.model_patcher, 250, 1.0, {"spacing": "uniform"}).result[0]
    fine[-2] = sigmas[-2]

    def sample(sampler, sigmas):
        return SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).result[0]["samples"].flatten(1)

    truth = sample(comfy.samplers.sampler_object("exp_res_3s"), fine)
    errors = []
    for rtol in (0.1, 0.01, 0.001):
        sampler = pack["RESAdaptive"].execute(rtol, ATOL, 1000).result[0]
        sampler.extra_options["atol"] = 0.1 * rtol
        errors.append(float(((sample(sampler, sigmas) - truth).norm(dim=1) / truth.norm(dim=1)).median()))
    assert errors[0] < 0.01 and errors[1] < errors[0] / 3 and errors[2] < errors[1] / 2


def test_a_run_on_an_empty_grid(pack, parts):
    """Schedulers give an empty grid at denoise 0, on which the host calls no sampler."""
    noise, guider, sigmas, latent = parts("eps")
    _, grid, result, calls = _run(pack, noise, guider, sigmas[:0], latent)
    assert torch.equal(result["samples"], latent["samples"]) and len(grid) == 0 and calls == 0


def test_calls_are_in_the_log(pack, parts, caplog):
    with caplog.at_level(logging.INFO):
        _, grid, _, calls = _run(pack, *parts("eps"))
    assert f"exp_res_adaptive: {calls} model calls, {len(grid) - 1} steps" in caplog.text


@pytest.mark.parametrize("options, match", [({"rtol": 0.0}, "rtol must be"), ({"atol": -1.0}, "atol must be")])
def test_tolerances_out_of_range(pack, options, match):
    with pytest.raises(ValueError, match=match):
        pack["RESAdaptive"].execute(**{**_DEFAULTS, **options})


def test_a_run_needs_all_of_its_inputs(pack, parts):
    noise, guider, *_ = parts("eps")
    with pytest.raises(ValueError, match="^sigmas and latent_image must be connected too"):
        pack["RESAdaptive"].execute(**_DEFAULTS, noise=noise, guider=guider)


# --- through the server ---


def _graph(kind, latent=None):
    """Everything up to sampling; node ids are names."""
    run, graph = graph_of(kind, latent)
    graph["guider"] = cfg_guider(3.0)
    graph["noise"] = {"class_type": "RandomNoise", "inputs": {"noise_seed": 5}}
    graph["sigmas"] = schedule(8)
    return run, graph


def _sampled(sampler, sigmas):
    wires = {"noise": ["noise", 0], "guider": ["guider", 0], "sampler": sampler, "sigmas": sigmas, "latent_image": ["latent", 0]}
    return {"class_type": "SamplerCustomAdvanced", "inputs": wires}


def _run_node(**options):
    wires = {"noise": ["noise", 0], "guider": ["guider", 0], "sigmas": ["sigmas", 0], "latent_image": ["latent", 0]}
    return {"class_type": "RESAdaptive", "inputs": {**wires, **_DEFAULTS, **options}}


def _report(source, run):
    return {"class_type": "TestReport", "inputs": {"latent": source, "run": run}}


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_run_sampler_and_name_agree(server, kind):
    """The node's LATENT is the latent of its SAMPLER, of exp_res_adaptive, and of RES-3S on its SIGMAS."""
    run, graph = _graph(kind)
    graph["grid"] = _run_node()
    graph["calls"] = {"class_type": "PreviewAny", "inputs": {"source": ["grid", 3]}}
    graph["report grid"] = _report(["grid", 2], run)
    outputs = server.run(graph)
    facts = outputs["report grid"]["facts"][0]
    assert outputs["calls"]["text"] == [str(facts["calls"])] and facts["finite"] and 0.3 < facts["std"] < 3.0
    run, graph = _graph(kind)
    graph["grid"] = _run_node()
    graph["by node"] = {"class_type": "RESAdaptive", "inputs": _DEFAULTS}
    graph["by name"] = {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "exp_res_adaptive"}}
    stages = {"stages": "3", "stages.c2": C2, "stages.c3": C3}
    graph["3s"] = {"class_type": "RESSingleStep", "inputs": stages}
    for name, sigmas in (("by node", ["sigmas", 0]), ("by name", ["sigmas", 0]), ("3s", ["grid", 1])):
        graph[f"sample {name}"] = _sampled([name, 0], sigmas)
        graph[f"report {name}"] = _report([f"sample {name}", 0], run)
    outputs = server.run(graph)
    for name in ("by node", "by name", "3s"):
        assert outputs[f"report {name}"]["facts"][0]["sha256"] == facts["sha256"], name


def test_outputs_without_a_run(pack):
    """The nodes that use them get an error that says what to connect."""
    sampler, *others = pack["RESAdaptive"].execute(**_DEFAULTS).result
    assert sampler.extra_options == _DEFAULTS and len(others) == 3
    assert all("noise, guider, sigmas and latent_image of RES Adaptive" in blocker.message for blocker in others)


def test_nothing_runs_on_sigmas_without_a_run(server):
    run, graph = _graph("eps")
    graph["adaptive"] = {"class_type": "RESAdaptive", "inputs": _DEFAULTS}
    graph["sample"] = _sampled(["adaptive", 0], ["adaptive", 1])
    graph["report"] = _report(["sample", 0], run)
    assert "report" not in server.run(graph)


@pytest.mark.parametrize("kind", KINDS)
def test_ksampler(server, kind):
    """The sampler runs by name with CFG, half denoising and a mask."""
    latent = {"class_type": "TestRealDigits", "inputs": {"count": 4, "mask": True}}
    reports = []
    for _ in range(2):
        run, graph = _graph(kind, latent)
        wires = {name: [name, 0] for name in ("model", "positive", "negative")} | {"latent_image": ["latent", 0]}
        inputs = {"sampler_name": "exp_res_adaptive", "scheduler": "normal", "seed": 3, "steps": 8, "cfg": 3.0, "denoise": 0.5}
        graph["sample"] = {"class_type": "KSampler", "inputs": {**wires, **inputs}}
        graph["report"] = _report(["sample", 0], run)
        graph["report original"] = _report(["latent", 0], run)
        outputs = server.run(graph)
        reports.append(outputs["report"]["facts"][0])
        assert reports[-1]["top"] == pytest.approx(outputs["report original"]["facts"][0]["top"], abs=1e-5)
    assert reports[0] == reports[1] and reports[0]["finite"] and 4 <= reports[0]["calls"] <= MAX_CALLS


@pytest.mark.parametrize("name, value", [("rtol", 0.0), ("rtol", 2.0), ("atol", -0.1), ("max_calls", 3)])
def test_widgets_out_of_range(server, name, value):
    run, graph = _graph("eps")
    graph["grid"] = _run_node(**{name: value})
    graph["report"] = _report(["grid", 2], run)
    with pytest.raises(PromptError) as caught:
        server.run(graph)
    errors = [e for node in caught.value.details["node_errors"].values() for e in node["errors"]]
    assert any(e["extra_info"]["input_name"] == name for e in errors), errors


@pytest.mark.parametrize(
    "name, output, value, message",
    [
        ("rtol", 1, 0.0, "rtol must be a number from 1e-05 to 1, got 0.0"),
        ("atol", 1, -1.0, "atol must be a number from 1e-05 to 1, got -1.0"),
        ("max_calls", 0, 3, "max_calls must be a whole number from 4 to 10000, got 3"),
    ],
)
def test_bad_values_through_a_link(server, name, output, value, message):
    """A linked value is not checked by the host."""
    run, graph = _graph("eps")
    graph["number"] = {"class_type": "TestNumber", "inputs": {"value": value}}
    graph["grid"] = _run_node(**{name: ["number", output]})
    graph["report"] = _report(["grid", 2], run)
    with pytest.raises(PromptError) as caught:
        server.run(graph)
    error = caught.value.details["execution_error"]
    assert error["exception_type"] == "ValueError" and message in error["exception_message"]


@pytest.mark.parametrize("cache", ["EasyCache", "LazyCache"])
def test_a_cache_on_the_model_is_refused_before_the_first_call(pack, parts, cache):
    """A cache hides the error of a step; samplers of fixed steps run with it."""
    import comfy.patcher_extension
    import comfy.samplers
    import comfy_extras.nodes_easycache
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    noise, guider, sigmas, latent = parts("flow")
    node = getattr(comfy_extras.nodes_easycache, f"{cache}Node")
    guider.model_patcher = node.execute(guider.model_patcher, 0.2, 0.15, 0.95, False).result[0]
    guider.model_options = guider.model_patcher.model_options
    made = []
    wrapper = lambda executor, *args, **kwargs: made.append(1) or executor(*args, **kwargs)  # noqa: E731
    guider.model_patcher.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "count", wrapper)
    refusal = f"model has {cache}, .* Remove {cache}, or take a sampler of fixed steps"
    for sampler in (comfy.samplers.sampler_object("exp_res_adaptive"), pack["RESAdaptive"].execute(**_DEFAULTS).result[0]):
        with pytest.raises(ValueError, match=refusal):
            SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent)
    with pytest.raises(ValueError, match=refusal):
        _run(pack, noise, guider, sigmas, latent)
    assert not made
    fixed = SamplerCustomAdvanced.execute(noise, guider, comfy.samplers.sampler_object("exp_res"), sigmas, latent)
    assert fixed.result[0]["samples"].isfinite().all() and made
