"""Draws the registry's icon and banner with the pack's own sampler: paths from noise to three peaks, and the grid's steps."""

import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from embedded.mixture import GaussianMixture
from samplers.catalogue import SAMPLERS
from samplers.schedules import SigmaRange, logsnr_grid
from samplers.time_maps import VE

# pixels: the registry wants a square of at most 400, and 21:9
ICON, BANNER = (400, 400), (1680, 720)
_DPI = 100
_RANGE = SigmaRange(0.08, 12.0)
NIGHT, CHALK = "#10131f", "#f4f1ea"
COLOURS = ("#ff6b6b", "#ffd166", "#4cc9f0")


def paths(items: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the SNR (steps,) and the states there, in x / sqrt(1 + sigma^2), (steps, items), by exp_res_3s."""
    peaks = GaussianMixture(torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64), 0.06)
    sigmas = logsnr_grid(steps, _RANGE, VE, "arctan").double()[:-1]
    start = torch.special.ndtri((torch.arange(items, dtype=torch.float64) + 0.5) / items)[:, None] * sigmas[0]
    states = [start]
    for pair in zip(sigmas[:-1], sigmas[1:]):
        states.append(SAMPLERS["exp_res_3s"].sample(peaks.denoise, states[-1], torch.stack(pair), disable=True))
    scaled = torch.cat(states, 1).T / (1.0 + sigmas[:, None] ** 2).sqrt()
    return (-2.0 * sigmas.log()).numpy(), scaled.numpy()


def _canvas(pixels: tuple[int, int]) -> Figure:
    return Figure(figsize=(pixels[0] / _DPI, pixels[1] / _DPI), dpi=_DPI, facecolor=NIGHT)


def draw_paths(axes, items: int, grid: int, width: float, dots: float, colours: tuple[str, ...] = COLOURS) -> None:
    """Paths as lines, and the states on a coarse grid as dots; both coloured by where they end."""
    cmap = LinearSegmentedColormap.from_list("peaks", colours)
    logsnr, fine = paths(items, 160)
    ends = (fine[-1] - fine[-1].min()) / np.ptp(fine[-1])
    lines = [np.column_stack((logsnr, path)) for path in fine.T]
    axes.add_collection(LineCollection(lines, array=ends, cmap=cmap, linewidths=width, alpha=0.6))
    at, states = paths(items, grid)
    look = {"c": np.tile(ends, (grid, 1)), "cmap": cmap, "s": dots, "linewidths": 0, "clip_on": False}
    axes.scatter(np.repeat(at[:, None], items, 1), states, **look)
    axes.set(xlim=(logsnr[0], logsnr[-1]), ylim=1.05 * fine[0, [0, -1]])
    axes.set_axis_off()


def icon() -> Figure:
    """The paths, and three letters below."""
    figure = _canvas(ICON)
    draw_paths(figure.add_axes((0.0, 0.4, 1.0, 0.56)), 13, 9, 2.4, 26.0)
    figure.text(0.5, 0.2, "RES", size=92, ha="center", va="center", color=CHALK, weight="bold")
    return figure


def banner() -> Figure:
    """The name, and the paths next to it."""
    figure = _canvas(BANNER)
    draw_paths(figure.add_axes((0.4, 0.06, 0.6, 0.88)), 31, 13, 2.0, 26.0)
    figure.text(0.05, 0.57, "RES", size=150, va="center", color=CHALK, weight="bold")
    figure.text(0.055, 0.36, "exponential samplers", size=32, va="center", color=CHALK)
    return figure


PICTURES = {"icon": icon, "banner": banner}
