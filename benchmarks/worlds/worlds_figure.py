"""The heat map of docs/worlds.md: a sampler's error over the error of ComfyUI's best in the same row, by case and calls."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from .scores import Row, grouped, score
from .world_cases import CALLS

_RANGE = 4.0  # colours end at this ratio and its inverse


def draw(rows: Sequence[Row], file: Path, title: str) -> None:
    """Draw one sampler's rows as a PNG: a line per world and guidance, a column per number of calls.

    Blue is better than ComfyUI's best, red is worse.
    """
    unguided = ("image to image", "distilled")
    groups = grouped(rows, lambda row: row.world if row.world in unguided else f"{row.world}, CFG {row.guidance:g}")
    groups["all"] = list(rows)
    means = np.full((len(groups), len(CALLS)), math.nan)
    for line, group in enumerate(groups.values()):
        for calls, part in grouped(group, lambda row: str(row.calls)).items():
            means[line, CALLS.index(int(calls))] = score(part).mean
    figure, axis = plt.subplots(figsize=(7, 0.32 * len(groups) + 1.4), constrained_layout=True)
    limit = math.log(_RANGE)
    image = axis.imshow(np.log(means), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    for (line, column), mean in np.ndenumerate(means):
        if not math.isnan(mean):
            dark = abs(math.log(mean)) > 0.6 * limit
            axis.text(column, line, f"{mean:.2f}", ha="center", va="center", fontsize=8, color="white" if dark else "black")
    axis.set(title=title, xlabel="model calls")
    axis.set_xticks(range(len(CALLS)), CALLS)
    axis.set_yticks(range(len(groups)), groups)
    axis.axhline(len(groups) - 1.5, color="black", linewidth=1)
    ticks = [1 / _RANGE, 0.5, 1, 2, _RANGE]
    bar = figure.colorbar(image, ax=axis, ticks=np.log(ticks))
    bar.ax.set_yticklabels([f"{tick:g}" for tick in ticks])
    bar.set_label("error over the best in the row")
    figure.savefig(file, dpi=110)
    plt.close(figure)
