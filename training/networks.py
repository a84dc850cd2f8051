"""Networks of ComfyUI's own architectures, small enough to train and to sample on a CPU in minutes.

emoji_sd          Stable Diffusion 1.5's UNet with 64 channels, eps on the noise levels of Stable Diffusion
emoji_ddpm        the same UNet, eps on the noise levels of DDPM (linear betas), whose largest sigma is 157
emoji_ddpm_early  the same after a twentieth of its training: a network that is worse
emoji_flow        the same UNet, flow
sd3               Stable Diffusion 3's transformer, depth 1, flow, on digits; ComfyUI's own loader nodes load its file
unet              Stable Diffusion 1.5's UNet with 32 channels, eps, on digits
wan               Wan 2.1's video transformer of width 128 with random weights, flow; for tests of shapes and calls

A picture becomes a latent by folding blocks of pixels into channels. Conditioning is one token that names the class; SD3 takes
it as pooled output too. The class after the last one stands for "no class" and was trained together with the others, so CFG is
real.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from embedded import digits, emoji
from embedded.mixture import GaussianMixture

WEIGHTS = Path(__file__).with_name("weights")
PREFIX = "model.diffusion_model."
NO_CLASS = digits.CLASSES


@dataclass(frozen=True)
class Data:
    """Pictures to learn.

    Attributes:
        shape: (channels, height, width) of a picture.
        classes: how many there are.
        mixture: function that gives the mixture centred on the pictures, scaled to [-1, 1].
    """

    shape: tuple[int, int, int]
    classes: int
    mixture: Callable[[], GaussianMixture]


DIGITS = Data(digits.SHAPE, digits.CLASSES, digits.digits)
EMOJI = Data(emoji.SHAPE, len(emoji.CLASSES), emoji.emoji)


@dataclass(frozen=True)
class Network:
    """What training and sampling need to know of a network.

    Attributes:
        name: name of its file in weights/.
        family: class of comfy.supported_models.
        kind: "flow" or "eps".
        config: configuration of the network, as ComfyUI's detection finds it in the file.
        conditioning: length of the token that names the class.
        data: the pictures it learns.
        block: side of the block of pixels that is folded into channels; 0 where the latents are no pictures.
        enlarged: factor by which the picture is enlarged first; the transformer needs more than one patch.
        pooled: whether ComfyUI wants the class as pooled output too.
        folded: whether its latents have a format of their own, with `shape` and without a scale; else the family's.
        settings: settings of ComfyUI's model sampling, like `sampling_settings` of the family.
    """

    name: str
    family: str
    kind: str
    config: dict
    conditioning: int
    data: Data = DIGITS
    block: int = 0
    enlarged: int = 1
    pooled: bool = False
    folded: bool = False
    settings: dict = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Latent shape of an item."""
        channels, height, width = self.data.shape
        side = self.enlarged / self.block
        return (channels * self.block**2, int(height * side), int(width * side))

    @property
    def no_class(self) -> int:
        """The index that stands for no class."""
        return self.data.classes

    @property
    def file(self) -> Path:
        return WEIGHTS / f"{self.name}.safetensors"


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

# 64 channels, not 32: the 32 groups of a group norm would have a channel each and hide the mean of every channel
_EMOJI_UNET = _UNET | {
    "in_channels": 12,
    "out_channels": 12,
    "model_channels": 64,
    "num_res_blocks": [0, 1],
    "channel_mult": [1, 1],
    "transformer_depth": [0],
    "transformer_depth_output": [0, 0, 0],
    "context_dim": 16,
}
# ComfyUI's "sqrt_linear" are betas that rise linearly; its default is Stable Diffusion's, whose roots rise linearly
_DDPM_BETAS = {"beta_schedule": "sqrt_linear", "linear_start": 1e-4, "linear_end": 0.02}


def _emoji(name: str, kind: str = "eps", **settings) -> Network:
    form = {"conditioning": 16, "data": EMOJI, "block": 2, "folded": True}
    return Network(name, "SD15", kind, _EMOJI_UNET, settings=settings, **form)


NETWORKS = {
    "emoji_sd": _emoji("emoji_sd"),
    "emoji_ddpm": _emoji("emoji_ddpm", **_DDPM_BETAS),
    "emoji_ddpm_early": _emoji("emoji_ddpm_early", **_DDPM_BETAS),
    "emoji_flow": _emoji("emoji_flow", "flow"),
    "sd3": Network("digits_sd3", "SD3", "flow", _SD3, conditioning=16, block=4, enlarged=2, pooled=True),
    "unet": Network("digits_unet", "SD15", "eps", _UNET, conditioning=32, block=2),
    "wan": Network("wan", "WAN21_T2V", "flow", _WAN, conditioning=4096),
}


def build(network: Network, seed: int = 0):
    """A BaseModel of ComfyUI with freshly initialised weights; ComfyUI leaves them as memory happened to be."""
    import comfy.supported_models

    family = getattr(comfy.supported_models, network.family)
    # the table of families knows the full size only; the class below it takes every size
    config = type(f"Tiny{network.family}", (family,), _differences(network))(network.config)
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({})
    _initialise(model.diffusion_model, seed)
    return model


def _differences(network: Network) -> dict:
    """Attributes of a network's class that its family does not have."""
    import comfy.latent_formats
    import comfy.model_base

    if not network.folded:
        return {}
    kinds = {"eps": comfy.model_base.ModelType.EPS, "flow": comfy.model_base.ModelType.FLOW}
    numbers = {"latent_channels": network.shape[0], "spacial_downscale_ratio": network.block}
    return {
        "latent_format": type("Folded", (comfy.latent_formats.LatentFormat,), numbers),
        "sampling_settings": network.settings,
        "model_type": lambda self, state_dict, prefix="": kinds[network.kind],
        "inpaint_model": lambda self: False,  # Stable Diffusion's with more than four channels are
    }


def _initialise(module: torch.nn.Module, seed: int) -> None:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.normal_()  # everything that no rule below covers: positions, modulations
        for part in module.modules():
            if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Conv3d)):
                # torch's rule by its name: the host's subclasses switch it off
                base = next(c for c in (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Conv3d) if isinstance(part, c))
                base.reset_parameters(part)
            elif "Norm" in type(part).__name__ and getattr(part, "weight", None) is not None:
                part.weight.fill_(1.0)
                if getattr(part, "bias", None) is not None:
                    part.bias.zero_()
        for part in module.modules():  # a residual block of the UNet begins as the identity
            last = {"ResBlock": "out_layers.3", "SpatialTransformer": "proj_out", "UNetModel": "out.2"}.get(type(part).__name__)
            if last:
                for tensor in part.get_submodule(last).parameters():
                    tensor.zero_()


def state_dict(model) -> dict[str, torch.Tensor]:
    """The network's weights under the names checkpoints have, in half precision."""
    weights = model.diffusion_model.state_dict()
    return {PREFIX + name: tensor.half().contiguous() for name, tensor in weights.items()}


def load(name: str):
    """A MODEL (a ModelPatcher): by ComfyUI's loader where that recognises the network, else by what it does after that.

    Wan gets random weights, always the same.

    Args:
        name: key of NETWORKS.

    Raises:
        ValueError: another name, or a file that is missing or holds another network; the message says how to train it.
    """
    import comfy.model_management
    import comfy.model_patcher
    import comfy.sd

    if name not in NETWORKS:
        raise ValueError(f"The network must be one of {', '.join(NETWORKS)}, got {name!r}.")
    network = NETWORKS[name]
    if name == "wan":
        return comfy.sd.load_diffusion_model_state_dict(state_dict(build(network)))
    model = build(network)
    weights = read(network.file, model)
    if name == "sd3":
        return comfy.sd.load_diffusion_model_state_dict(weights)
    model.load_model_weights(weights, PREFIX)
    devices = {"load_device": comfy.model_management.get_torch_device(), "offload_device": torch.device("cpu")}
    return comfy.model_patcher.ModelPatcher(model.eval(), **devices)


def read(file: Path, model) -> dict[str, torch.Tensor]:
    """The weights of a file for a BaseModel, under the names that checkpoints have.

    Raises:
        ValueError: the file is missing or not a safetensors file, or holds another network than the model.
    """
    import safetensors
    import safetensors.torch

    remedy = "`git checkout` it, or train it: `python -m training` lists the commands."
    try:
        weights = safetensors.torch.load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(f"The weights {file} cannot be read ({error}). Get the file with {remedy}") from error
    expected = {PREFIX + name: tensor.shape for name, tensor in model.diffusion_model.state_dict().items()}
    result = {name: tensor.shape for name, tensor in weights.items()}
    different = sorted(name for name in expected.keys() | result.keys() if expected.get(name) != result.get(name))
    if different:
        first, shapes = different[0], [tuple(side[different[0]]) if different[0] in side else None for side in (result, expected)]
        raise ValueError(
            f"The weights {file} are of another architecture: {len(different)} tensors differ, first {first}, "
            f"which has the shape {shapes[0]}, not {shapes[1]}. Get the file with {remedy}"
        )
    return weights


def conditioning(network: Network, classes: list[int] | torch.Tensor) -> list:
    """CONDITIONING with one class per item; `network.no_class` stands for none.

    Raises:
        ValueError: a class below 0 or above `network.no_class`.
    """
    classes = torch.as_tensor(classes)
    if int(classes.min()) < 0 or int(classes.max()) > network.no_class:
        raise ValueError(f"Classes must be between 0 and {network.no_class}, which is no class; got {classes.tolist()}.")
    token = torch.nn.functional.one_hot(classes.long(), network.conditioning).float()
    return [[token[:, None, :], {"pooled_output": token} if network.pooled else {}]]


def to_latent(pictures: torch.Tensor, network: Network) -> torch.Tensor:
    """Pictures in [-1, 1], (batch, values) or (batch, channels, height, width), to latents as the network sees them."""
    pictures = pictures.reshape(-1, *network.data.shape)
    if network.enlarged > 1:
        pictures = torch.nn.functional.interpolate(pictures, scale_factor=network.enlarged, mode="bilinear")
    return torch.nn.functional.pixel_unshuffle(pictures, network.block)


def to_pictures(latents: torch.Tensor, network: Network) -> torch.Tensor:
    """Latents to pictures (batch, channels, height, width) in [-1, 1], which stay enlarged."""
    return torch.nn.functional.pixel_shuffle(latents, network.block)
