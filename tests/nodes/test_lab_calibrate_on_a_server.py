"""Calibrating and using it through the real server: calls, progress, interrupts, errors."""

import json
import re

from prompts import by_guider, cfg_guider, check_good, graph_of, interrupt, report, schedule


def graph_with(name, **counter):
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
    run, graph = graph_with("server")
    graph["report"] = {"class_type": "TestReport", "inputs": {"latent": ["sample", 0], "run": run}}
    outputs = server.run(graph)
    facts, text = outputs["report"]["facts"][0], "".join(outputs["calibrate"]["text"])
    made, least, most = map(int, re.search(r"Calls: (\d+), announced as (\d+) to (\d+)", text).groups())
    assert made == facts["calls"] - 2 - 6 <= most and made >= least  # two calls of the probe, and the sampling run
    check_good(facts, facts["calls"])
    [path] = (server.base / "models" / "res_calibrations").glob("server_*.json")
    assert json.loads(path.read_text())["provenance"]["cfg"] == 5.0
    run, graph = graph_with("unused")
    graph["calibrate"] = {"class_type": "RESCalibrated", "inputs": {"file": path.name, "model": ["model", 0]}}
    again = report(server, run, graph, ["sample", 0])
    assert again["calls"] == 6 and again["sha256"] == facts["sha256"]


def test_an_interrupt_stops_at_once(server):
    """The interrupt comes while the reference is computed."""
    run, graph = graph_with("interrupted", wait_in=50)
    interrupt(server, run, graph)
    assert not list((server.base / "models" / "res_calibrations").glob("interrupted_*"))
