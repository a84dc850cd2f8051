"""What a calibration found, as text and as a picture."""

import numpy as np

from ...figure import new_figure, pixels
from .calibration import Calibrated, Errors

_WIDTH, _HEIGHT = 7.0, 2.6  # inches


def report(found: Calibrated, items: int) -> str:
    """Errors on test seeds, of so many items, and what was chosen."""
    lines = [f"Distance to the converged solution, relative, of {items} items on test seeds: median, and mean of logs"]
    lines += [f"  {name}: {errors.median:.5f}, {errors.log_mean:.5f}" for name, errors in _named(found).items()]
    if found.how is None:
        lines.append(f"No fit was clearly better than {found.base} itself on the selection seeds: this is that analytic plan.")
    else:
        lines.append(f"Chosen on the selection seeds: {found.base}, ridge {found.how.ridge:g}, history {found.how.history}.")
    steps, agreed = found.reference
    lines.append(f"Grid: {'moved' if found.moved else 'as given'}. Reference: {steps} steps, settled to {agreed:.1e}.")
    return "\n".join(lines)


def _named(found: Calibrated) -> dict[str, Errors]:
    best = min((name for name in found.selection if name != "calibrated"), key=lambda name: found.selection[name].log_mean)
    return {
        f"{best} (analytic, chosen)" if name == "base" else name: errors for name, errors in found.test.items() if name != best
    }


def picture(found: Calibrated) -> np.ndarray:
    """The errors on test seeds as bars: (height, width, 3), float32 in [0, 1]."""
    from matplotlib.ticker import NullFormatter  # noqa: PLC0415 (slow to import)

    errors = _named(found)
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    bars = axes.barh(list(errors), [e.median for e in errors.values()], color=["C7"] * (len(errors) - 1) + ["C0"])
    axes.bar_label(bars, fmt="%.4f", padding=3)
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.invert_yaxis()
    axes.set_xlabel("median distance to the converged solution, test seeds")
    return pixels(figure)
