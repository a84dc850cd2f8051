"""Every sampler, scheduler and node through the real server over HTTP."""

import json

import pytest
from exact import REGISTERED
from prompts import (
    ALPHA,
    CALLS_PER_STEP,
    PLAIN,
    calls_of,
    cfg_guider,
    check_good,
    check_refused,
    custom,
    execution_error,
    failure,
    graph_of,
    ksampler,
    report,
    schedule,
    select,
)

from dev.setup import ROOT
from dev.workflow import to_prompt
from samplers.catalogue import SAMPLERS
from samplers.spacings import SPACINGS


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_ksampler_with_cfg(server, name, kind):
    first = ksampler(server, name, kind)
    check_good(first, calls_of(name, 5))
    assert ksampler(server, name, kind)["sha256"] == first["sha256"], "same seed, same bytes"
    assert ksampler(server, name, kind, seed=4)["sha256"] != first["sha256"]


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_mask_keeps_what_is_outside(server, name, kind):
    real = {"class_type": "TestRealDigits", "inputs": {"count": 4, "mask": True}}
    run, graph = graph_of(kind, {**real, "inputs": {"count": 4, "mask": False}})
    original = report(server, run, graph, ["latent", 0])
    facts = ksampler(server, name, kind, latent=real)
    check_good(facts, calls_of(name, 5))
    assert facts["top"] == pytest.approx(original["top"], abs=1e-5)
    assert facts["sha256"] != original["sha256"]


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_denoise_half(server, name, kind):
    real = {"class_type": "TestRealDigits", "inputs": {"count": 4, "mask": False}}
    check_good(ksampler(server, name, kind, latent=real, denoise=0.5), calls_of(name, 5))


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_ksampler_advanced_in_two_parts(server, name, kind):
    """start, end and leftover noise work; the result of a single-step method does not depend on the cut."""
    whole = {"add_noise": "enable", "start_at_step": 0, "end_at_step": 10000, "return_with_leftover_noise": "disable"}
    expected = ksampler(server, name, kind, 6, advanced=whole)
    check_good(expected, calls_of(name, 6))
    run, graph = graph_of(kind)
    common = {"model": ["model", 0], "noise_seed": 3, "steps": 6, "cfg": 5.0, "sampler_name": name, "scheduler": "logsnr_uniform"}
    common |= {"positive": ["positive", 0], "negative": ["negative", 0]}
    first = {**whole, "end_at_step": 3, "return_with_leftover_noise": "enable", "latent_image": ["latent", 0]}
    second = {**whole, "add_noise": "disable", "start_at_step": 3, "latent_image": ["first", 0]}
    graph["first"] = {"class_type": "KSamplerAdvanced", "inputs": {**common, **first}}
    graph["second"] = {"class_type": "KSamplerAdvanced", "inputs": {**common, **second}}
    facts = report(server, run, graph, ["second", 0])
    check_good(facts, calls_of(name, 6))
    if CALLS_PER_STEP[name] > 1 and name in REGISTERED:
        assert facts["top"] == pytest.approx(expected["top"], abs=2e-4)


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


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_single_step_node(server, kind):
    two = {"stages": "2", "stages.c2": 0.5}
    three = {"stages": "3", "stages.c2": 1 / 3, "stages.c3": 2 / 3}
    for calls, inputs in ((9, two), (13, three)):
        check_good(custom(server, {"class_type": "RESSingleStep", "inputs": inputs}, schedule(), kind), calls)


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_multistep_node(server, order, kind):
    inputs = {**PLAIN, "order": str(order)}
    check_good(custom(server, {"class_type": "RESMultistep", "inputs": inputs}, schedule(8), kind), 8)


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("corrector", [False, True])
def test_multistep_node_in_alpha(server, corrector, kind):
    inputs = {**PLAIN, **ALPHA, "order": "4", "interpolation.eps_share": 0.5, "corrector": corrector}
    check_good(custom(server, {"class_type": "RESMultistep", "inputs": inputs}, schedule(12), kind), 12)


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("method", ["exp_res", "2m", "2s", "3s"])
def test_sde_node(server, method, kind):
    """The default equals the registered sampler, Brownian noise does not, and eta 0 equals the deterministic sampler in logSNR
    bit for bit.
    """

    def run(sampler):
        return custom(server, sampler, schedule(), kind)

    node = {"class_type": "RESSDE", "inputs": {"method": method, "eta": 1.0, "s_noise": 1.0}}
    name = "exp_res_sde" if method == "exp_res" else f"exp_res_{method}_sde"
    facts = run(node)
    check_good(facts, calls_of(name, 5))
    if name in SAMPLERS:
        assert facts["sha256"] == run(select(name))["sha256"]
    brownian = run({**node, "inputs": {**node["inputs"], "noise": "brownian"}})
    check_good(brownian, facts["calls"])
    assert brownian["sha256"] != facts["sha256"]
    quiet = run({**node, "inputs": {"method": method, "eta": 0.0, "s_noise": 1.0}})
    stages = {"2s": {"stages": "2", "stages.c2": 0.5}, "3s": {"stages": "3", "stages.c2": 1 / 3, "stages.c3": 2 / 3}}
    single = {"class_type": "RESSingleStep", "inputs": stages.get(method, {})}
    multi = {
        "class_type": "RESMultistep",
        "inputs": {**PLAIN, **({**ALPHA, "interpolation.eps_share": 0.0} if method == "exp_res" else {})},
    }
    if method not in stages or kind == "eps":  # on flow models RES Single-step integrates in log sigma
        assert quiet["sha256"] == run(single if method in stages else multi)["sha256"]


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in REGISTERED])
def test_an_item_of_a_batch_alone(server, name, kind):
    """LatentFromBatch keeps an item's initial noise, and therefore the noise of the sampler."""
    run, graph = graph_of(kind)
    common = {"model": ["model", 0], "seed": 3, "steps": 6, "cfg": 2.0, "sampler_name": name, "scheduler": "logsnr_uniform"}
    common |= {"positive": ["positive", 0], "negative": ["negative", 0], "denoise": 1.0}
    item = {"batch_index": 2, "length": 1}
    graph["whole"] = {"class_type": "KSampler", "inputs": {**common, "latent_image": ["latent", 0]}}
    graph["of_whole"] = {"class_type": "LatentFromBatch", "inputs": {"samples": ["whole", 0], **item}}
    graph["empty"] = {"class_type": "LatentFromBatch", "inputs": {"samples": ["latent", 0], **item}}
    graph["alone"] = {"class_type": "KSampler", "inputs": {**common, "latent_image": ["empty", 0]}}
    for source in ("of_whole", "alone"):
        graph[f"report {source}"] = {"class_type": "TestReport", "inputs": {"latent": [source, 0], "run": run}}
    outputs = server.run(graph)
    whole, alone = (outputs[f"report {source}"]["facts"][0] for source in ("of_whole", "alone"))
    # matrix products differ in the last digits with the batch
    assert alone["top"] == pytest.approx(whole["top"], abs=1e-3)


def test_node_defaults_are_the_registered_samplers(server):
    two = {"stages": "2", "stages.c2": 0.5}
    three = {"stages": "3", "stages.c2": 1 / 3, "stages.c3": 2 / 3}
    gddim = {"mode": "deterministic", "mode.degree": 2, "mode.corrector": "none"}
    pairs = {
        "exp_res_2s": {"class_type": "RESSingleStep", "inputs": two},
        "exp_res_3s": {"class_type": "RESSingleStep", "inputs": three},
        "exp_res_2m": {"class_type": "RESMultistep", "inputs": PLAIN},
        "exp_gddim": {"class_type": "RESGDDIM", "inputs": gddim},
    }
    assert set(pairs) == set(REGISTERED) - {"exp_res"}  # which chooses its rule in the run and has no options
    for name, node in pairs.items():
        for kind in ("eps", "flow"):
            by_node, by_name = (custom(server, s, schedule(), kind)["sha256"] for s in (node, select(name)))
            assert by_node == by_name


def test_sampler_custom_advanced_with_cfg_guider(server):
    run, graph = graph_of("flow")
    graph["sampler"], graph["sigmas"] = select("exp_res_3s"), schedule()
    graph["guider"] = cfg_guider(3.0)
    graph["noise"] = {"class_type": "RandomNoise", "inputs": {"noise_seed": 5}}
    wires = {"noise": ["noise", 0], "guider": ["guider", 0], "sampler": ["sampler", 0], "sigmas": ["sigmas", 0]}
    graph["sample"] = {"class_type": "SamplerCustomAdvanced", "inputs": {**wires, "latent_image": ["latent", 0]}}
    check_good(report(server, run, graph, ["sample", 0]), 13)


def test_decode_saves_a_picture(server):
    run, graph = graph_of()
    graph["image"] = {"class_type": "RESToyDecode", "inputs": {"samples": ["latent", 0], "columns": 3, "size": 40}}
    graph["save"] = {"class_type": "SaveImage", "inputs": {"images": ["image", 0], "filename_prefix": "digits"}}
    [image] = server.run(graph)["save"]["images"]
    from PIL import Image

    assert Image.open(server.base / "output" / image["filename"]).size == ((9 * 3 + 1) * 5, (9 * 2 + 1) * 5)


@pytest.mark.parametrize("example", sorted((ROOT / "example_workflows").glob("*_diffusion.json")), ids=lambda p: p.stem)
def test_examples_run_as_they_are(server, example):
    outputs = server.run(to_prompt(json.loads(example.read_text())))
    assert any("images" in output for output in outputs.values())


# --- errors: by name, through the node, before the first model call ---

BAD_SIGMAS = {
    "nan 1 0": "sigmas[0] is nan",
    "14 inf 0": "sigmas[1] is inf",
    "14 1 -1": "sigmas[2] is -1",
    "1 14 0": "sigmas[1] is 14, above sigmas[0] = 1",
    "0 0": "sigmas[0] is 0, but more sigmas follow",
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("values", BAD_SIGMAS)
def test_bad_sigmas(server, name, values):
    sigmas = {"class_type": "TestSigmas", "inputs": {"values": values}}
    assert BAD_SIGMAS[values] in execution_error(server, lambda: custom(server, select(name), sigmas))


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("values, calls", [("14 14 3 0.5 0", None), ("5 0", 1), ("14 3 0.5", None)])
def test_odd_but_legal_sigmas(server, name, values, calls):
    sigmas = {"class_type": "TestSigmas", "inputs": {"values": values}}
    facts = custom(server, select(name), sigmas)
    per_step = CALLS_PER_STEP[name]
    assert facts["finite"]
    assert facts["calls"] == {"14 14 3 0.5 0": 2 * per_step + 1, "5 0": 1, "14 3 0.5": 2 * per_step}[values]


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("values", ["", "5"])
def test_sigmas_without_steps_return_the_latent_as_the_host_does(server, name, values):
    sigmas = {"class_type": "TestSigmas", "inputs": {"values": values}}
    ours, hosts = (custom(server, select(n), sigmas) for n in (name, "euler"))
    assert ours["sha256"] == hosts["sha256"] and ours["calls"] == 0


@pytest.mark.parametrize("c2, c3, message", [(0.5, 0.5, "c3 must differ from c2"), (2 / 3, 0.5, "c2=2/3 has no third-order")])
def test_singular_nodes(server, c2, c3, message):
    inputs = {"stages": "3", "stages.c2": c2, "stages.c3": c3}
    sampler = {"class_type": "RESSingleStep", "inputs": inputs}
    assert message in execution_error(server, lambda: custom(server, sampler, schedule()))


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_order_auto_is_exp_res(server, kind):
    """The other inputs, which are not used then, have any values."""
    for inputs in (PLAIN, {**PLAIN, **ALPHA}):
        facts = custom(server, {"class_type": "RESMultistep", "inputs": {**inputs, "order": "auto"}}, schedule(8), kind)
        assert facts["sha256"] == custom(server, select("exp_res"), schedule(8), kind)["sha256"] and facts["calls"] == 8


@pytest.mark.parametrize("name, value", [("stages.c2", 0.0), ("stages.c2", 1.5), ("stages.c3", -1.0)])
def test_nodes_out_of_range(server, name, value):
    inputs = {"stages": "3", "stages.c2": 1 / 3, "stages.c3": 2 / 3, name: value}
    check_refused(lambda: custom(server, {"class_type": "RESSingleStep", "inputs": inputs}, schedule()), name)


@pytest.mark.parametrize("name, value", [("steps", 0), ("denoise", 1.5), ("denoise", -0.5), ("spacing.power", 0.0)])
def test_schedule_out_of_range(server, name, value):
    grid = schedule(spacing="power", **{"spacing.power": 1.0, name: value})
    check_refused(lambda: custom(server, select("exp_res_2m"), grid), name)


@pytest.mark.parametrize(
    "name, output, value, message",
    [
        ("steps", 0, 0, "steps must be a whole number from 1 to 10000, got 0"),
        ("denoise", 1, 1.5, "denoise must be a number from 0 to 1, got 1.5"),
        ("denoise", 1, -0.5, "denoise must be a number from 0 to 1, got -0.5"),
    ],
)
def test_schedule_out_of_range_through_a_link(server, name, output, value, message):
    """A linked value is not checked by the host."""
    run, graph = graph_of()
    graph["number"] = {"class_type": "TestNumber", "inputs": {"value": value}}
    graph["sigmas"] = schedule(**{name: ["number", output]})
    graph["sampler"] = select("exp_res_2m")
    wires = {"sampler": ["sampler", 0], "sigmas": ["sigmas", 0], "positive": ["positive", 0], "negative": ["negative", 0]}
    wires |= {"model": ["model", 0], "latent_image": ["latent", 0], "add_noise": True, "noise_seed": 1, "cfg": 1.0}
    graph["sample"] = {"class_type": "SamplerCustom", "inputs": wires}
    assert message in execution_error(server, lambda: report(server, run, graph, ["sample", 0]))


@pytest.mark.parametrize("name", SAMPLERS)
def test_unknown_model_sampling(server, name):
    sigmas = {"class_type": "TestSigmas", "inputs": {"values": "14 1 0"}}
    message = execution_error(server, lambda: custom(server, select(name), sigmas, patch="TestUnknownSampling"))
    assert "model_sampling is of an unknown kind (Strange" in message


def test_model_refuses_other_latents(server):
    other = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
    run, graph = graph_of(latent=other)
    details = failure(lambda: ksampler(server, "exp_res_2m", "eps", latent=other))["execution_error"]
    assert "Use Toy Latent with the data of Toy Model" in details["exception_message"]


def test_decode_refuses_other_latents(server):
    run, graph = graph_of()
    graph["other"] = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}
    graph["image"] = {"class_type": "RESToyDecode", "inputs": {"samples": ["other", 0], "columns": 3, "size": 40}}
    graph["save"] = {"class_type": "PreviewImage", "inputs": {"images": ["image", 0]}}
    assert "samples must have the shape (batch, 3, 32, 32) for emoji or (batch, 1, 8, 8) for digits" in execution_error(
        server, lambda: server.run(graph)
    )
