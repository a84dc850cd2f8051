"""The node that draws SIGMAS."""

import logging
import math

import torch
from comfy_api.v0_0_2 import io

from ..samplers.grid import made_for_flow
from ..samplers.grid_picture import picture
from ..samplers.time_maps import TimeMap
from .figures import as_image, check_matplotlib
from .host import time_map
from .inputs import checked, choice_input, schema
from .lab_files import Saving

_AXES = ("auto", "logSNR", "sigma")
_OTHERS = ("sigmas_b", "sigmas_c", "sigmas_d")


class RESSigmasPlot(io.ComfyNode):
    """The node that draws SIGMAS."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESSigmasPlot",
            display_name="Sigmas Plot (RES)",
            category="RES/sigmas",
            description="Draws up to four SIGMAS in one picture: logSNR or sigma over the steps, and the size of every step.",
            aliases="res, sigmas, graph, preview, visualize, compare, schedule, preview sigmas, sigmas preview",
            is_output_node=True,
            inputs=[
                io.Sigmas.Input("sigmas", tooltip="Falling or rising SIGMAS."),
                *(io.Sigmas.Input(name, optional=True, tooltip="Another schedule to compare.") for name in _OTHERS),
                io.Model.Input("model", optional=True),
                choice_input("axis", _AXES),
            ],
            outputs=[io.Image.Output()],
            tooltips={
                "model": "The model that the SIGMAS are for. Without a model the picture shows sigma instead of logSNR.",
                "axis": "auto: logSNR with a model, sigma without one. Step sizes are in lambda (half the logSNR) with a model "
                "and in log sigma without one.",
            },
        )

    @classmethod
    @checked
    def execute(cls, sigmas, sigmas_b=None, sigmas_c=None, sigmas_d=None, model=None, axis="auto") -> io.NodeOutput:
        if axis == "logSNR" and model is None:
            raise ValueError("axis is 'logSNR' and no model is connected; connect the model of the SIGMAS, or choose 'sigma'.")
        sampling = None if model is None else model.get_model_object("model_sampling")
        time = None if sampling is None else time_map(sampling)
        grids = dict(zip(("sigmas", *_OTHERS), (sigmas, sigmas_b, sigmas_c, sigmas_d)))
        grids = {name: _values(name, grid, time) for name, grid in grids.items() if grid is not None}
        check_matplotlib("Sigmas Plot (RES)")
        warning = "" if time is None else _warning(grids, time, float(sampling.sigma_max))
        image = as_image(picture(grids, time, axis != "sigma" and time is not None, warning))
        saving = Saving("Sigmas Plot (RES)")
        return io.NodeOutput(image, ui={**saving.preview(image, cls), **saving.shown()})


def _warning(grids: dict[str, list[float]], time: TimeMap, sigma_max: float) -> str:
    """A warning about grids for another kind of model, also in the log; "" for none."""
    doubts = {name: made_for_flow(grid, time, sigma_max) for name, grid in grids.items()}
    warning = "\n".join(f"{name}: {doubt}" for name, doubt in doubts.items() if doubt)
    if warning:
        logging.warning("Sigmas Plot (RES): %s", warning)
    return warning


def _values(name: str, grid: torch.Tensor, time: TimeMap | None) -> list[float]:
    values = grid.flatten().tolist()
    for sigma in values:
        if not (math.isfinite(sigma) and sigma >= 0.0):
            raise ValueError(f"{name} holds {sigma:g}; every sigma must be finite and 0 or more.")
        if time is not None and not time.allows(sigma):
            raise ValueError(f"{name} holds {sigma:g} and the model is a flow model, whose sigmas end at 1; connect their model.")
    if len(values) < 2:
        raise ValueError(f"{name} must have two sigmas or more, got {len(values)}; there is no step to draw.")
    return values
