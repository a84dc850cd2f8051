"""RES Lab: Measure through the real server."""

import csv

from prompts import PLAIN, by_guider, graph_of

_INPUTS = {"samplers": "exp_res, dpmpp_2m", "schedulers": "karras", "budgets": "6, 10", "seed": 3}


def _graph(**inputs):
    run, graph = graph_of()
    conditions = {"positive": ["positive", 0], "negative": ["negative", 0]}
    graph["guider"] = {"class_type": "CFGGuider", "inputs": {"model": ["digits", 0], "cfg": 3.0, **conditions}}
    defaults = {"best_at": 0, "tolerance": 1e-3, "reference_calls": 1536, "filename_prefix": "res_lab/measure", "fresh": False}
    wires = {"model": ["guider", 0], "latent_image": ["latent", 0]}
    graph["lab"] = {"class_type": "RESLabMeasure", "inputs": {**defaults, **_INPUTS, **wires, **inputs}}
    return run, graph


def test_the_best_pair_is_ready_to_wire(server):
    """The node also says which patch it cannot see."""
    run, graph = _graph(filename_prefix="best/measure")
    graph["patched"] = {"class_type": "TestUnseenPatch", "inputs": {"model": ["digits", 0]}}
    graph["guider"]["inputs"]["model"] = ["patched", 0]
    by_guider(graph, ["lab", 0], ["lab", 1])
    graph["report"] = {"class_type": "TestReport", "inputs": {"latent": ["sample", 0], "run": run}}
    graph["strip"] = {"class_type": "PreviewImage", "inputs": {"images": ["lab", 3]}}
    outputs = server.run(graph)
    assert outputs["report"]["facts"][0]["finite"]
    assert "unchanged reads FACTOR); turn fresh on after one" in " ".join(outputs["lab"]["res_verdict"])
    assert len(outputs["lab"]["images"]) == len(outputs["strip"]["images"]) == 1
    [path] = (server.base / "output" / "best").glob("*.csv")
    rows = list(csv.DictReader(path.read_text().splitlines()))
    [best] = [row for row in rows if row["rank"] == "1"]
    assert best["calls"] == "10"
    assert float(best["median"]) == min(float(row["median"]) for row in rows if row["budget"] == best["budget"])


def test_a_rough_network_and_a_wired_sampler(server):
    """The reference misses its tolerance; RES Multistep has its node's name, and equals the sampler that it is."""
    run, graph = _graph(samplers="exp_res_2m, dpmpp_2m", tolerance=1e-6, reference_calls=96, best_at=10, baseline="dpmpp_2m")
    network = {"network": "emoji_ddpm_early"}
    for name, label in (("positive", 3), ("negative", 8)):
        graph[name] = {"class_type": "TestNetworkCondition", "inputs": {**network, "label": label}}
    graph["digits"] = {"class_type": "TestNetworkModel", "inputs": network}
    graph["guider"]["inputs"]["cfg"] = 7.0
    graph["latent"] = {"class_type": "TestNetworkLatent", "inputs": {**network, "batch": 2}}
    graph["mine"] = {"class_type": "RESMultistep", "inputs": PLAIN, "_meta": {"title": "My multistep"}}
    graph["lab"]["inputs"]["sampler_1"] = ["mine", 0]
    graph["lab"]["inputs"]["filename_prefix"] = "rough/measure"
    graph["show"] = {"class_type": "PreviewAny", "inputs": {"source": ["lab", 5]}}
    outputs = server.run(graph, timeout=300)
    sentence, *remarks = outputs["lab"]["res_verdict"]
    assert outputs["show"]["text"] == [sentence] and "dpmpp_2m + karras" in sentence
    text = " ".join(remarks)
    assert "not to 1e-06" in text and "Equal at every number of calls: exp_res_2m + karras = My multistep + karras." in text
    [path] = (server.base / "output" / "rough").glob("*.md")
    assert path.read_text(encoding="utf-8").startswith(f"**{sentence}**")
