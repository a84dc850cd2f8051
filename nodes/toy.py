"""Nodes for trying things out: exact models of emoji and of handwritten digits that need no download."""

from collections.abc import Callable
from typing import NamedTuple

import comfy.model_management
import torch
from comfy_api.v0_0_2 import io

from ..embedded import digits, emoji
from ..embedded.mixture import GaussianMixture
from .inputs import checked, choice_input, dynamic_input, float_input, schema
from .toy_model import KINDS, mixture_model

_CATEGORY = "RES/toy models"
_ANY = "any"
_ALIASES = "res, toy, emoji, digits, example, test, exact"
_FRAME = 0.5  # grey between the items of a picture
_GLOW = (0.6, 1.1, 2.5)  # exponents of red, green and blue, which show one channel from black over amber to white
MAX_PIXELS = 2**26  # pixels of a picture, 800 MB


class _Data(NamedTuple):
    shape: tuple[int, int, int]  # channels, height, width
    classes: tuple[str, ...]
    mixture: Callable[[float], GaussianMixture]  # of a width


_DATA = {
    "emoji": _Data(emoji.SHAPE, emoji.CLASSES, emoji.emoji),
    "digits": _Data(digits.SHAPE, tuple(map(str, range(digits.CLASSES))), digits.digits),
}


class ToyModel(io.ComfyNode):
    """Emoji or digits as a MODEL."""

    @classmethod
    def define_schema(cls):
        shift = float_input("shift", 3.0, 0.01, 100.0, 0.01, "Timestep shift, as in ModelSamplingSD3.")
        return schema(
            node_id="RESToyModel",
            display_name="Toy Model",
            category=_CATEGORY,
            description="The exact denoiser of 512 emoji in colour, or of 1,797 handwritten digits, as a model of any kind. It "
            "needs no download, a call takes milliseconds, and every error in a picture is the sampler's.",
            aliases=f"{_ALIASES}, model, gaussian mixture",
            inputs=[
                choice_input("data", _DATA),
                dynamic_input("kind", {kind: [shift] if kind == "flow" else [] for kind in KINDS}),
                float_input("width", emoji.DEFAULT_WIDTH, 0.01, 1.0, 0.01),
            ],
            outputs=[io.Model.Output()],
            tooltips={
                "data": "What the model draws: emoji of 32x32 pixels in colour, or digits of 8x8 pixels in grey.",
                "kind": "The kind of model: eps like SD1.5 and SDXL, v like SD2 and v-prediction fine-tunes, edm like EDM "
                "models, flow like SD3, Flux and Wan.",
                "width": "Standard deviation of the noise around each picture; pixels run from -1 to 1. A small width gives "
                "crisp pictures, a large one gives grainy pictures.",
            },
        )

    @classmethod
    @checked
    def execute(cls, data, kind, width) -> io.NodeOutput:
        chosen = _DATA[data]
        return io.NodeOutput(mixture_model(chosen.mixture(width), kind["kind"], kind.get("shift", 1.0), chosen.shape[0]))


class ToyCondition(io.ComfyNode):
    """A class of the data as CONDITIONING."""

    @classmethod
    def define_schema(cls):
        classes = {name: [choice_input("class", [_ANY, *data.classes])] for name, data in _DATA.items()}
        return schema(
            node_id="RESToyCondition",
            display_name="Toy Condition",
            category=_CATEGORY,
            description="Conditioning for Toy Model: one class of its pictures, or any. For CFG, use a class as positive and any "
            "as negative. Digits Process Model and the embedded CLD model take the classes of the digits.",
            aliases=f"{_ALIASES}, conditioning, prompt, class",
            inputs=[dynamic_input("data", classes)],
            outputs=[io.Conditioning.Output()],
            tooltips={"data": "The data of the model.", "class": "The class of pictures to draw, or any."},
        )

    @classmethod
    @checked
    def execute(cls, data) -> io.NodeOutput:
        classes = _DATA[data["data"]].classes
        chosen = [data["class"] in (_ANY, name) for name in classes]
        return io.NodeOutput([[torch.tensor(chosen, dtype=torch.float32)[None, None], {}]])


class ToyLatent(io.ComfyNode):
    """An empty LATENT for a toy model."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESToyLatent",
            display_name="Toy Latent",
            category=_CATEGORY,
            description="Empty latents of the size that Toy Model works on: three channels of 32x32 for emoji, one channel of "
            "8x8 for digits.",
            aliases=f"{_ALIASES}, empty latent",
            inputs=[
                choice_input("data", _DATA, tooltip="The data of the model."),
                io.Int.Input("batch_size", default=16, min=1, max=4096, tooltip="How many pictures to sample at once."),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    @checked
    def execute(cls, data, batch_size) -> io.NodeOutput:
        device = comfy.model_management.intermediate_device()
        return io.NodeOutput({"samples": torch.zeros(batch_size, *_DATA[data].shape, device=device)})


class ToyDecode(io.ComfyNode):
    """Latents of a toy model as a picture."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESToyDecode",
            display_name="Toy Decode",
            category=_CATEGORY,
            description="Shows the latents of Toy Model as one image: a grid of enlarged emoji or digits.",
            aliases=f"{_ALIASES}, vae decode, image",
            inputs=[
                io.Latent.Input("samples", tooltip="Latents of Toy Model. Their shape determines the data."),
                io.Int.Input("columns", default=8, min=1, max=64, tooltip="Number of pictures in a row."),
                io.Int.Input("size", default=128, min=8, max=1024, step=8),
            ],
            outputs=[io.Image.Output()],
            tooltips={
                "size": "Width of each picture in the image, in pixels. Every latent pixel becomes a square, so the size is "
                "rounded down to a multiple of 32 for emoji and of 8 for digits."
            },
        )

    @classmethod
    @checked
    def execute(cls, samples, columns, size) -> io.NodeOutput:
        latents = samples["samples"]
        nested = getattr(latents, "is_nested", False)
        if nested or tuple(latents.shape[1:]) not in [data.shape for data in _DATA.values()]:
            shapes = " or ".join(f"(batch, {', '.join(map(str, data.shape))}) for {name}" for name, data in _DATA.items())
            got = "a nested latent" if nested else tuple(latents.shape)
            raise ValueError(f"samples must have the shape {shapes}, got {got}. Use VAE Decode for other models.")
        return io.NodeOutput(picture_grid(latents, columns, size))


def picture_grid(latents: torch.Tensor, columns: int, size: int) -> torch.Tensor:
    """(batch, 1 or 3, h, w) in [-1, 1] -> (1, height, width, 3) in [0, 1]: tiles in a frame one latent pixel wide."""
    rows, scale = -(-len(latents) // columns), max(1, size // latents.shape[-1])
    height, width = (((n + 1) * count + 1) * scale for n, count in zip(latents.shape[2:], (rows, columns)))
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"size is {size}, and columns {columns}: an image of {len(latents)} pictures would have {width} x {height} "
            f"pixels, more than {MAX_PIXELS}. Choose a smaller size."
        )
    shares = (latents.float().cpu() / 2.0 + 0.5).clamp(0.0, 1.0)
    colours = shares if latents.shape[1] == 3 else shares ** torch.tensor(_GLOW).reshape(3, 1, 1)
    tiles = torch.nn.functional.pad(colours, (0, 1, 0, 1), value=_FRAME)
    missing = torch.full((rows * columns - len(tiles), *tiles.shape[1:]), _FRAME)
    grid = torch.cat([tiles, missing]).unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2)  # rows, h, columns, w, colours
    image = torch.nn.functional.pad(grid.flatten(2, 3).flatten(0, 1), (0, 0, 1, 0, 1, 0), value=_FRAME)
    return image.repeat_interleave(scale, dim=0).repeat_interleave(scale, dim=1)[None]
