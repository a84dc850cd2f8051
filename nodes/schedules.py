"""Nodes that give SIGMAS."""

from comfy_api.v0_0_2 import io

from ..samplers.schedules import DIRECTIONS, denoise_tail, directed, logsnr_grid
from ..samplers.spacings import SPACINGS
from .host import sigma_range, time_map
from .schema import ADVANCED, schema

# parameter of a spacing -> its step in the widget, and its tooltip
_PARAMETERS = {
    "power": (0.05, "Below 1: large steps in the noise, fine steps near the image. Above 1: the reverse. 1 is uniform."),
    "rho": (0.1, "7 is EDM's and Karras'. Larger values approach uniform, smaller ones spend more steps in the noise."),
    "weight": (0.05, "0 is uniform, 1 the arctan grid alone, which is kl_optimal on eps models with turn 1."),
    "turn": (0.1, "The sigma / alpha around which the arctan part is finest."),
    "density": (0.05, "0 is uniform; at 0.5 the steps in the middle are half as long."),
}


def _spacing_option(name):
    inputs = []
    for key, (default, low, high) in SPACINGS[name].parameters.items():
        step, tooltip = _PARAMETERS[key]
        inputs.append(io.Float.Input(key, default=default, min=low, max=high, step=step, round=False, tooltip=tooltip))
    return io.DynamicCombo.Option(name, inputs)


def _logsnr_input(name, default, tooltip):
    return io.Float.Input(name, default=default, min=-40.0, max=40.0, step=0.1, round=False, tooltip=tooltip)


def _direction_input():
    return io.Combo.Input(
        "direction",
        options=list(DIRECTIONS),
        default=DIRECTIONS[0],
        optional=True,
        tooltip="invert: rising SIGMAS, on which a deterministic sampler turns an image into the noise it comes "
        "from, with add_noise off. denoise inverted: the way back, with add_noise off. It differs from denoise on "
        "flow models alone, where it starts at sigma 0.999 because at 1 nothing of a latent is left.",
        **ADVANCED,
    )


def _composition_input():
    return io.Float.Input(
        "composition",
        default=0.5,
        min=0.1,
        max=0.9,
        step=0.01,
        optional=True,
        tooltip="The share of the steps after which the grid is where it would otherwise be half way. Above 0.5: "
        "more steps in the noise, for the composition. Below: more for the details.",
        **ADVANCED,
    )


def _range_input():
    ends = [
        _logsnr_input("start_logsnr", -5.0, "Of the first sigma; SDXL begins at -5.36."),
        _logsnr_input("end_logsnr", 7.0, "Of the last sigma above 0; SDXL ends at 7.07."),
    ]
    return io.DynamicCombo.Input(
        "range",
        options=[io.DynamicCombo.Option("model", []), io.DynamicCombo.Option("logSNR", ends)],
        optional=True,
        tooltip="model: from the model's largest sigma. logSNR: between two values of log(alpha^2 / sigma^2).",
    )


class RESLogSNRSchedule(io.ComfyNode):
    """Time grids built in logSNR."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESLogSNRSchedule",
            display_name="RES LogSNR Schedule",
            category="RES",
            description="A time grid built in logSNR, from the model's largest sigma to 0, for eps, v, EDM and flow models. "
            "Also offered as the schedulers logsnr_arctan, logsnr_uniform and logsnr_power.",
            search_aliases=["res", "scheduler", "sigmas", "logsnr", "karras", "lambda"],
            inputs=[
                io.Model.Input("model", tooltip="The model whose sigmas the grid spans."),
                io.Int.Input(
                    "steps",
                    default=20,
                    min=1,
                    max=10000,
                    tooltip="Steps, not model calls: a single-step sampler of k stages makes k (steps - 1) + 1 calls.",
                ),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Below 1 only the last steps of a grid of steps / denoise are kept, as in Basic Scheduler.",
                ),
                io.DynamicCombo.Input(
                    "spacing",
                    options=[_spacing_option(name) for name in SPACINGS],
                    tooltip="uniform: equal steps in logSNR. power: fine steps at one end. edm_rho: the EDM (Karras) grid. "
                    "arctan: between uniform and kl_optimal, the best measured. cosine: fine at both ends. "
                    "dense_middle: fine between them.",
                ),
                _direction_input(),
                _composition_input(),
                _range_input(),
            ],
            outputs=[io.Sigmas.Output()],
        )

    @classmethod
    def execute(cls, model, steps, denoise, spacing, direction=DIRECTIONS[0], composition=0.5, range=None) -> io.NodeOutput:
        """SIGMAS of shape (steps + 1,); empty where denoise is 0. `spacing` and `range` hold the choice and its parameters."""
        name, parameters = spacing["spacing"], {key: value for key, value in spacing.items() if key != "spacing"}
        given = range is not None and range["range"] == "logSNR"
        ends = (range["start_logsnr"], range["end_logsnr"]) if given else None
        sampling = model.get_model_object("model_sampling")
        time = time_map(sampling)
        how = (sigma_range(sampling), time, name, parameters, composition, ends)
        return io.NodeOutput(directed(denoise_tail(lambda n: logsnr_grid(n, *how), steps, denoise), time, direction))
