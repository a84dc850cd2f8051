"""Calibrating and using it through the real server: calls, progress, interrupts, errors."""

import json
import re

from prompts import cfg_guider, check_good, execution_error, failure, graph_of, interrupt, report, schedule


def graph_with(name, steps=6, **counter):
    """A guider, its calibration, and a sampling run with what comes out."""
    run, graph = graph_of("eps", **counter)
    graph["sigmas"] = schedule(steps)
    graph["guider"] = cfg_guider(5.0)
    graph["calibrate"] = {
        "class_type": "RESLabCalibrate",
        "inputs": {
            "model": ["guider", 0], "latent_image": ["latent", 0], "seed": 0, "sigmas": ["sigmas", 0], "pilots": 4,
            "name": name, "move_grid": False,
        },
    }  # fmt: skip
    graph["noise"] = {"class_type": "RandomNoise", "inputs": {"noise_seed": 9}}
    graph["sample"] = {
        "class_type": "SamplerCustomAdvanced",
        "inputs": {
            "noise": ["noise", 0], "guider": ["guider", 0], "sampler": ["calibrate", 0], "sigmas": ["calibrate", 1],
            "latent_image": ["latent", 0],
        },
    }  # fmt: skip
    return run, graph


def test_calibrate_and_use(server):
    """The text shows the errors; calls stay below what was announced; the loaded file gives the same bytes."""
    run, graph = graph_with("server")
    graph["report"] = {"class_type": "TestReport", "inputs": {"latent": ["sample", 0], "run": run}}
    outputs = server.run(graph)
    facts, text = outputs["report"]["facts"][0], "".join(outputs["calibrate"]["text"])
    made, least, most = map(int, re.search(r"Calls: (\d+), announced as (\d+) to (\d+)", text).groups())
    assert made == facts["calls"] - 2 - 6 <= most and made >= least - 6  # two calls of the probe, and the sampling run
    check_good(facts, facts["calls"])
    [path] = (server.base / "models" / "res_calibrations").glob("server_*.json")
    assert json.loads(path.read_text())["provenance"]["cfg"] == 5.0
    loaded = {"class_type": "RESCalibrated", "inputs": {"file": path.name, "model": ["model", 0]}}
    run, graph = graph_with("unused")
    graph["calibrate"] = loaded
    again = report(server, run, graph, ["sample", 0])
    assert again["calls"] == 6 and again["sha256"] == facts["sha256"]


def test_the_loaded_sampler_on_other_sigmas(server):
    """The error says what to connect."""
    run, graph = graph_with("elsewhere")
    report(server, run, graph, ["sample", 0])
    run, graph = graph_with("elsewhere")
    graph["calibrate"] = {"class_type": "RESCalibrated", "inputs": {"file": "elsewhere_00001.json"}}
    graph["sample"]["inputs"]["sigmas"] = ["sigmas", 0]
    graph["sigmas"] = schedule(7)
    assert "Connect the SIGMAS output" in execution_error(server, lambda: report(server, run, graph, ["sample", 0]))


def test_an_interrupt_stops_at_once(server):
    """The interrupt comes while the reference is computed."""
    run, graph = graph_with("interrupted", wait_in=50)
    interrupt(server, run, graph)
    assert not list((server.base / "models" / "res_calibrations").glob("interrupted_*"))


def test_a_model_of_nan(server):
    """It ends in an error that says where NaN arose, and no file is written."""
    run, graph = graph_with("nan", nan_from=40)
    error = failure(lambda: report(server, run, graph, ["sample", 0]))["execution_error"]
    assert error["exception_type"] == "FloatingPointError" and "NaN" in error["exception_message"]
    assert not list((server.base / "models" / "res_calibrations").glob("nan_*"))


def test_files_outside_are_refused(server):
    """The list of the input refuses them, and so does the folder."""
    run, graph = graph_with("x")
    graph["calibrate"] = {"class_type": "RESCalibrated", "inputs": {"file": "../../server.log"}}
    errors = failure(lambda: report(server, run, graph, ["sample", 0]))["node_errors"]
    assert errors["calibrate"]["errors"][0]["extra_info"]["input_name"] == "file"
