"""Real networks: ComfyUI's loaders load them, they draw the requested digit, and every sampler runs on them.

On servers started with --force-fp16 and --bf16-unet they give nearly what they give in float32.
"""

import math
import shutil

import pytest
import torch
from exact import calls_per_step
from prompts import network_report

from benchmarks.cases import network_cases
from embedded.digits import digits
from samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS
from training import networks
from training.networks import NETWORKS

# network -> the stock node that makes its empty latents, and their shape
LATENTS = {
    "sd3": ("EmptySD3LatentImage", {"width": 32, "height": 32}, [2, 16, 4, 4]),
    "unet": ("EmptyLatentImage", {"width": 32, "height": 32}, [2, 4, 4, 4]),
    "wan": ("EmptyHunyuanLatentVideo", {"width": 32, "height": 32, "length": 9}, [2, 16, 3, 4, 4]),
}


@pytest.mark.parametrize("name", ["sd3", "unet"])
def test_weights_are_small(name):
    assert NETWORKS[name].file.stat().st_size < 2_000_000


@pytest.mark.parametrize("index", range(4))
def test_networks_draw_the_digit_they_are_asked_for(pack, index):
    """The nearest real digit has the requested class, which by chance would be so in a tenth of the cases."""
    import comfy.samplers

    case = network_cases(batch=40)[index]
    sigmas = comfy.samplers.calculate_sigmas(case.model_sampling, "beta", 20)
    latents = case.sample(comfy.samplers.ksampler("exp_res"), sigmas)[0].float()
    data, network = digits(), NETWORKS[case.network]
    nearest = torch.cdist(latents.flatten(1), networks.to_latent(data.means, network).flatten(1)).argmin(dim=1)
    right = (data.labels[nearest] == torch.arange(40) % 10).float().mean()
    assert right > (0.85 if case.cfg > 1.0 else 0.7)


def _facts(server, network, name, steps=5, cfg=3.0):
    """The report on a sampler with a network of models/diffusion_models, as a user would have it there."""
    import safetensors.torch

    empty, size, _ = LATENTS[network]
    loader = {"class_type": "UNETLoader", "inputs": {"unet_name": f"{network}.safetensors", "weight_dtype": "default"}}
    if network == "unet":
        loader = {"class_type": "TestNetworkModel", "inputs": {"network": network}}
    file = server.base / "models" / "diffusion_models" / f"{network}.safetensors"
    file.parent.mkdir(exist_ok=True)
    if network == "sd3" and not file.exists():
        shutil.copy(NETWORKS["sd3"].file, file)
    if network == "wan" and not file.exists():
        safetensors.torch.save_file(networks.state_dict(networks.build(NETWORKS["wan"])), file)
    latent = {"class_type": empty, "inputs": {**size, "batch_size": 2}}
    return network_report(server, network, loader, latent, sampler_name=name, steps=steps, cfg=cfg)


@pytest.mark.parametrize("network", LATENTS)
@pytest.mark.parametrize("name", [*SAMPLERS, *ADAPTIVE_SAMPLERS])
def test_every_sampler_on_every_network(server, pack, name, network):
    facts = _facts(server, network, name)
    if name in SAMPLERS:
        assert facts["calls"] == 4 * calls_per_step(name) + 1
    assert facts["finite"] and facts["shape"] == LATENTS[network][2]
    again = _facts(server, network, name)
    assert again["sha256"] == facts["sha256"], "same seed, same bytes"


# flag -> the host's message about the weights, and the largest distance of the latents from float32
FLAGS = {"--force-fp16": ("torch.float16", 0.01), "--bf16-unet": ("torch.bfloat16", 0.06)}
KINDS_OF_STEP = ["exp_res", "exp_res_3s", "exp_res_3s_sde", "exp_res_cfg_pp", "exp_gddim", "exp_res_adaptive"]


@pytest.fixture(scope="module", params=FLAGS)
def half(servers, request):
    """A server in half precision, with the weights' dtype and the tolerance."""
    return servers(request.param), *FLAGS[request.param]


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS_OF_STEP)
def test_latents_in_half_precision_are_nearly_those_in_float32(server, half, name):
    there, dtype, tolerance = half
    expected, facts = (_facts(s, "sd3", name, 8, 1.5) for s in (server, there))
    assert f"model weight dtype {dtype}" in there.log.read_text()
    assert facts["finite"] and math.dist(facts["top"], expected["top"]) < tolerance * math.hypot(*expected["top"])
