"""A picture of SIGMAS."""

import math
import textwrap
from typing import Any

import numpy as np

from .figure import new_figure, pixels
from .time_maps import VE, TimeMap

_WIDTH, _HEIGHT = 7.0, 5.2  # inches, 840 x 624 pixels: readable in a node and on a phone
_WARNING_LINE = 110  # characters
_MOST_MARKED = 60  # number of points above which marks would touch each other


def picture(grids: dict[str, list[float]], time: TimeMap | None, in_logsnr: bool, warning: str = "") -> np.ndarray:
    """Grids as (height, width, 3), float32 in [0, 1]: sigma, or logSNR for a known `time`, and below it the size of every step.

    The grids are SIGMAS of two or more values, by their name in the legend. Without a time map steps are measured in log sigma.
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    curve, steps = figure.subplots(2, sharex=True, height_ratios=(2.2, 1))
    as_share = len({len(sigmas) for sigmas in grids.values()}) > 1
    for name, sigmas in grids.items():
        count = len(sigmas) - 1
        places = np.arange(count + 1.0) / (count if as_share else 1)
        lam = np.array([(time or VE).lam(sigma) if sigma > 0.0 else math.inf for sigma in sigmas])
        lam[~np.isfinite(lam)] = np.nan  # lines end there
        style: dict[str, Any] = {"marker": "o" if count < _MOST_MARKED else None, "markersize": 3, "linewidth": 1.2}
        [line] = curve.plot(places, 2.0 * lam if in_logsnr else sigmas, label=f"{name}, {count} steps", **style)
        steps.plot((places[1:] + places[:-1]) / 2.0, np.abs(np.diff(lam)), color=line.get_color(), **style)
    if warning:
        figure.suptitle(textwrap.fill(warning, _WARNING_LINE), color="tab:red", fontsize=9)
    curve.set_ylabel("logSNR" if in_logsnr else "sigma")
    curve.legend()
    steps.set_ylabel("step in log sigma" if time is None else "h, step in lambda")
    steps.set_ylim(0.0, 1.05 * steps.get_ylim()[1])
    steps.set_xlabel("share of the steps" if as_share else "step")
    for axes in (curve, steps):
        axes.grid(alpha=0.3)
    return pixels(figure)
