"""Servers started with --force-fp16 and --bf16-unet: a network of the stock loader gives nearly what it gives in float32."""

import math
import shutil

import pytest
from prompts import network_report

from training.networks import NETWORKS

pytestmark = pytest.mark.long

# flag -> the host's message about the weights, and the largest distance of the latents from float32
FLAGS = {"--force-fp16": ("torch.float16", 0.01), "--bf16-unet": ("torch.bfloat16", 0.06)}
KINDS_OF_STEP = ["exp_res", "exp_res_3s", "exp_res_3s_sde", "exp_res_cfg_pp", "exp_gddim", "exp_res_adaptive"]


@pytest.fixture(scope="module", params=FLAGS)
def half(servers, request):
    """A server in half precision, with the weights' dtype and the tolerance."""
    return servers(request.param), *FLAGS[request.param]


def _sample(server, name):
    folder = server.base / "models" / "diffusion_models"
    folder.mkdir(exist_ok=True)
    shutil.copy(NETWORKS["sd3"].file, folder / "sd3.safetensors")
    loader = {"class_type": "UNETLoader", "inputs": {"unet_name": "sd3.safetensors", "weight_dtype": "default"}}
    latent = {"class_type": "EmptySD3LatentImage", "inputs": {"width": 32, "height": 32, "batch_size": 2}}
    return network_report(server, "sd3", loader, latent, sampler_name=name, steps=8, cfg=1.5)


@pytest.mark.parametrize("name", KINDS_OF_STEP)
def test_latents_are_nearly_those_in_float32(server, half, name):
    there, dtype, tolerance = half
    expected, facts = _sample(server, name), _sample(there, name)
    assert f"model weight dtype {dtype}" in there.log.read_text()
    assert facts["finite"] and math.dist(facts["top"], expected["top"]) < tolerance * math.hypot(*expected["top"])
