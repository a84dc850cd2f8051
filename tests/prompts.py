"""Prompts that the server tests run, and what they report."""

import itertools
import time

import pytest
from exact import calls_per_step

from dev.server import PromptError
from samplers.catalogue import METHODS
from training.networks import NO_CLASS

CALLS_PER_STEP = {name: calls_per_step(name) for name in METHODS}
# inputs of RES Multistep for exp_res_2m, and for exp_res
PLAIN = {"order": "2", "corrector": False, "interpolation": "lambda"}
ALPHA = {"interpolation": "alpha", "interpolation.data_scale": 6.0, "interpolation.power": 1.5, "corrector": True}
ALPHA |= {"interpolation.eps_share": 0.33}
RUNS = itertools.count()  # numbers every prompt, so that the server computes it again


def calls_of(name, steps):
    """Model calls of a registered sampler on a grid that ends at 0."""
    return CALLS_PER_STEP[name] * (steps - 1) + 1


def graph_of(kind="eps", latent=None, loader=None, **counter):
    """Model, conditionings and latent shared by all prompts; node ids are names.

    `loader`: a node that gives another MODEL of the digits; `counter`: inputs of TestCountCalls.
    """
    run = f"run {next(RUNS)}"
    inputs = {"data": "digits", "kind": kind, "width": 0.1, **({"kind.shift": 3.0} if kind == "flow" else {})}
    return run, {
        "digits": loader or {"class_type": "RESToyModel", "inputs": inputs},
        "model": {"class_type": "TestCountCalls", "inputs": {"model": ["digits", 0], "run": run, **counter}},
        "positive": {"class_type": "RESToyCondition", "inputs": {"data": "digits", "data.class": "3"}},
        "negative": {"class_type": "RESToyCondition", "inputs": {"data": "digits", "data.class": "any"}},
        "latent": latent or {"class_type": "RESToyLatent", "inputs": {"data": "digits", "batch_size": 4}},
    }


def network_report(server, network, loader, latent, **inputs):
    """The report on a KSampler with a network of training/, which `loader` loads, on an empty latent."""
    run = f"run {next(RUNS)}"
    condition = {"class_type": "TestNetworkCondition", "inputs": {"network": network, "label": 3}}
    wires = {wire: [wire, 0] for wire in ("model", "positive", "negative")} | {"latent_image": ["latent", 0]}
    common = {"seed": 3, "scheduler": "logsnr_uniform", "denoise": 1.0}
    graph = {
        "loader": loader,
        "model": {"class_type": "TestCountCalls", "inputs": {"model": ["loader", 0], "run": run}},
        "positive": condition,
        "negative": {**condition, "inputs": {"network": network, "label": NO_CLASS}},
        "latent": latent,
        "sample": {"class_type": "KSampler", "inputs": {**common, **wires, **inputs}},
    }
    return report(server, run, graph, ["sample", 0])


def report(server, run, graph, source):
    """The result of TestReport for the latent at `source`."""
    graph["report"] = {"class_type": "TestReport", "inputs": {"latent": source, "run": run}}
    return server.run(graph)["report"]["facts"][0]


def ksampler(server, name, kind, steps=5, latent=None, **inputs):
    """The report on a KSampler."""
    run, graph = graph_of(kind, latent)
    common = {"model": ["model", 0], "steps": steps, "cfg": 5.0, "sampler_name": name, "scheduler": "logsnr_uniform"}
    common |= {"positive": ["positive", 0], "negative": ["negative", 0], "latent_image": ["latent", 0]}
    graph["sample"] = {"class_type": "KSampler", "inputs": {**common, "seed": 3, "denoise": 1.0, **inputs}}
    return report(server, run, graph, ["sample", 0])


def custom(server, sampler, sigmas, kind="eps", patch=None, cfg=5.0):
    """The report on a SamplerCustom."""
    run, graph = graph_of(kind)
    graph["sampler"], graph["sigmas"] = sampler, sigmas
    if patch:
        graph["patched"] = {"class_type": patch, "inputs": {"model": ["model", 0]}}
    model = ["patched", 0] if patch else ["model", 0]
    graph["sample"] = {
        "class_type": "SamplerCustom",
        "inputs": {
            "model": model, "add_noise": True, "noise_seed": 3, "cfg": cfg, "positive": ["positive", 0],
            "negative": ["negative", 0], "sampler": ["sampler", 0], "sigmas": ["sigmas", 0], "latent_image": ["latent", 0],
        },
    }  # fmt: skip
    return report(server, run, graph, ["sample", 0])


def check_good(facts, calls, batch=4):
    """The report on digits is good, after the given number of calls."""
    assert facts["finite"] and facts["shape"] == [batch, 1, 8, 8]
    assert facts["calls"] == calls
    assert 0.3 < facts["std"] < 5.0, facts["std"]  # digits have 0.75; few steps at CFG 5 overshoot, most of all with noise


def select(name):
    return {"class_type": "KSamplerSelect", "inputs": {"sampler_name": name}}


def cfg_guider(cfg):
    """A GUIDER for the graph of `graph_of`."""
    wires = {name: [name, 0] for name in ("model", "positive", "negative")}
    return {"class_type": "CFGGuider", "inputs": {**wires, "cfg": cfg}}


def schedule(steps=5, spacing="uniform", **inputs):
    common = {"model": ["model", 0], "steps": steps, "denoise": 1.0, "spacing": spacing}
    return {"class_type": "RESLogSNRSchedule", "inputs": {**common, **inputs}}


def calls_made(server, run):
    """The number of calls of a run's model so far."""
    latent = {"class_type": "RESToyLatent", "inputs": {"data": "digits", "batch_size": 1}}
    return report(server, run, {"latent": latent}, ["latent", 0])["calls"]


def failure(call):
    """The server's message about a prompt that must fail."""
    with pytest.raises(PromptError) as caught:
        call()
    return caught.value.details


def execution_error(server, call):
    """The message of the ValueError that a prompt ended with, before its model was called."""
    error = failure(call)["execution_error"]
    assert error["exception_type"] == "ValueError"
    run = f"run {next(RUNS) - 1}"  # of the prompt that failed
    assert calls_made(server, run) in (0, None)
    return error["exception_message"]


def check_refused(call, name):
    """The host's own check of a widget's range names the input."""
    errors = [e for node in failure(call)["node_errors"].values() for e in node["errors"]]
    assert any(e["extra_info"]["input_name"] == name for e in errors), errors


def interrupt(server, run, graph):
    """Run a prompt whose model waits in one of its calls (`wait_in`), and press the server's button then."""
    prompt = server.queue(graph)
    waiting = server.base / "output" / f"{run} waits"
    deadline = time.monotonic() + 60
    while not waiting.exists():
        assert time.monotonic() < deadline, "the call was never made"
        time.sleep(0.01)
    server.post("/interrupt", {})
    assert "execution_interrupted" in failure(lambda: server.wait(prompt))
