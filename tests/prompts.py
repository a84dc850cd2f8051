"""Prompts that the server tests run, and what they report."""

import http.client
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

    `loader`: a node that gives another MODEL; `counter`: inputs of TestCountCalls.
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
    run, graph = graph_of(latent=latent, loader=loader)
    for name, label in (("positive", 3), ("negative", NO_CLASS)):
        graph[name] = {"class_type": "TestNetworkCondition", "inputs": {"network": network, "label": label}}
    graph["sample"] = ksampler_node(**inputs)
    return report(server, run, graph, ["sample", 0])


def report(server, run, graph, source):
    """The result of TestReport for the latent at `source`."""
    graph["report"] = {"class_type": "TestReport", "inputs": {"latent": source, "run": run}}
    return server.run(graph)["report"]["facts"][0]


_MODEL_WIRES = {wire: [wire, 0] for wire in ("model", "positive", "negative")}
_WIRES = {**_MODEL_WIRES, "latent_image": ["latent", 0]}


def ksampler_node(sampler_name, steps, cfg=5.0, **inputs):
    """A KSampler for the graph of `graph_of`."""
    common = {"sampler_name": sampler_name, "steps": steps, "cfg": cfg, "scheduler": "logsnr_uniform", "seed": 3, "denoise": 1.0}
    return {"class_type": "KSampler", "inputs": {**_WIRES, **common, **inputs}}


def custom_node(cfg=5.0, **inputs):
    """A SamplerCustom for the graph of `graph_of` with the nodes `sampler` and `sigmas`."""
    common = {"sampler": ["sampler", 0], "sigmas": ["sigmas", 0], "add_noise": True, "noise_seed": 3, "cfg": cfg}
    return {"class_type": "SamplerCustom", "inputs": {**_WIRES, **common, **inputs}}


def by_guider(graph, sampler, sigmas):
    """Add a SamplerCustomAdvanced to the graph of `graph_of` with the node `guider`."""
    graph["noise"] = {"class_type": "RandomNoise", "inputs": {"noise_seed": 3}}
    wires = {"noise": ["noise", 0], "guider": ["guider", 0], "latent_image": ["latent", 0]}
    graph["sample"] = {"class_type": "SamplerCustomAdvanced", "inputs": {**wires, "sampler": sampler, "sigmas": sigmas}}


def ksampler(server, name, kind, steps=5, latent=None, **inputs):
    """The report on a KSampler."""
    run, graph = graph_of(kind, latent)
    graph["sample"] = ksampler_node(name, steps, **inputs)
    return report(server, run, graph, ["sample", 0])


def custom(server, sampler, sigmas, kind="eps", patch=None):
    """The report on a SamplerCustom; `patch`: a node that changes the MODEL."""
    run, graph = graph_of(kind)
    graph |= {"sampler": sampler, "sigmas": sigmas, "sample": custom_node()}
    if patch:
        graph["patched"] = {"class_type": patch, "inputs": {"model": ["model", 0]}}
        graph["sample"]["inputs"]["model"] = ["patched", 0]
    return report(server, run, graph, ["sample", 0])


def check_good(facts, calls):
    """The report on digits is good, after the given number of calls."""
    assert facts["finite"] and facts["shape"] == [4, 1, 8, 8]
    assert facts["calls"] == calls
    assert 0.3 < facts["std"] < 5.0, facts["std"]  # digits have 0.75; few steps at CFG 5 overshoot, most of all with noise


def select(name):
    return {"class_type": "KSamplerSelect", "inputs": {"sampler_name": name}}


def cfg_guider(cfg):
    """A GUIDER for the graph of `graph_of`."""
    return {"class_type": "CFGGuider", "inputs": {**_MODEL_WIRES, "cfg": cfg}}


def schedule(steps=5, spacing="uniform", **inputs):
    common = {"model": ["model", 0], "steps": steps, "denoise": 1.0, "spacing": spacing}
    return {"class_type": "RESLogSNRSchedule", "inputs": {**common, **inputs}}


def calls_made(server, run):
    """The number of calls of a run's model so far."""
    latent = {"class_type": "RESToyLatent", "inputs": {"data": "digits", "batch_size": 1}}
    return report(server, run, {"latent": latent}, ["latent", 0])["calls"]


def request(server, method, path, body=None, **headers):
    """(status, answer) of an HTTP request."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path, body, headers, encode_chunked="Transfer-Encoding" in headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


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
