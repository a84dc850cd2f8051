"""The node that draws SIGMAS."""

import math

import numpy as np
import torch
from comfy_api.v0_0_2 import io, ui

from ..samplers.time_maps import VE, TimeMap
from .host import time_map
from .schema import schema

_OTHERS = ("sigmas_b", "sigmas_c", "sigmas_d")
_SIZE, _DPI = (7.0, 5.2), 120  # 840 x 624 pixels, readable in a node and on a phone


class RESSigmasPlot(io.ComfyNode):
    """SIGMAS as a picture."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESSigmasPlot",
            display_name="RES Sigmas Plot",
            category="RES",
            description="Draws up to four SIGMAS over each other: logSNR or sigma over the steps, and the size of every step.",
            search_aliases=["res", "sigmas", "graph", "preview", "visualize", "compare", "schedule"],
            is_output_node=True,
            inputs=[
                io.Sigmas.Input("sigmas", tooltip="Falling or rising."),
                *(io.Sigmas.Input(name, optional=True, tooltip="Another one, to compare.") for name in _OTHERS),
                io.Model.Input(
                    "model", optional=True, tooltip="The model the SIGMAS are for; without one there is no logSNR, only sigma."
                ),
                io.Combo.Input(
                    "axis",
                    options=["auto", "logSNR", "sigma"],
                    default="auto",
                    tooltip="auto: logSNR with a model, sigma without. Step sizes are in lambda, half the logSNR, with a model, "
                    "and in log sigma without.",
                ),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, sigmas, sigmas_b=None, sigmas_c=None, sigmas_d=None, model=None, axis="auto") -> io.NodeOutput:
        """IMAGE of shape (1, height, width, 3).

        Raises:
            ValueError: logSNR without a model, or SIGMAS that are no grid of the model.
        """
        if axis == "logSNR" and model is None:
            raise ValueError("axis is 'logSNR' and no model is connected; connect the one the SIGMAS are for, or choose 'sigma'.")
        time = None if model is None else time_map(model.get_model_object("model_sampling"))
        grids = dict(zip(("sigmas", *_OTHERS), (sigmas, sigmas_b, sigmas_c, sigmas_d)))
        grids = {name: _values(name, grid, time) for name, grid in grids.items() if grid is not None}
        image = draw(grids, time, in_logsnr=axis != "sigma" and time is not None)
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))


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


def draw(grids: dict[str, list[float]], time: TimeMap | None, in_logsnr: bool) -> torch.Tensor:
    """A picture of grids.

    Args:
        grids: SIGMAS by the name that the legend gives them.
        time: the model's time map; None to measure steps in log sigma.
        in_logsnr: logSNR over the steps rather than sigma; needs `time`.

    Returns:
        IMAGE, float32, of shape (1, height, width, 3).

    Raises:
        RuntimeError: matplotlib is not installed.
    """
    figure = new_figure("RES Sigmas Plot")
    curve, steps = figure.subplots(2, sharex=True, height_ratios=(2.2, 1))
    as_share = len({len(sigmas) for sigmas in grids.values()}) > 1
    for name, sigmas in grids.items():
        count = len(sigmas) - 1
        places = np.arange(count + 1.0) / (count if as_share else 1)
        _draw_one(curve, steps, f"{name}, {count} steps", places, np.array(sigmas), time or VE, in_logsnr)
    curve.set_ylabel("logSNR" if in_logsnr else "sigma")
    curve.legend()
    steps.set_ylabel("step in log sigma" if time is None else "h, step in lambda")
    steps.set_ylim(0.0, 1.05 * steps.get_ylim()[1])
    steps.set_xlabel("share of the steps" if as_share else "step")
    for axes in (curve, steps):
        axes.grid(alpha=0.3)
    return as_image(figure)


def new_figure(node_name: str):
    """matplotlib's Figure, empty.

    Raises:
        RuntimeError: matplotlib is not installed, which the node needs.
    """
    try:
        from matplotlib.figure import Figure  # slow to import
    except ImportError as error:
        raise RuntimeError(
            f"{node_name} needs matplotlib ({error}); run pip install matplotlib in ComfyUI's environment."
        ) from None
    return Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")


def as_image(figure) -> torch.Tensor:
    """A Figure as IMAGE, float32, of shape (1, height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return torch.from_numpy(pixels.astype(np.float32) / 255.0)[None]


def _draw_one(curve, steps, label: str, places: np.ndarray, sigmas: np.ndarray, time: TimeMap, in_logsnr: bool) -> None:
    """One line in each of two axes; where logSNR is infinite the lines end."""
    lam = np.array([time.lam(sigma) if sigma > 0.0 else math.inf for sigma in sigmas.tolist()])
    lam[~np.isfinite(lam)] = np.nan
    style = {"marker": "o" if len(sigmas) <= 60 else None, "markersize": 3, "linewidth": 1.2}
    [line] = curve.plot(places, 2.0 * lam if in_logsnr else sigmas, label=label, **style)
    steps.plot((places[1:] + places[:-1]) / 2.0, np.abs(np.diff(lam)), color=line.get_color(), **style)
