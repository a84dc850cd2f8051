"""Nodes for models whose noise is not the same in every direction: critically-damped Langevin and blurring diffusion."""

import folder_paths
import torch
from comfy_api.v0_0_2 import io
from comfy_extras.nodes_custom_sampler import SamplerCustom

from ...embedded import cld_checkpoint, digits
from ...samplers.processes.blurring import Blurring
from ...samplers.processes.cld import CLD
from ...samplers.processes.linear_sde import KINDS
from ...samplers.processes.process_times import time_grid
from ...samplers.schedules import denoise_tail
from ..inputs import checked, choice_input, denoise_input, dynamic_input, float_input, schema, seed_input, steps_input
from ..samplers import mode_input, sampler_of
from .process_model import ProcessMixtureNet, ProcessSampling, check_unpatched, process_model

_CATEGORY = "RES/gDDIM"
_FOLDER = "diffusion_models"
_EMBEDDED = "digits (embedded)"
MOST_STEPS = 2000


def process_sampling_of(model) -> ProcessSampling:
    """The model_sampling of a MODEL of CLD or blurring diffusion; a ValueError for another MODEL."""
    sampling = model.get_model_object("model_sampling")
    check_unpatched(model.model, sampling)
    if not isinstance(sampling, ProcessSampling):
        raise ValueError(
            f"model is a {type(model.model).__name__}, not a model of CLD or blurring diffusion. Use Load CLD Model or Digits "
            "Process Model; for other models take exp_gddim in KSampler, or the gDDIM node."
        )
    return sampling


class RESGDDIMTimes(io.ComfyNode):
    """Times for gDDIM on a process."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESGDDIMTimes",
            display_name="gDDIM Times",
            category=_CATEGORY,
            description="SIGMAS for models of CLD and blurring diffusion: times t that are uniform in t^(1/power), with 0 at "
            "the end.",
            aliases="res, gddim, cld, blurring, scheduler, sigmas",
            inputs=[
                io.Model.Input("model", tooltip="A model of CLD or blurring diffusion."),
                steps_input(MOST_STEPS),
                denoise_input(),
                float_input("power", 2.0, 0.1, 20.0, 0.1, advanced=True),
                float_input("t_min", 0.0, 0.0, 0.5, 0.0001, advanced=True),
            ],
            outputs=[io.Sigmas.Output()],
            tooltips={
                "steps": f"Number of steps, at most {MOST_STEPS}, because more steps make no visible difference. Each step makes "
                "one model call, or two with the corrector PECE.",
                "power": "2 is the paper's grid. Larger values take more of the steps near the image. 1 is uniform in t.",
                "t_min": "The last time above 0. The value 0 selects the default of the process: 0.001 for CLD and 0.00001 for "
                "blurring diffusion.",
            },
        )

    @classmethod
    @checked
    def execute(cls, model, steps, denoise, power, t_min) -> io.NodeOutput:
        sde = process_sampling_of(model).sde
        return io.NodeOutput(
            denoise_tail(lambda n: torch.tensor(time_grid(sde, n, power, t_min or None)).float(), steps, denoise)
        )


class RESGDDIMSample(io.ComfyNode):
    """Samples models of a process with gDDIM."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESGDDIMSample",
            display_name="gDDIM Sample",
            category=_CATEGORY,
            description="Samples a model of CLD or blurring diffusion with gDDIM, from an ordinary latent to an ordinary "
            "latent. Extra state such as CLD's velocity is drawn from its prior by the seed, item by item. The samplers "
            "exp_gddim, exp_gddim_sde and several RES samplers do the same in KSampler.",
            aliases="res, gddim, cld, langevin, blurring, sampler",
            inputs=[
                io.Model.Input("model", tooltip="A model of CLD or blurring diffusion."),
                seed_input("noise_seed", "Seed for all noise, including the initial velocity.", change=True),
                io.Float.Input("cfg", default=1.0, min=0.0, max=100.0, step=0.1, round=0.01),
                io.Conditioning.Input("positive", tooltip="Same as in KSampler."),
                io.Conditioning.Input("negative", tooltip="Same as in KSampler; unused if cfg is 1."),
                io.Sigmas.Input("sigmas", tooltip="Times from gDDIM Times."),
                io.Latent.Input("latent_image"),
                mode_input("On CLD, PEC diverges below about 40 calls, and with degree 3 also above; none is stable."),
            ],
            outputs=[io.Latent.Output(tooltip="The data, without the velocity.")],
            tooltips={
                "cfg": "Guidance scale; 1 means no guidance.",
                "latent_image": "An empty latent, or the latent to start from if sigmas begin at a later time.",
            },
        )

    @classmethod
    @checked
    def execute(cls, model, noise_seed, cfg, positive, negative, sigmas, latent_image, mode) -> io.NodeOutput:
        process_sampling_of(model)
        done = SamplerCustom.execute(model, True, noise_seed, cfg, positive, negative, sampler_of(mode), sigmas, latent_image)
        return io.NodeOutput(done.result[0])


class RESLoadCLD(io.ComfyNode):
    """Loads a network for CLD from a file."""

    @classmethod
    def define_schema(cls):
        files = [name for name in folder_paths.get_filename_list(_FOLDER) if name.endswith(".safetensors")]
        return schema(
            node_id="RESLoadCLD",
            display_name="Load CLD Model",
            category=_CATEGORY,
            description="A score network of critically-damped Langevin diffusion as a MODEL for gDDIM Sample: the network of the "
            "digits that comes with the pack, or a file from models/diffusion_models. The file's metadata must name its process.",
            aliases="res, gddim, cld, langevin, checkpoint",
            inputs=[choice_input("file", [_EMBEDDED, *files])],
            outputs=[io.Model.Output()],
            tooltips={
                "file": "digits (embedded) comes with the pack. The other files are those in models/diffusion_models; "
                "training/cld_training.py of the pack's repository writes such files."
            },
        )

    @classmethod
    @checked
    def execute(cls, file) -> io.NodeOutput:
        if file == _EMBEDDED:
            sde, kind, network = cld_checkpoint.embedded(CLD)
        else:
            sde, kind, network = cld_checkpoint.load(folder_paths.get_full_path_or_raise(_FOLDER, file), CLD)
        shape = (network.channels, network.height, network.width)
        return io.NodeOutput(process_model(sde, kind, shape, network))


class DigitsProcessModel(io.ComfyNode):
    """The digits under a process, as a MODEL."""

    @classmethod
    def define_schema(cls):
        processes = {
            "CLD": [choice_input("kind", KINDS, advanced=True)],
            "blurring": [float_input("blur", 10.0, 0.0, 100.0, 0.5)],
        }
        return schema(
            node_id="RESDigitsProcessModel",
            display_name="Digits Process Model",
            category="RES/toy models",
            description="The exact eps of the handwritten digits under critically-damped Langevin or blurring diffusion, as a "
            "MODEL for gDDIM Sample. It has no weights, and every error in a picture is the sampler's.",
            aliases="res, toy, digits, example, test, exact, gddim, cld, langevin, blurring",
            inputs=[dynamic_input("process", processes), float_input("width", digits.DEFAULT_WIDTH, 0.01, 1.0, 0.01)],
            outputs=[io.Model.Output()],
            tooltips={
                "process": "CLD: every pixel has a velocity, and noise reaches the pixel only through its velocity. blurring: "
                "the image is blurred while noise is added.",
                "kind": "Which eps the model gives. R: the eps of R_t, which hardly changes along a sample's path and is the "
                "idea of gDDIM. L: the eps of the Cholesky factor L_t, for comparison.",
                "blur": "Strength of the blur at t = 1, in pixels. 0 means no blur, which is a VP process.",
                "width": "Standard deviation of the noise around each digit; pixels run from -1 to 1.",
            },
        )

    @classmethod
    @checked
    def execute(cls, process, width) -> io.NodeOutput:
        shape, kind = digits.SHAPE, process.get("kind", "R")
        sde = CLD() if process["process"] == "CLD" else Blurring(*shape[1:], blur=process["blur"])
        return io.NodeOutput(process_model(sde, kind, shape, ProcessMixtureNet(sde, digits.digits(width), kind, shape)))
