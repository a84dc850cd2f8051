"""Nodes that change SIGMAS."""

from comfy_api.v0_0_2 import io

from ..samplers.reshaping import blend, resample, split
from .host import time_map
from .inputs import checked, dynamic_input, float_input, schema, steps_input

_MODEL_TOOLTIP = "The model that the SIGMAS are for. Only its kind matters: on flow models logSNR is another function of sigma."


def _time(model):
    return time_map(model.get_model_object("model_sampling"))


class RESSigmasBlend(io.ComfyNode):
    """The mean of two grids, in logSNR."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESSigmasBlend",
            display_name="Sigmas Blend (RES)",
            category="RES/sigmas",
            description="A schedule between two schedules: their weighted mean in logSNR, step by step. Averaging sigma would "
            "hide differences near the image.",
            aliases="res, sigmas, mix, merge, schedule",
            inputs=[
                io.Model.Input("model", tooltip=_MODEL_TOOLTIP),
                io.Sigmas.Input("sigmas_a", tooltip="The first schedule, which sets the number of steps."),
                io.Sigmas.Input("sigmas_b"),
                float_input("weight", 0.5, 0.0, 1.0, 0.01, "Weight of sigmas_b: 0 gives sigmas_a, 1 gives sigmas_b."),
            ],
            outputs=[io.Sigmas.Output()],
            tooltips={"sigmas_b": "The second schedule. It is resampled if its number of steps differs from sigmas_a."},
        )

    @classmethod
    @checked
    def execute(cls, model, sigmas_a, sigmas_b, weight) -> io.NodeOutput:
        return io.NodeOutput(blend(sigmas_a, sigmas_b, weight, _time(model)))


class RESSigmasResample(io.ComfyNode):
    """The same curve with another number of steps."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESSigmasResample",
            display_name="Sigmas Resample (RES)",
            category="RES/sigmas",
            description="The same schedule with more or fewer steps: a monotone curve through its logSNR, read at new "
            "positions. The ends stay.",
            aliases="res, sigmas, steps, interpolate, schedule",
            inputs=[
                io.Model.Input("model", tooltip=_MODEL_TOOLTIP),
                io.Sigmas.Input("sigmas", tooltip="Falling or rising SIGMAS with at least two values."),
                steps_input(tooltip="Number of steps of the new SIGMAS."),
            ],
            outputs=[io.Sigmas.Output()],
        )

    @classmethod
    @checked
    def execute(cls, model, sigmas, steps) -> io.NodeOutput:
        return io.NodeOutput(resample(sigmas, steps, _time(model)))


class RESSigmasSplit(io.ComfyNode):
    """The two parts of SIGMAS."""

    @classmethod
    def define_schema(cls):
        logsnr = "The logSNR to cut at, log(alpha^2 / sigma^2). At 0 there is as much noise as image."
        percent = "Percentage of the model's timesteps, like start_percent of Apply ControlNet."
        places = {
            "sigma": [float_input("sigma", 0.875, 0.0, 1e5, 0.005, "The sigma to cut at.")],
            "logSNR": [float_input("logsnr", 0.0, -40.0, 40.0, 0.1, logsnr)],
            "percent": [float_input("percent", 0.5, 0.0, 1.0, 0.01, percent)],
        }
        return schema(
            node_id="RESSigmasSplit",
            display_name="Sigmas Split (RES)",
            category="RES/sigmas",
            description="Cuts SIGMAS in two at a noise level, for a second model, sampler or guidance. Wan 2.2 switches from "
            "its high-noise to its low-noise model at sigma 0.875 (0.9 for image to video). The cut is at the entry nearest in"
            " logSNR, so no step is added and the two parts together make the whole.",
            aliases="res, sigmas, split, wan, high noise, low noise, boundary, handover",
            inputs=[
                io.Model.Input("model", tooltip=_MODEL_TOOLTIP + " A percentage refers to this model's sigmas."),
                io.Sigmas.Input("sigmas", tooltip="Falling or rising SIGMAS."),
                dynamic_input("at", places, tooltip="Where to cut."),
            ],
            outputs=[
                io.Sigmas.Output("first", tooltip="From the first sigma to the cut; sample it with add_noise on."),
                io.Sigmas.Output("second", tooltip="From the cut to the last sigma; sample it with add_noise off."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, model, sigmas, at) -> io.NodeOutput:
        sampling = model.get_model_object("model_sampling")
        time = time_map(sampling)
        if at["at"] == "percent":
            sigma = float(sampling.percent_to_sigma(at["percent"]))
        else:
            sigma = at["sigma"] if at["at"] == "sigma" else time.sigma(at["logsnr"] / 2.0)
        return io.NodeOutput(*split(sigmas, sigma, time))
