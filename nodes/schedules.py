"""Nodes that give SIGMAS."""

from comfy_api.v0_0_2 import io

from ..samplers.schedules import DEFAULT_EXPONENT, DIRECTIONS, EXPONENT_RANGE, SPACINGS, denoise_tail, directed, logsnr_grid
from .host import sigma_range, time_map
from .schema import ADVANCED, schema


def _exponent_input(spacing, name, step, tooltip):
    low, high = EXPONENT_RANGE[spacing]
    default = DEFAULT_EXPONENT[spacing]
    return io.Float.Input(name, default=default, min=low, max=high, step=step, round=False, tooltip=tooltip)


# spacing -> its exponent; uniform has none
_EXPONENTS = {
    "power": _exponent_input(
        "power",
        "power",
        0.05,
        "Below 1: large steps in the noise, fine steps near the image. Above 1: the reverse. 1 is uniform.",
    ),
    "edm_rho": _exponent_input(
        "edm_rho",
        "rho",
        0.1,
        "7 is EDM's and Karras'. Larger values approach uniform, smaller ones spend more steps in the noise.",
    ),
}


class RESLogSNRSchedule(io.ComfyNode):
    """Time grids built in logSNR."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESLogSNRSchedule",
            display_name="RES LogSNR Schedule",
            category="RES",
            description="A time grid built in logSNR, from the model's largest sigma to 0, for eps, v, EDM and flow models. "
            "Also offered as the schedulers logsnr_uniform and logsnr_power.",
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
                    options=[io.DynamicCombo.Option(name, [_EXPONENTS[name]] if name in _EXPONENTS else []) for name in SPACINGS],
                    tooltip="uniform: equal steps in logSNR. power: the grid warped by u^power. edm_rho: the EDM (Karras) grid.",
                ),
                io.Combo.Input(
                    "direction",
                    options=list(DIRECTIONS),
                    default=DIRECTIONS[0],
                    optional=True,
                    tooltip="invert: rising SIGMAS, on which a deterministic sampler turns an image into the noise it comes "
                    "from, with add_noise off. denoise inverted: the way back, with add_noise off. It differs from denoise on "
                    "flow models alone, where it starts at sigma 0.999 because at 1 nothing of a latent is left.",
                    **ADVANCED,
                ),
            ],
            outputs=[io.Sigmas.Output()],
        )

    @classmethod
    def execute(cls, model, steps, denoise, spacing, direction=DIRECTIONS[0]) -> io.NodeOutput:
        """SIGMAS of shape (steps + 1,); empty where denoise is 0. `spacing` holds the choice and its exponent."""
        name = spacing["spacing"]
        exponent = spacing[_EXPONENTS[name].id] if name in _EXPONENTS else None
        sampling = model.get_model_object("model_sampling")
        time = time_map(sampling)
        grid = denoise_tail(lambda n: logsnr_grid(n, sigma_range(sampling), time, name, exponent), steps, denoise)
        return io.NodeOutput(directed(grid, time, direction))
