"""Nodes for trying things out: exact models of handwritten digits that need no download."""

import comfy.model_management
import torch
from comfy_api.v0_0_2 import io

from ..embedded import digits
from ..samplers.gddim.blurring import Blurring
from ..samplers.gddim.cld import CLD
from ..samplers.gddim.linear_sde import KINDS as PROCESS_KINDS
from .digits_model import KINDS, mixture_model
from .inputs import check_choice, number
from .process_model import mixture_process_model

_CATEGORY = "RES/digits (for trying out)"
_ANY = "any digit"
_DIGITS = (_ANY, *map(str, range(digits.CLASSES)))
_ALIASES = ["res", "digits", "example", "test", "exact"]
_FRAME = 0.25  # grey between the digits of a picture
MAX_PIXELS = 2**26  # of a picture: 800 MB


class DigitsModel(io.ComfyNode):
    """The digits as a MODEL."""

    @classmethod
    def define_schema(cls):
        shift = number("shift", 3.0, 0.01, 100.0, 0.01, "Timestep shift, as in ModelSamplingSD3.")
        return io.Schema(
            node_id="RESDigitsModel",
            display_name="Digits Model",
            category=_CATEGORY,
            description="The exact denoiser of 1,797 handwritten digits of 8x8 pixels, as a model of any kind. Nothing to "
            "download, milliseconds a call, and every error in a picture is the sampler's: made for trying out "
            "samplers and schedules.",
            search_aliases=[*_ALIASES, "model", "gaussian mixture"],
            inputs=[
                io.DynamicCombo.Input(
                    "kind",
                    options=[io.DynamicCombo.Option(kind, [shift] if kind == "flow" else []) for kind in KINDS],
                    tooltip="The kind of model: eps like SD1.5 and SDXL, v like SD2 and v-prediction fine-tunes, edm like EDM "
                    "models, flow like SD3, Flux and Wan.",
                ),
                _width_input(
                    "Standard deviation of the blur around each digit; pixels run from -1 to 1. Small widths are hard for "
                    "samplers, large ones easy."
                ),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, kind, width) -> io.NodeOutput:
        """A MODEL for latents of shape (batch, 1, 8, 8); `kind` holds the choice and a flow model's shift."""
        return io.NodeOutput(mixture_model(digits.digits(width), kind["kind"], kind.get("shift", 1.0)))


class DigitsProcessModel(io.ComfyNode):
    """The digits under a process, as a MODEL."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RESDigitsProcessModel",
            display_name="Digits Process Model",
            category=_CATEGORY,
            description="The exact eps of the handwritten digits under critically-damped Langevin or blurring diffusion, as a "
            "MODEL for gDDIM Sample: no weights, and every error in a picture is the sampler's.",
            search_aliases=[*_ALIASES, "gddim", "cld", "langevin", "blurring"],
            inputs=[
                io.DynamicCombo.Input(
                    "process",
                    options=[
                        io.DynamicCombo.Option("CLD", [_kind_input()]),
                        io.DynamicCombo.Option("blurring", [_blur_input()]),
                    ],
                    tooltip="CLD: every pixel has a velocity, and noise reaches it through that alone. blurring: an image is "
                    "blurred while noise is added.",
                ),
                _width_input("As in Digits Model: standard deviation of the blur around each digit."),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, process, width) -> io.NodeOutput:
        """A MODEL for latents of shape (batch, 1, 8, 8); `process` holds the choice and its parameters."""
        mixture = digits.digits(width)
        if process["process"] == "CLD":
            return io.NodeOutput(mixture_process_model(CLD(), mixture, digits.SHAPE, process["kind"]))
        return io.NodeOutput(mixture_process_model(Blurring(*digits.SHAPE[1:], blur=process["blur"]), mixture, digits.SHAPE))


class DigitsCondition(io.ComfyNode):
    """A class of digits as CONDITIONING."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RESDigitsCondition",
            display_name="Digits Condition",
            category=_CATEGORY,
            description="Conditioning for Digits Model: one digit, or any. Use a digit as positive and any as negative for CFG.",
            search_aliases=[*_ALIASES, "conditioning", "prompt", "class"],
            inputs=[
                io.Combo.Input(
                    "digit",
                    options=list(_DIGITS),
                    default=_ANY,
                    tooltip="Which digit to draw.",
                )
            ],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, digit) -> io.NodeOutput:
        """CONDITIONING with the weights of the ten classes, shape (1, 1, 10)."""
        check_choice("digit", digit, _DIGITS)
        weights = torch.ones(1, 1, digits.CLASSES)
        if digit != _ANY:
            weights = torch.zeros_like(weights)
            weights[..., int(digit)] = 1.0
        return io.NodeOutput([[weights, {}]])


class DigitsLatent(io.ComfyNode):
    """An empty LATENT for the digits."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RESDigitsLatent",
            display_name="Digits Latent",
            category=_CATEGORY,
            description="Empty latents of the size Digits Model works on: one channel, 8x8.",
            search_aliases=[*_ALIASES, "empty latent"],
            inputs=[io.Int.Input("batch_size", default=16, min=1, max=4096, tooltip="How many digits to sample at once.")],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(cls, batch_size) -> io.NodeOutput:
        """LATENT of zeros, shape (batch_size, 1, 8, 8)."""
        device = comfy.model_management.intermediate_device()
        return io.NodeOutput({"samples": torch.zeros(batch_size, *digits.SHAPE, device=device)})


class DigitsDecode(io.ComfyNode):
    """Digits as a picture."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RESDigitsDecode",
            display_name="Digits Decode",
            category=_CATEGORY,
            description="Shows digits latents as one image: a grid of enlarged digits.",
            search_aliases=[*_ALIASES, "vae decode", "image"],
            inputs=[
                io.Latent.Input("samples", tooltip="Latents of Digits Model."),
                io.Int.Input("columns", default=8, min=1, max=64, tooltip="Digits in a row."),
                io.Int.Input("scale", default=12, min=1, max=64, tooltip="Pixels of the image for one pixel of a digit."),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, samples, columns, scale) -> io.NodeOutput:
        """IMAGE of shape (1, (9 rows + 1) scale, (9 columns + 1) scale, 3)."""
        latents = samples["samples"]
        if tuple(latents.shape[1:]) != digits.SHAPE:
            raise ValueError(
                f"samples must have the shape (batch, 1, 8, 8) of Digits Model, got {tuple(latents.shape)}. "
                "Use VAE Decode for other models."
            )
        return io.NodeOutput(digit_grid(latents, columns, scale))


def digit_grid(latents: torch.Tensor, columns: int, scale: int) -> torch.Tensor:
    """(batch, 1, 8, 8) in [-1, 1] -> (1, height, width, 3) in [0, 1], tiles set in a frame one pixel wide."""
    rows = -(-len(latents) // columns)
    width, height = ((9 * count + 1) * scale for count in (columns, rows))
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"scale is {scale}, and columns {columns}: a picture of {len(latents)} digits would have {width} x {height} pixels, "
            f"more than {MAX_PIXELS}. Take a smaller scale."
        )
    tiles = torch.nn.functional.pad((latents[:, 0].float().cpu() / 2.0 + 0.5).clamp(0.0, 1.0), (0, 1, 0, 1), value=_FRAME)
    missing = torch.full((rows * columns - len(tiles), *tiles.shape[1:]), _FRAME)
    height, width = tiles.shape[1:]
    tiles = torch.cat([tiles, missing]).reshape(rows, columns, height, width)
    image = tiles.transpose(1, 2).reshape(rows * height, columns * width)
    image = torch.nn.functional.pad(image, (1, 0, 1, 0), value=_FRAME)
    image = image.repeat_interleave(scale, dim=0).repeat_interleave(scale, dim=1)
    return image[None, :, :, None].repeat(1, 1, 1, 3)


def _width_input(tooltip: str):
    return number("width", digits.DEFAULT_WIDTH, 0.01, 1.0, 0.01, tooltip)


def _kind_input():
    return io.Combo.Input(
        "kind",
        options=list(PROCESS_KINDS),
        default="R",
        tooltip="Which eps the model gives: R_t's, which hardly changes along a sample's path and is what gDDIM is about, or "
        "that of the Cholesky factor L_t, for comparison.",
        advanced=True,
    )


def _blur_input():
    return number("blur", 10.0, 0.0, 100.0, 0.5, "Strength of the blur at t = 1, in pixels. 0: no blur, a VP process.")
