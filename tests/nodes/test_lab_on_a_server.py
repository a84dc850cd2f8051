"""The lab's nodes through the real server: files, counted calls, interrupts, errors."""

import csv
import json
import re

import prompts
import pytest
from prompts import by_guider, cfg_guider, graph_of, report, schedule, select

pytest.importorskip("matplotlib", reason="matplotlib of requirements.txt is not in this ComfyUI's environment")


def _report(run, source):
    return {"class_type": "TestReport", "inputs": {"latent": [source, 0], "run": run}}


def _rows(server, file):
    with open(server.base / "output" / file, newline="") as opened:
        return list(csv.DictReader(opened))


# --- Trace gives the result of SamplerCustomAdvanced, and a row for every step ---

STEPS = 5
# sampler -> calls of each row; None where the sampler chooses its own grid
CALLS = {
    **dict.fromkeys(("euler", "euler_ancestral", "lcm", "uni_pc", "exp_res", "exp_res_sde"), [1] * STEPS),
    **dict.fromkeys(("heun", "dpm_2", "dpmpp_sde", "seeds_2", "exp_res_2s"), [2] * (STEPS - 1) + [1]),
    **dict.fromkeys(("seeds_3", "exp_res_3s", "exp_res_3s_sde"), [3] * (STEPS - 1) + [1]),
    **dict.fromkeys(("dpm_fast", "dpm_adaptive", "exp_res_adaptive")),
}


def _traced(sampler, kind="eps", latent=None, counter=(), **inputs):
    """(run, graph) of a trace and the report on its latent; `inputs` of the node, and `counter` of TestCountCalls."""
    run, graph = graph_of(kind, latent, **dict(counter))
    graph |= {"guider": cfg_guider(3.0), "sampler": select(sampler), "sigmas": schedule(STEPS)}
    wires = {"model": ["guider", 0], "sampler": ["sampler", 0], "sigmas": ["sigmas", 0], "latent_image": ["latent", 0]}
    prefix = f"res_lab/{run.replace(' ', '-')}"
    graph["trace"] = {"class_type": "RESLabTrace", "inputs": {**wires, "seed": 3, "filename_prefix": prefix, **inputs}}
    return run, graph


def _trace(server, sampler, **inputs):
    """The report on the latent, the rows shown and the file they are in."""
    run, graph = _traced(sampler, **inputs)
    graph["report"] = _report(run, "trace")
    outputs = server.run(graph)
    shown = json.loads(outputs["trace"]["res_trace"][0])
    assert outputs["trace"]["text"] == [shown["file"]]
    return outputs["report"]["facts"][0], shown["rows"], shown["file"]


def _by_the_host(server, sampler, **inputs):
    """The report on SamplerCustomAdvanced."""
    run, graph = _traced(sampler, **inputs)
    del graph["trace"]
    by_guider(graph, ["sampler", 0], ["sigmas", 0])
    return report(server, run, graph, ["sample", 0])


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", CALLS)
def test_it_samples_as_the_host_does_and_counts_every_call(server, name, kind):
    facts, rows, file = _trace(server, name, kind=kind)
    expected = _by_the_host(server, name, kind=kind)
    assert facts["sha256"] == expected["sha256"] and facts["calls"] == expected["calls"]
    assert sum(row["calls"] for row in rows) == facts["calls"]
    if CALLS[name]:
        assert [row["calls"] for row in rows] == CALLS[name]
        assert [row["step"] for row in rows] == list(range(STEPS))
    assert all(before["sigma"] > row["sigma"] for before, row in zip(rows, rows[1:]))
    for shown, saved in zip(rows, _rows(server, file), strict=True):
        for column, value in shown.items():
            assert saved[column] in ("", "-inf") if value is None else float(saved[column]) == value
    assert all(row["d_change"] > 0.0 and row["acceleration_sigma"] > 0.0 and row["ms_per_call"] > 0.0 for row in rows[1:])
    assert rows[0]["local_error"] > 0.0 and rows[1]["first_order_error"] > 0.0


def test_noise_mask_and_own_latent(server):
    latent = {"class_type": "TestRealDigits", "inputs": {"count": 4, "mask": True}}
    facts, rows, _ = _trace(server, "heun", latent=latent)
    assert facts["sha256"] == _by_the_host(server, "heun", latent=latent)["sha256"] and len(rows) == STEPS


def test_a_model_without_a_prompt(server):
    facts, rows, _ = _trace(server, "exp_res", model=["model", 0])
    assert facts["finite"] and len(rows) == STEPS


def test_files_are_numbered(server):
    files = [_trace(server, "euler", filename_prefix="res_lab/numbered")[2] for _ in range(2)]
    assert files == ["res_lab/numbered_00001_.csv", "res_lab/numbered_00002_.csv"]


@pytest.mark.parametrize("name", ["euler", "heun", "exp_res_3s"])
def test_an_interrupt_keeps_the_rows_so_far(server, name):
    run, graph = _traced(name, counter={"wait_in": 4})
    prompts.interrupt(server, run, graph)
    assert prompts.calls_made(server, run) == 4
    rows = _rows(server, f"{graph['trace']['inputs']['filename_prefix']}_00001_.csv")
    assert sum(int(row["calls"]) for row in rows) == 4
    assert rows[-1]["local_error"] == "" and len(rows) < STEPS


def test_a_failing_sampler_keeps_them_too(server):
    run, graph = _traced("exp_res", counter={"nan_from": 3})
    assert prompts.failure(lambda: server.run(graph))["execution_error"]["exception_type"] == "FloatingPointError"
    rows = _rows(server, f"{graph['trace']['inputs']['filename_prefix']}_00001_.csv")
    assert len(rows) == 3 and rows[1]["d_change"] and not rows[2]["d_change"]


@pytest.mark.parametrize("values, message", [("5 5", "sigmas must hold two different sigmas or more"), ("5 nan 0", "is nan")])
def test_bad_sigmas_are_refused_before_the_first_call(server, values, message):
    _, graph = _traced("euler")
    graph["sigmas"] = {"class_type": "TestSigmas", "inputs": {"values": values}}
    assert message in prompts.execution_error(server, lambda: server.run(graph))


# --- Measure ---

_CELLS = {"samplers": "exp_res, dpmpp_2m", "schedulers": "karras", "budgets": "6, 10", "seed": 3}


def _measured(**inputs):
    run, graph = graph_of()
    graph["guider"] = cfg_guider(3.0)
    graph["guider"]["inputs"]["model"] = ["digits", 0]
    defaults = {"best_at": 0, "tolerance": 1e-3, "reference_calls": 1536, "filename_prefix": "res_lab/measure", "fresh": False}
    wires = {"model": ["guider", 0], "latent_image": ["latent", 0]}
    graph["lab"] = {"class_type": "RESLabMeasure", "inputs": {**defaults, **_CELLS, **wires, **inputs}}
    return run, graph


def test_the_best_pair_is_ready_to_wire(server):
    """The node also says which patch it cannot see."""
    run, graph = _measured(filename_prefix="best/measure")
    graph["patched"] = {"class_type": "TestUnseenPatch", "inputs": {"model": ["digits", 0]}}
    graph["guider"]["inputs"]["model"] = ["patched", 0]
    by_guider(graph, ["lab", 0], ["lab", 1])
    graph["report"] = _report(run, "sample")
    graph["strip"] = {"class_type": "PreviewImage", "inputs": {"images": ["lab", 3]}}
    outputs = server.run(graph)
    assert outputs["report"]["facts"][0]["finite"]
    assert "unchanged reads FACTOR); turn fresh on after one" in " ".join(outputs["lab"]["res_text"])
    assert len(outputs["lab"]["images"]) == len(outputs["strip"]["images"]) == 1
    [path] = (server.base / "output" / "best").glob("*.csv")
    rows = _rows(server, path)
    [best] = [row for row in rows if row["rank"] == "1"]
    assert best["calls"] == "10"
    assert float(best["median"]) == min(float(row["median"]) for row in rows if row["budget"] == best["budget"])


def test_a_rough_network_and_a_wired_sampler(server):
    """The reference misses its tolerance; RES Multistep has its node's name, and equals the sampler that it is."""
    run, graph = _measured(samplers="exp_res_2m, dpmpp_2m", tolerance=1e-6, reference_calls=96, best_at=10, baseline="dpmpp_2m")
    network = {"network": "emoji_ddpm_early"}
    for name, label in (("positive", 3), ("negative", 8)):
        graph[name] = {"class_type": "TestNetworkCondition", "inputs": {**network, "label": label}}
    graph["digits"] = {"class_type": "TestNetworkModel", "inputs": network}
    graph["guider"]["inputs"]["cfg"] = 7.0
    graph["latent"] = {"class_type": "TestNetworkLatent", "inputs": {**network, "batch": 2}}
    graph["mine"] = {"class_type": "RESMultistep", "inputs": prompts.PLAIN, "_meta": {"title": "My multistep"}}
    graph["lab"]["inputs"]["sampler_1"] = ["mine", 0]
    graph["lab"]["inputs"]["filename_prefix"] = "rough/measure"
    graph["show"] = {"class_type": "PreviewAny", "inputs": {"source": ["lab", 5]}}
    outputs = server.run(graph, timeout=300)
    sentence, *remarks = outputs["lab"]["res_text"]
    assert outputs["show"]["text"] == [sentence] and "dpmpp_2m + karras" in sentence
    text = " ".join(remarks)
    assert "not to 1e-06" in text and "Equal at every number of calls: exp_res_2m + karras = My multistep + karras." in text
    [path] = (server.base / "output" / "rough").glob("*.md")
    assert path.read_text(encoding="utf-8").startswith(f"**{sentence}**")


# --- Calibrate ---


def _calibrated(name, **counter):
    """A guider, its calibration, and a sampling run with what comes out."""
    run, graph = graph_of("eps", **counter)
    graph["sigmas"], graph["guider"] = schedule(6), cfg_guider(5.0)
    wires = {"model": ["guider", 0], "latent_image": ["latent", 0], "sigmas": ["sigmas", 0]}
    inputs = {**wires, "seed": 0, "pilots": 4, "name": name, "move_grid": False}
    graph["calibrate"] = {"class_type": "RESLabCalibrate", "inputs": inputs}
    by_guider(graph, ["calibrate", 0], ["calibrate", 1])
    return run, graph


def test_calibrate_and_use(server):
    """The text shows the errors; calls stay below what was announced; the loaded file gives the same bytes."""
    run, graph = _calibrated("server")
    graph["report"] = _report(run, "sample")
    outputs = server.run(graph)
    facts, text = outputs["report"]["facts"][0], "".join(outputs["calibrate"]["res_text"])
    made, least, most = map(int, re.search(r"Calls: (\d+), announced as (\d+) to (\d+)", text).groups())
    assert made == facts["calls"] - 2 - 6 <= most and made >= least  # two calls of the probe, and the sampling run
    prompts.check_good(facts, facts["calls"])
    [path] = (server.base / "models" / "res_calibrations").glob("server_*.json")
    assert json.loads(path.read_text())["provenance"]["cfg"] == 5.0
    run, graph = _calibrated("unused")
    graph["calibrate"] = {"class_type": "RESCalibrated", "inputs": {"file": path.name, "model": ["model", 0]}}
    again = report(server, run, graph, ["sample", 0])
    assert again["calls"] == 6 and again["sha256"] == facts["sha256"]


def test_an_interrupt_of_the_reference_writes_no_file(server):
    run, graph = _calibrated("interrupted", wait_in=50)
    prompts.interrupt(server, run, graph)
    assert not list((server.base / "models" / "res_calibrations").glob("interrupted_*"))
