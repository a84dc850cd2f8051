"""Real networks: ComfyUI's loaders load them, they draw the requested digit, and every sampler runs on them."""

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


@pytest.fixture(scope="module")
def model_files(server, pack):
    """Files as a user would have them in models/diffusion_models."""
    import safetensors.torch

    folder = server.base / "models" / "diffusion_models"
    folder.mkdir(exist_ok=True)
    shutil.copy(NETWORKS["sd3"].file, folder / "sd3.safetensors")
    wan = NETWORKS["wan"]
    safetensors.torch.save_file(networks.state_dict(networks.build(wan)), folder / "wan.safetensors")


def _facts(server, network, name):
    empty, size, _ = LATENTS[network]
    loader = {"class_type": "UNETLoader", "inputs": {"unet_name": f"{network}.safetensors", "weight_dtype": "default"}}
    if network == "unet":
        loader = {"class_type": "TestNetworkModel", "inputs": {"network": network}}
    latent = {"class_type": empty, "inputs": {**size, "batch_size": 2}}
    return network_report(server, network, loader, latent, sampler_name=name, steps=5, cfg=3.0)


@pytest.mark.parametrize("network", LATENTS)
@pytest.mark.parametrize("name", [*SAMPLERS, *ADAPTIVE_SAMPLERS])
def test_every_sampler_on_every_network(server, model_files, name, network):
    facts = _facts(server, network, name)
    if name in SAMPLERS:
        assert facts["calls"] == 4 * calls_per_step(name) + 1
    assert facts["finite"] and facts["shape"] == LATENTS[network][2]
    again = _facts(server, network, name)
    assert again["sha256"] == facts["sha256"], "same seed, same bytes"
