"""The picture of a measurement: distance against model calls, a line for every pair."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figure import new_figure, pixels
from .measure import Cell
from .measure_report import distance_by_chance
from .reference import Reference
from .verdict import Verdict, comparable, equal_lines, lines, log, reference_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURED = 8
_WIDTH = 9.0  # inches, 1080 pixels: readable on a phone held upright
_LETTERS = 62  # of the title, a line
_GREY = "0.75"


def picture(cells: Sequence[Cell], references: Mapping[float, Reference], verdict: Verdict | None = None) -> np.ndarray:
    """Median distances, log-log, as (height, width, 3), float32 in [0, 1]; SDE samplers have a separate panel.

    The best pair is on top and the baseline dashed. Pairs that are equal at every number of calls share a line. Eight lines are
    coloured, and the others are grey.
    """
    odes, stochastic = comparable(cells), [cell for cell in cells if cell.stochastic]
    figure = new_figure(_WIDTH, 13.0 if odes and stochastic else 10.0)
    groups = [(odes, "error"), (stochastic, "distance of distributions (SDE)")]
    panels = [(group, label) for group, label in groups if group] or [([], "error")]
    for axes, (group, label) in zip(np.atleast_1d(figure.subplots(len(panels))), panels):
        named = (verdict.best.pair, verdict.baseline) if verdict is not None and group is odes else ("", "")
        _draw(axes, group, label, *named)
        if group is odes and odes:
            _draw_floor(axes, reference_of(odes[0], references))
        elif group and (chance := distance_by_chance(next(iter(references.values())))):
            axes.axhline(chance, color="0.6", linestyle=":", linewidth=1.5)
            _write_at(axes, chance, "by chance")
    if verdict is not None:
        text = "\n".join(textwrap.wrap(verdict.sentence, _LETTERS))
        figure.suptitle(text, fontsize=17, fontweight="bold", x=0.02, ha="left")
    return pixels(figure)


def _draw_floor(axes: "Axes", reference: Reference) -> None:
    """Fill the area in grey in which results cannot be distinguished; only a text if it is below the picture."""
    if axes.get_ylim()[0] <= 0.0:  # nothing finite was measured
        axes.set_ylim(1e-3, 1.0)
    low, high = axes.get_ylim()
    missed = "" if reference.converged else f", not to {reference.tolerance:g}"
    text = f"reference agrees to {reference.agreement:.1e}{missed}"
    if reference.floor < low:
        axes.text(0.01, 0.01, text, transform=axes.transAxes, ha="left", va="bottom", fontsize=12, color="0.4")
        return
    low = min(low, 0.5 * reference.agreement)
    axes.axhspan(low, reference.floor, color="0.9", zorder=0)
    axes.axhline(reference.agreement, color="0.6", linestyle=":", linewidth=1.5)
    axes.set_ylim(low, max(high, 1.5 * reference.floor))
    _write_at(axes, reference.agreement, f"{text}; grey: not ranked")


def _write_at(axes: "Axes", height: float, text: str) -> None:
    transform = axes.get_yaxis_transform()
    axes.text(0.01, height, text, transform=transform, ha="left", va="bottom", fontsize=12, color="0.4")


def _draw(axes: "Axes", cells: Sequence[Cell], label: str, best: str, baseline: str) -> None:
    from matplotlib.ticker import NullLocator  # noqa: PLC0415 (slow to import)

    by_pair = lines(cells)
    equal = {pair: group for group in equal_lines(cells) for pair in group}
    mean = {pair: float(np.mean([log(cell.median) for cell in line])) for pair, line in by_pair.items()}
    pairs = sorted(by_pair, key=lambda pair: (pair != best, pair != baseline, mean[pair]))
    pairs = [pair for place, pair in enumerate(pairs) if not set(pairs[:place]) & set(equal.get(pair, []))]
    for rank, pair in enumerate(pairs):
        names = " = ".join([pair, *(other for other in equal.get(pair, []) if other != pair)])
        _draw_line(axes, by_pair[pair], names, rank, best, baseline)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(y=0.18)  # with room for the label below the best line
    ticks = sorted({cell.column for cell in cells})
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.tick_params(labelsize=15, which="both")
    axes.xaxis.set_minor_locator(NullLocator())  # minor ticks of y get numbers if the axis spans less than a decade
    axes.set_xlabel("model calls", fontsize=16)
    axes.set_ylabel(label + ", median", fontsize=16)
    axes.grid(alpha=0.3)
    more = len(pairs) - _COLOURED
    title = f"and {more} more in grey, see the table" if more > 0 else None
    if pairs:
        axes.legend(fontsize=14, loc="upper center", bbox_to_anchor=(0.5, -0.11), ncols=2, title=title, frameon=False)


def _draw_line(axes: "Axes", line: Sequence[Cell], label: str, rank: int, best: str, baseline: str) -> None:
    calls, medians = [cell.calls for cell in line], [cell.median for cell in line]
    if rank >= _COLOURED:
        axes.plot(calls, medians, color=_GREY, linewidth=1.0, zorder=1)
        return
    is_best, is_baseline = line[0].pair == best, line[0].pair == baseline
    style: dict[str, Any] = {"linestyle": "--", "color": "black"} if is_baseline and not is_best else {}
    style |= {"linewidth": 5.0 if is_best else 2.5, "zorder": 20 if is_best else 10 - rank}
    [drawn] = axes.plot(calls, medians, marker="o", markersize=7, label="\n".join(textwrap.wrap(label, 34)), **style)
    if is_best:
        quartiles = [cell.spread.q25 for cell in line], [cell.spread.q75 for cell in line]
        axes.fill_between(calls, *quartiles, color=drawn.get_color(), alpha=0.12, linewidth=0)
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": drawn.get_color(), "alpha": 0.9}
        axes.annotate(
            best, (calls[-1], medians[-1]), xytext=(-8, -22), textcoords="offset points", ha="right", va="top", fontsize=15,
            fontweight="bold", color=drawn.get_color(), bbox=box, zorder=30,
        )  # fmt: skip
