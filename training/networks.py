"""Networks of the host's own architectures, small enough to train and to sample on a CPU in minutes.

sd3    Stable Diffusion 3's transformer, depth 1, flow; its file loads with the host's stock loader nodes
unet   Stable Diffusion 1.5's UNet with 32 channels, eps; the host builds it, but its loader nodes recognise only 320 channels
wan    Wan 2.1's video transformer of width 128 with random weights, flow; for tests of shapes and calls, it shows nothing

A digit of 8x8 pixels becomes a latent by folding blocks of pixels into channels. Conditioning is one token that names the class
(SD3 also wants it as pooled output); one more class stands for "no class" and was trained beside the others, so that CFG is real.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

WEIGHTS = Path(__file__).with_name("weights")
PREFIX = "model.diffusion_model."
NO_CLASS = 10


@dataclass(frozen=True)
class Network:
    """What training and sampling need to know of a network.

    Attributes:
        name: of its file in weights/.
        family: class of comfy.supported_models.
        kind: "flow" or "eps".
        config: of the network, as the host's detection finds it in the file.
        enlarged: factor by which the digit is enlarged first; the transformer needs more than one patch.
        block: side of the block of pixels that is then folded into channels; 0 where the latents are no digits.
        conditioning: length of the token that names the class.
        pooled: whether the host wants the class as pooled output too.
    """

    name: str
    family: str
    kind: str
    config: dict
    conditioning: int
    block: int = 0
    enlarged: int = 1
    pooled: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Latent shape of an item."""
        side = 8 * self.enlarged // self.block
        return (self.block**2, side, side)

    @property
    def file(self) -> Path:
        return WEIGHTS / f"digits_{self.name}.safetensors"


_SD3 = {
    "in_channels": 16,
    "out_channels": 16,
    "patch_size": 2,
    "depth": 1,
    "input_size": None,
    "adm_in_channels": 16,
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": 16, "out_features": 64}},
    "num_patches": 16,
    "pos_embed_max_size": 4,
    "pos_embed_scaling_factor": None,
    "qk_norm": "rms",
    "x_block_self_attn_layers": [],
}
_UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 0],
    "transformer_depth_output": [1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": 32,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "use_temporal_attention": False,
    "adm_in_channels": None,
    "legacy": False,
    "image_size": 32,
}
_WAN = {
    "image_model": "wan2.1",
    "model_type": "t2v",
    "dim": 128,
    "num_heads": 1,
    "ffn_dim": 256,
    "num_layers": 1,
    "patch_size": (1, 2, 2),
    "freq_dim": 256,
    "window_size": (-1, -1),
    "qk_norm": True,
    "cross_attn_norm": True,
    "eps": 1e-6,
}

NETWORKS = {
    "sd3": Network("sd3", "SD3", "flow", _SD3, conditioning=16, block=4, enlarged=2, pooled=True),
    "unet": Network("unet", "SD15", "eps", _UNET, conditioning=32, block=2),
    "wan": Network("wan", "WAN21_T2V", "flow", _WAN, conditioning=4096),
}


def build(network: Network, seed: int = 0):
    """A BaseModel of the host with freshly initialised weights; the host leaves them as memory happened to be."""
    import comfy.supported_models

    family = getattr(comfy.supported_models, network.family)
    # the table of families knows the full size only; the class below it takes every size
    config = type(f"Tiny{network.family}", (family,), {})(network.config)
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({})
    _initialise(model.diffusion_model, seed)
    return model


def _initialise(module: torch.nn.Module, seed: int) -> None:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.normal_()  # whatever no rule below covers: positions, modulations
        for part in module.modules():
            if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Conv3d)):
                # torch's rule by its name: the host's subclasses switch it off
                base = next(c for c in (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Conv3d) if isinstance(part, c))
                base.reset_parameters(part)
            elif "Norm" in type(part).__name__ and getattr(part, "weight", None) is not None:
                part.weight.fill_(1.0)
                if getattr(part, "bias", None) is not None:
                    part.bias.zero_()


def state_dict(model) -> dict[str, torch.Tensor]:
    """The network's weights under the names checkpoints have, in half precision."""
    weights = model.diffusion_model.state_dict()
    return {PREFIX + name: tensor.half().contiguous() for name, tensor in weights.items()}


def load(name: str):
    """A MODEL (a ModelPatcher): by the host's loader where that recognises the network, else by what it does after that.

    Wan gets random weights, always the same.
    """
    import comfy.model_management
    import comfy.model_patcher
    import comfy.sd
    import safetensors.torch

    network = NETWORKS[name]
    weights = state_dict(build(network)) if name == "wan" else safetensors.torch.load_file(network.file)
    if name != "unet":
        return comfy.sd.load_diffusion_model_state_dict(weights)
    model = build(network)
    model.load_model_weights(weights, PREFIX)
    devices = {"load_device": comfy.model_management.get_torch_device(), "offload_device": torch.device("cpu")}
    return comfy.model_patcher.ModelPatcher(model.eval(), **devices)


def conditioning(network: Network, classes: list[int] | torch.Tensor) -> list:
    """CONDITIONING of one class an item; NO_CLASS for none."""
    token = torch.nn.functional.one_hot(torch.as_tensor(classes), network.conditioning).float()
    return [[token[:, None, :], {"pooled_output": token} if network.pooled else {}]]


def to_latent(images: torch.Tensor, network: Network) -> torch.Tensor:
    """(batch, 64) pixels in [-1, 1] to latents as the network sees them."""
    images = torch.nn.functional.interpolate(images.reshape(-1, 1, 8, 8), scale_factor=network.enlarged, mode="bilinear")
    return torch.nn.functional.pixel_unshuffle(images, network.block)
