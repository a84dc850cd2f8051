"""Figures of docs/results.md."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from .paper_bench import LABELS

_COLOURS = plt.get_cmap("tab10").colors


def ratios(panels: dict[str, dict[str, list]], kinds, file: Path) -> None:
    """Ratios with intervals: {panel: {row: [a Ratio a kind]}}."""
    tallest = max(map(len, panels.values()))
    figure, axes = plt.subplots(1, len(panels), figsize=(11, 0.22 * tallest + 1.6), constrained_layout=True)
    for axis, (title, rows) in zip(axes, panels.items()):
        for k, kind in enumerate(kinds):
            found = [row[k] for row in rows.values()]
            mean = np.array([r.mean for r in found])
            sides = np.abs([[r.mean - r.low for r in found], [r.high - r.mean for r in found]])
            at = -np.arange(len(found)) - 0.3 * k + 0.15
            axis.errorbar(mean, at, xerr=sides, fmt="o", markersize=4, linewidth=1, color=_COLOURS[k], label=kind)
        axis.axvline(1.0, color="0.5", linewidth=1)
        axis.set(xscale="log", title=title, yticks=-np.arange(len(rows)), yticklabels=list(rows))
        axis.tick_params(axis="y", labelsize=8)
        _plain(axis.xaxis)
        axis.grid(axis="x", which="both", alpha=0.25)
        axis.set_xlabel("defect of RES / defect of DPM-Solver++")
    axes[0].legend(fontsize=8)
    _save(figure, file)


def quality(panels: dict[str, dict[str, list]], file: Path) -> None:
    """Frechet distance by defect: {model: {method: [(frechet, spread, defect) lists over seeds, a number of calls]}}."""
    figure, axes = plt.subplots(1, len(panels), figsize=(10, 4), constrained_layout=True)
    for axis, (title, methods) in zip(np.atleast_1d(axes), panels.items()):
        for colour, (method, cells) in zip(_COLOURS, methods.items()):
            at = [(np.mean(defect), np.mean(frechet)) for frechet, _, defect in cells]
            axis.plot(*zip(*at), "o-", color=colour, markersize=4, linewidth=1, label=LABELS[method].strip("`"))
        axis.set(xscale="log", yscale="log", xlabel="defect", ylabel="Frechet distance", title=title)
        _plain(axis.yaxis)
        axis.grid(which="both", alpha=0.25)
    np.atleast_1d(axes)[0].legend(fontsize=8)
    _save(figure, file)


def velocities(profiles: dict, file: Path) -> None:
    """Derivatives by lambda, clocks from 0 to 1, a panel a model."""
    figure, axes = plt.subplots(1, len(profiles), figsize=(2.6 * len(profiles), 3.2), constrained_layout=True, sharey=True)
    for axis, (title, p) in zip(np.atleast_1d(axes), profiles.items()):
        axis.plot(p.lam, np.median(p.sigma_form, axis=1) * p.sigma_length**2, color=_COLOURS[3], label="in sigma")
        axis.plot(p.lam, np.median(p.lambda_form, axis=1) * p.lambda_length**2, color=_COLOURS[0], label="in lambda")
        axis.set(yscale="log", xlabel="lambda", title=title)
        axis.grid(alpha=0.25)
    axis.set_ylim(bottom=1e-2)
    np.atleast_1d(axes)[0].legend(fontsize=8)
    _save(figure, file)


def orders(steps, curves: dict[str, list], file: Path) -> None:
    """Errors by steps, single-step methods of two stages and of three."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    for axis, kept in zip(axes, (("RES-2S", "DPM"), ("RES-3S",))):
        chosen = {name: found for name, found in curves.items() if name.startswith(kept)}
        for colour, (name, found) in zip(_COLOURS, chosen.items()):
            axis.plot(steps, np.exp(np.mean(np.log(found), axis=0)), "o-", color=colour, markersize=4, linewidth=1, label=name)
        axis.set(xscale="log", yscale="log", xlabel="steps", ylabel="relative error", xticks=steps, xticklabels=steps)
        axis.minorticks_off()
        axis.grid(alpha=0.25)
        axis.legend(fontsize=8, loc="lower left")
    _save(figure, file)


def noises(sizes, found: dict, file: Path) -> None:
    """Amplification by size of the noise, a panel a model: {model: {method: {size: list over seeds}}}."""
    figure, axes = plt.subplots(1, len(found), figsize=(3 * len(found), 3.6), constrained_layout=True)
    colours = plt.get_cmap("tab20").colors
    for axis, (title, methods) in zip(np.atleast_1d(axes), found.items()):
        for k, (method, cells) in enumerate(methods.items()):
            means = [np.exp(np.mean(np.log(cells[size]))) for size in sizes]
            axis.plot(sizes, means, "o-", color=colours[k], markersize=3, linewidth=1, label=LABELS[method].strip("`"))
        axis.set(xscale="log", xlabel="noise r", title=title)
        axis.grid(which="both", alpha=0.25)
    np.atleast_1d(axes)[0].set_ylabel("amplification")
    figure.legend(*np.atleast_1d(axes)[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    _save(figure, file)


def _plain(axis) -> None:
    """Ticks at 1, 2 and 5 times the powers of ten, as they are written by hand."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _save(figure, file: Path) -> None:
    figure.savefig(file, dpi=80)
    plt.close(figure)
