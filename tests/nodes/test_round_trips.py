"""Rising SIGMAS through the host: its samplers, Flip Sigmas, the schedule, and a round trip with every sampler."""

import json

import numpy as np
import pytest
import torch
from exact import REGISTERED
from pixelwise import sample
from process_examples import distance

from dev.setup import ROOT
from dev.workflow import to_prompt

KINDS = ["eps", "v", "edm", "flow"]


@pytest.fixture
def transport(digit):
    """transport(model, sampler, sigmas, latent, cfg) -> latent, with no noise added."""
    return lambda model, sampler, sigmas, latent, cfg=1.0, positive="4": sample(
        model, sampler, sigmas, torch.zeros_like(latent), digit(positive), digit(), cfg, latent
    )


def _grids(pack, model, steps=20):
    return [
        pack["RESLogSNRSchedule"].execute(model, steps, 1.0, {"spacing": "uniform"}, direction).result[0]
        for direction in ("invert", "denoise inverted")
    ]


def _digits(n=8, width=0.15):
    """Fours from the model's data, blurred, because otherwise they would belong to less than unit noise."""
    from embedded.digits import digits

    data = digits()
    blur = width * torch.randn(n, 64, generator=torch.Generator().manual_seed(1))
    return (data.means[data.labels == 4][:n] + blur).reshape(n, 1, 8, 8)


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["eps", "edm", "flow"])
@pytest.mark.parametrize("order, theirs", [(1, "euler"), (2, "res_multistep")])
def test_same_method_same_result_as_the_hosts(pack, in_flow_time, transport, toy, order, theirs, kind, cfg):
    model, ours = toy(kind, 0.15), in_flow_time("res_multistep", "FLOW_LOG_SIGMA", order=order)
    up, _ = _grids(pack, model)
    difference = transport(model, ours, up, _digits(), cfg) - transport(model, theirs, up, _digits(), cfg)
    # the host gives a flow latent back divided by 1 - 0.999
    assert difference.abs().max() < (2e-4 if kind != "flow" else 0.2) * max(1.0, float(up[-1]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*REGISTERED, "exp_res_cfg_pp"])
def test_an_image_comes_back(pack, transport, toy, name, kind):
    """Every sampler makes 40 steps each way; CFG++ runs at CFG 0, where it is the plain method."""
    model = toy(kind, 0.15)
    up, down = _grids(pack, model, 40)
    cfg = 0.0 if name == "exp_res_cfg_pp" else 1.0
    noise = transport(model, name, up, _digits(), cfg)
    assert distance(transport(model, name, down, noise, cfg), _digits()) < 0.03
    size = 1.0 / (1.0 - float(up[-1])) if kind == "flow" else float(up[-1])
    assert float(noise.std()) / size == pytest.approx(1.0, abs=0.25), "it went to the noise and not in a circle"


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_cfg_pp_comes_back_with_guidance(pack, transport, toy, kind):
    """Guidance of CFG++ acts once per step, and a rising step undoes a falling one."""
    model = toy(kind, 0.15)
    up, down = _grids(pack, model, 40)
    image = transport(model, "exp_res_cfg_pp", down, transport(model, "exp_res", up, _digits(), positive="any"), 0.5)
    back = transport(model, "exp_res_cfg_pp", down, transport(model, "exp_res_cfg_pp", up, image, 0.5), 0.5)
    assert distance(back, image) < 0.1


@pytest.mark.parametrize("name", REGISTERED)
def test_flip_sigmas_of_the_host(pack, transport, toy, name):
    """It replaces 0 by 0.0001; from there every sampler has at most the error of the host's euler."""
    from comfy_extras.nodes_custom_sampler import FlipSigmas

    model = toy("eps", 0.15)
    _, down = _grids(pack, model, 25)
    up = FlipSigmas.execute(down).result[0]
    assert float(up[0]) == pytest.approx(1e-4)
    error, eulers = (distance(transport(model, n, down, transport(model, n, up, _digits())), _digits()) for n in (name, "euler"))
    assert error < eulers


def test_editing_turns_the_digit_into_the_other_class(pack, transport, toy):
    from embedded.digits import digits

    model, data = toy("flow"), digits()
    up, down = _grids(pack, model)
    edited = transport(model, "exp_res", down, transport(model, "exp_res", up, _digits(width=0.1)), positive="9")
    nearest = torch.cdist(edited.flatten(1), data.means).argmin(dim=1)
    assert (data.labels[nearest] == 9).all()


def test_the_example_comes_back_and_edits(server):
    from PIL import Image

    workflow = json.loads((ROOT / "example_workflows" / "08_edit_by_inversion.json").read_text())
    outputs, pictures = server.run(to_prompt(workflow)), {}
    for node in workflow["nodes"]:
        for image in outputs.get(str(node["id"]), {}).get("images", []):
            pixels = Image.open(server.base / image["type"] / image["subfolder"] / image["filename"]).convert("L")
            pictures[node.get("title")] = np.asarray(pixels) / 255.0
    original = pictures["Faces"]
    assert abs(pictures["There and back"] - original).mean() < 0.01
    assert abs(pictures["Edited"] - original).mean() > 0.1
