"""Sigmas Plot (RES) through the real server gives a picture of its inputs."""

import logging

import pytest
import torch
from pixelwise import sample
from prompts import execution_error, graph_of, schedule

pytest.importorskip("matplotlib", reason="matplotlib of requirements.txt is not in this ComfyUI's environment")


def _plot(**inputs):
    return {"class_type": "RESSigmasPlot", "inputs": {"axis": "auto", **inputs}}


def _picture(server, kind, **inputs):
    """The pixels in the node and in the IMAGE."""
    from PIL import Image

    run, graph = graph_of(kind)
    graph |= {"a": schedule(8), "b": schedule(5, "edm_rho", **{"spacing.rho": 7.0}), "plot": _plot(**inputs)}
    graph["save"] = {"class_type": "SaveImage", "inputs": {"images": ["plot", 0], "filename_prefix": run.replace(" ", "-")}}
    outputs = server.run(graph)
    images = [image for name in ("plot", "save") for image in outputs[name]["images"]]
    shown, saved = (Image.open(server.base / i["type"] / i["subfolder"] / i["filename"]) for i in images)
    assert shown.tobytes() == saved.tobytes() and shown.size == (840, 624)
    return shown.tobytes()


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_every_axis_and_number_of_sigmas(server, kind):
    a, b, model = ["a", 0], ["b", 0], ["model", 0]
    pictures = [
        _picture(server, kind, sigmas=a),
        _picture(server, kind, sigmas=a, model=model),
        _picture(server, kind, sigmas=a, model=model, axis="sigma"),
        _picture(server, kind, sigmas=a, sigmas_b=b, model=model),
        _picture(server, kind, sigmas=a, sigmas_b=a, sigmas_c=b, sigmas_d=a, model=model),
    ]
    assert len(set(pictures)) == len(pictures), "each shows something else"
    assert _picture(server, kind, sigmas=a, model=model, axis="logSNR") == pictures[1], "which is auto"


def _error(server, kind="eps", grid=None, **plot):
    run, graph = graph_of(kind)
    graph["a"] = grid or schedule(8)
    graph["plot"] = _plot(sigmas=["a", 0], **plot)
    return execution_error(server, lambda: server.run(graph))


def test_errors(server):
    assert "no model is connected" in _error(server, axis="logSNR")
    manual = {"class_type": "ManualSigmas", "inputs": {"sigmas": "14.6, 5, 0"}}
    if "ManualSigmas" in server.get("/object_info"):
        assert "sigmas holds 14.6 and the model is a flow model" in _error(server, "flow", manual, model=["model", 0])
    assert "must have two sigmas or more, got 0" in _error(server, grid=schedule(8, denoise=0.0))


@pytest.mark.parametrize("kind, warned", [("eps", True), ("flow", False)])
def test_a_whole_grid_of_a_flow_model_is_warned_of_elsewhere(pack, toy, digit, caplog, kind, warned):
    """The warning is in the picture and in the log, and every sampler of the pack writes it into the log."""
    model = toy(kind)
    flow = {"without_model": {"without_model": "flow", "shift": 3.0}}
    [sigmas] = pack["RESLogSNRSchedule"].execute(None, 4, 1.0, {"spacing": "logit"}, **flow).result
    with caplog.at_level(logging.WARNING):
        [picture] = pack["RESSigmasPlot"].execute(sigmas, model=model, axis="sigma").result
        assert ("Sigmas Plot (RES): sigmas: the sigmas go from 1 to 0" in caplog.text) is warned
        top = picture[0, :60]
        assert bool(((top[..., 0] > 0.7) & (top[..., 1] < 0.4)).any()) is warned, "in red"
        caplog.clear()
        sample(model, "exp_res", sigmas, torch.ones(1, 1, 8, 8), digit())
        assert ("ComfyUI-RES: the sigmas go from 1 to 0" in caplog.text) is warned
