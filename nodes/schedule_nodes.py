"""Nodes that build SIGMAS for a model."""

import json

from comfy_api.v0_0_2 import io

from ..samplers.curve import STRAIGHT, read_curve
from ..samplers.model_kinds import edm, flow, stable_diffusion
from ..samplers.schedules import DIRECTIONS, FLOW_STRETCH, VE_STRETCH, SigmaRange, denoise_tail, directed, logsnr_grid
from ..samplers.spacings import SPACINGS
from ..samplers.time_maps import FLOW, VE, TimeMap
from .host import sigma_range, time_map
from .inputs import checked, choice_input, denoise_input, dynamic_input, float_input, schema, steps_input

# kinds of models for which SIGMAS can be built without a connected model
NONE, SD, EDM, FLOWS = "none", "SD, SDXL", "EDM", "flow"
_KINDS = {
    SD: lambda: (VE, stable_diffusion()),
    EDM: lambda sigma_min, sigma_max: (VE, edm(sigma_min, sigma_max)),
    FLOWS: lambda shift: (FLOW, flow(shift)),
}
# what prompts saved before an input existed lack
_DEFAULTS = {"direction": DIRECTIONS[0], "composition": 0.5, "range": None, "follow_shift": True}
# parameter of a spacing -> its step in the widget
_STEPS = {"rho": 0.1, "turn": 0.1}


def kind_and_range(without_model: dict | None) -> tuple[TimeMap, SigmaRange]:
    """Kind and range for a choice in `without_model`, with its parameters; a ValueError if no kind is chosen."""
    given = dict(without_model or {"without_model": NONE})
    name = given.pop("without_model")
    if name == NONE:
        raise ValueError(
            "model is not connected; connect the model that the SIGMAS are for, or choose its kind in without_model."
        )
    return _KINDS[name](**given)


class _Schedule(io.ComfyNode):
    """Base of the nodes of this file, whose `shape` gives a spacing and its parameters for the values of their own inputs."""

    @classmethod
    def schema(cls, shape: io.Input, tooltips: dict[str, str], **words) -> io.Schema:
        """The schema of a node with this input for the shape; the inputs of all nodes of this file are around it."""
        ends = [float_input("start_logsnr", -5.0, -40.0, 40.0, 0.1), float_input("end_logsnr", 7.0, -40.0, 40.0, 0.1)]
        edm_ends = [float_input("sigma_min", 0.002, 1e-5, 1.0, 0.001), float_input("sigma_max", 80.0, 1.1, 1e4, 1.0)]
        kinds = {NONE: [], SD: [], EDM: edm_ends, FLOWS: [float_input("shift", 3.0, 0.01, 100.0, 0.01)]}
        return schema(
            category="RES/sigmas",
            inputs=[
                io.Model.Input("model", optional=True),
                steps_input(),
                denoise_input(),
                shape,
                choice_input("direction", DIRECTIONS, optional=True, advanced=True),
                float_input("composition", 0.5, 0.1, 0.9, 0.01, optional=True, advanced=True),
                dynamic_input("range", {"model": [], "logSNR": ends}, optional=True),
                dynamic_input("without_model", kinds, optional=True),
                io.Boolean.Input("follow_shift", default=True, optional=True, advanced=True),
            ],
            outputs=[io.Sigmas.Output()],
            tooltips={
                "model": "The model whose sigmas the schedule spans.",
                "steps": "Number of steps, not of model calls: a single-step sampler with k stages makes k (steps - 1) + 1 "
                "calls.",
                "direction": "invert: rising SIGMAS, on which a deterministic sampler turns an image into its noise, with "
                "add_noise off. denoise inverted: the way back, with add_noise off. It differs from denoise only on flow models, "
                "where it starts at sigma 0.999 because at sigma 1 nothing of the latent is left.",
                "composition": "Fraction of the steps spent on the first half of the grid. Above 0.5 there are more steps in the "
                "noise, for the composition; below 0.5 there are more steps for the details.",
                "range": "model: start at the model's largest sigma. logSNR: run between two values of log(alpha^2 / sigma^2).",
                "start_logsnr": "logSNR of the first sigma; SDXL begins at -5.36.",
                "end_logsnr": "logSNR of the last sigma above 0; SDXL ends at 7.07.",
                "without_model": "The kind of model to use if no model is connected; a connected model takes precedence. SD, "
                "SDXL: eps and v models. flow: Flux, SD3, Qwen-Image, Wan and most models since 2024.",
                "sigma_min": "The model's smallest sigma.",
                "sigma_max": "Largest sigma of the model: 80 for EDM, 120 for Playground 2.5, 700 for SVD.",
                "shift": "Shift: 1 for none (Flux schnell); 3 for SD3.5, Qwen-Image, Z-Image; 5 to 8 for Wan.",
                "follow_shift": "On flow models (Flux, SD3, Wan, Qwen), multiply the noise levels by the model's shift, as "
                "ComfyUI's own schedulers do. A larger shift spends more steps at high noise. It has no effect on models without "
                "a shift, with the spacings beta and tangent, and if range sets the ends.",
                **tooltips,
            },
            **words,
        )

    @classmethod
    def sigmas(
        cls, time: TimeMap, model_range: SigmaRange, *, steps, denoise, direction, composition, range, follow_shift, **shape
    ):
        """SIGMAS of shape (steps + 1,), float32, for the kind and range of a model; empty where denoise is 0."""
        given = range is not None and range["range"] == "logSNR"
        ends = (range["start_logsnr"], range["end_logsnr"]) if given else None
        arguments = (model_range, time, *cls.shape(**shape), composition, ends, follow_shift)
        return directed(denoise_tail(lambda n: logsnr_grid(n, *arguments), steps, denoise), time, direction)

    @classmethod
    @checked
    def execute(cls, model=None, without_model=None, **inputs) -> io.NodeOutput:
        """SIGMAS; the picture in the node gets the model's kind and range, and the inputs, of which some may be connected."""
        if model is None:
            time, model_range = kind_and_range(without_model)
        else:
            sampling = model.get_model_object("model_sampling")
            time, model_range = time_map(sampling), sigma_range(sampling)
        inputs = {**_DEFAULTS, **inputs}
        known = {"kind": time.name, "noise_scale": time.noise_scale, **model_range._asdict()}
        facts = {"model": known, "inputs": _flat({**inputs, "without_model": without_model})}
        ui = {"res_grid": [json.dumps(facts)]}  # text, because the host counts every object as an output of the run
        return io.NodeOutput(cls.sigmas(time, model_range, **inputs), ui=ui)


def _flat(inputs: dict) -> dict:
    """{"range": {"range": "logSNR", "start_logsnr": 1}} -> {"range": "logSNR", "range.start_logsnr": 1}, as prompts have it."""
    result = {}
    for name, value in inputs.items():
        if isinstance(value, dict):
            result |= {name if key == name else f"{name}.{key}": inner for key, inner in value.items()}
        elif value is not None:
            result[name] = value
    return result


class RESLogSNRSchedule(_Schedule):
    """Time grids built in logSNR."""

    @classmethod
    def define_schema(cls):
        spacings = {
            name: [
                float_input(key, default, min(default, low), high, _STEPS.get(key, 0.05))
                for key, (default, low, high) in spacing.parameters.items()
            ]
            for name, spacing in SPACINGS.items()
        }
        return cls.schema(
            node_id="RESLogSNRSchedule",
            display_name="RES LogSNR Schedule",
            description="A schedule built in logSNR, from the model's largest sigma to 0, for eps, v, EDM and flow models. "
            "The scheduler logsnr_arctan is the spacing logit with stretch 0, and not the spacing arctan. The scheduler "
            "logsnr_uniform is the spacing uniform.",
            aliases="res, scheduler, sigmas, logsnr, karras, lambda, inversion, unsample, unsampling, beta57, bong_tangent",
            shape=dynamic_input("spacing", spacings),
            tooltips={
                "spacing": "logit: logSNR follows the logit of the step; with stretch 0 it is the scheduler logsnr_arctan, "
                "which has the least error with exp_res. uniform: equal steps in logSNR. power: fine steps at one end. edm_rho: "
                "the EDM (Karras) grid. arctan: between uniform and kl_optimal; it is not logsnr_arctan. beta: ComfyUI's "
                "beta scheduler with free alpha and beta; 0.5 and 0.7 give beta57. tangent: bong_tangent, which is fine at both "
                "ends of sigma on flow models.",
                "stretch": f"0 is the recommended value of logsnr_arctan: {FLOW_STRETCH:g} on flow models and {VE_STRETCH:g} on "
                "others. 1 is ComfyUI's simple scheduler on flow models. Larger values begin in more noise and end in finer "
                "detail, with larger steps in between.",
                "power": "Below 1 steps are large in the noise and fine near the image; above 1 it is the reverse. 1 is uniform.",
                "rho": "7 is the value of EDM and of the karras scheduler. Larger values approach uniform; smaller values spend "
                "more steps in the noise.",
                "weight": "Weight of the arctan grid. 0 is uniform; 1 is the pure arctan grid, which with turn 1 is kl_optimal "
                "on eps models.",
                "turn": "The sigma / alpha around which the arctan part is finest.",
                "alpha": "0.6 is ComfyUI's beta scheduler, 0.5 is beta57. Smaller values take finer steps near the image.",
                "beta": "0.6 is ComfyUI's beta scheduler, 0.7 is beta57. Smaller values take finer steps in the noise.",
                "pivot": "Fraction of the steps spent above the level in the middle.",
                "slope": "How sharply steps grow towards the level in the middle; 0.2 is bong_tangent.",
                "middle": "The value of sigma / (alpha + sigma) where the two arcs meet; on flow models this is sigma.",
            },
        )

    @classmethod
    def shape(cls, spacing):
        """`spacing` holds the choice and its parameters."""
        return spacing["spacing"], {key: value for key, value in spacing.items() if key != "spacing"}


class RESLogSNRCurve(_Schedule):
    """Time grids drawn by hand."""

    @classmethod
    def define_schema(cls):
        return cls.schema(
            node_id="RESLogSNRCurve",
            display_name="RES LogSNR Curve",
            description="A schedule drawn by hand: drag the points of a monotone curve from noise to image. A straight line is "
            "uniform in logSNR, and steps are small where the curve is flat.",
            aliases="res, scheduler, sigmas, logsnr, draw, editor, custom, manual",
            shape=io.String.Input("curve", default=STRAIGHT),
            tooltips={
                "curve": "JSON list of points [fraction of the steps, fraction of the logSNR range], from [0, 0] to [1, 1]. "
                "The picture below edits it.",
            },
        )

    @classmethod
    def shape(cls, curve):
        """`curve` holds the JSON of its points."""
        return read_curve(curve), {}
