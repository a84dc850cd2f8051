"""The README's figure: the defect of exp_res and of every deterministic sampler of the host over model calls."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import NullFormatter

from . import host

# case -> the grid that most people would take for its kind of model; the cases with guidance, as pictures are made
PANELS = {"digits CFG 5": "karras", "unet CFG 3": "karras", "digits flow CFG 4": "kl_optimal", "sd3 CFG 3": "kl_optimal"}
_NAMED = {"dpmpp_2m": "tab:orange", "uni_pc": "tab:green", "res_multistep": "tab:purple"}


def draw(rows: list[dict], file: Path) -> None:
    """A panel for each of PANELS.

    Args:
        rows: as `defects.measure` gives them.
        file: the PNG to write.
    """
    figure, axes = plt.subplots(1, len(PANELS), figsize=(11, 3.5), sharey=True, constrained_layout=True)
    for axis, (case, grid) in zip(axes, PANELS.items()):
        curves: dict[str, dict[int, float]] = {}
        for row in rows:
            if (row["case"], row["grid"]) == (case, grid):
                curves.setdefault(row["sampler"], {})[row["budget"]] = row["median"]
        for name in host.DETERMINISTIC:
            colour = _NAMED.get(name, "0.8")
            axis.plot(*_line(curves[name]), color=colour, linewidth=1.6 if name in _NAMED else 0.8, zorder=2 + (name in _NAMED))
        axis.plot(*_line(curves["exp_res"]), "o-", color="tab:blue", linewidth=2.4, markersize=4, zorder=5)
        budgets = sorted(curves["exp_res"])
        axis.set(title=f"{case}, {grid}", xscale="log", yscale="log", xlabel="model calls", ylim=(None, 1.0))
        axis.set_xticks(budgets, map(str, budgets))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.25)
    axes[0].set_ylabel("distance to the converged solution")
    for name, colour in {"exp_res": "tab:blue", **_NAMED, "the host's other deterministic samplers": "0.8"}.items():
        axes[0].plot([], [], color=colour, label=name)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(file, dpi=130)
    plt.close(figure)


def _line(curve: dict[int, float]) -> tuple[list[int], list[float]]:
    budgets = sorted(curve)
    return budgets, [curve[budget] for budget in budgets]
