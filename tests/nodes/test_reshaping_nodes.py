"""The nodes that change SIGMAS, through the real server."""

import pytest
from prompts import check_good, custom_node, graph_of, report, schedule, select

CUTS = {
    "eps": [{"at": "sigma", "at.sigma": 1.0}, {"at": "logSNR", "at.logsnr": 0.0}, {"at": "percent", "at.percent": 0.5}],
    "flow": [{"at": "sigma", "at.sigma": 0.5}, {"at": "logSNR", "at.logsnr": 0.0}, {"at": "percent", "at.percent": 0.75}],
}


def _sample(graph, name, sigmas, latent, noise):
    """Add a SamplerCustom with exp_res_2s, whose result does not depend on a cut."""
    graph["sampler"] = select("exp_res_2s")
    graph[name] = custom_node(3.0, sigmas=sigmas, latent_image=latent, add_noise=noise)


def _node(kind, **inputs):
    return {"class_type": f"RESSigmas{kind}", "inputs": {"model": ["model", 0], **inputs}}


@pytest.mark.parametrize("kind, cut", [(kind, cut) for kind, cuts in CUTS.items() for cut in cuts], ids=str)
def test_two_parts_sample_what_the_whole_does(server, kind, cut):
    """The first part ends where the second begins: at sigma 1, logSNR 0 on eps, which sigma 0.5 is on flow."""
    run, graph = graph_of(kind)
    graph["grid"] = schedule(10)
    graph["parts"] = _node("Split", sigmas=["grid", 0], **cut)
    _sample(graph, "whole", ["grid", 0], ["latent", 0], True)
    _sample(graph, "first", ["parts", 0], ["latent", 0], True)
    _sample(graph, "second", ["parts", 1], ["first", 0], False)
    for name in ("whole", "first", "second"):
        graph[f"report {name}"] = {"class_type": "TestReport", "inputs": {"latent": [name, 0], "run": run}}
    whole, first, second = (server.run(graph)[f"report {name}"]["facts"][0] for name in ("whole", "first", "second"))
    # the host divides a flow latent by 1 - sigma between the parts and multiplies it again
    assert max(abs(a - b) for a, b in zip(whole["top"], second["top"])) < 1e-4
    assert first["std"] > 1.2 * second["std"], "there is noise left after the first part"


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
def test_blended_and_resampled_schedules_sample(server, kind):
    run, graph = graph_of(kind)
    basic = {"model": ["model", 0], "scheduler": "kl_optimal", "steps": 7, "denoise": 1.0}
    graph["a"], graph["b"] = schedule(12), {"class_type": "BasicScheduler", "inputs": basic}
    graph["blended"] = _node("Blend", sigmas_a=["a", 0], sigmas_b=["b", 0], weight=0.5)
    graph["sigmas"] = _node("Resample", sigmas=["blended", 0], steps=9)
    _sample(graph, "sample", ["sigmas", 0], ["latent", 0], True)
    check_good(report(server, run, graph, ["sample", 0]), 2 * 8 + 1)
