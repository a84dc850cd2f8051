"""What a calibration found, as text and as a picture."""

import numpy as np

from ...figure import new_figure, pixels
from .results import Calibrated, Errors, Settled

_WIDTH, _BAR = 7.0, 0.26  # inches
_OURS = ("base", "calibrated")


def report(found: Calibrated, items: int) -> str:
    """The errors on test seeds, of so many items, what was chosen, and how good the reference is."""
    lines = [f"Relative distance to the converged solution, for {items} items of test seeds: median, and mean of logs."]
    lines += [f"  {name}: {errors.median:.5f}, {errors.log_mean:.5f}" for name, errors in _named(found).items()]
    rivals = {name: errors for name, errors in found.test.items() if name not in _OURS}
    if rivals:
        best = min(rivals, key=lambda name: rivals[name].median)
        ratio = found.test["calibrated"].median / rivals[best].median
        lines.append(
            f"calibrated has {ratio:.2f} of the error of {best}, the best of {len(rivals)} other samplers on these items."
        )
    lines.append(_choice(found))
    lines.append(_reference(found.reference))
    return "\n".join(lines)


def _choice(found: Calibrated) -> str:
    if found.reference.coarse:
        return (
            f"Kept: {found.analytic} as it is. The reference is no better than it, so there was nothing to fit to. Effort "
            "careful has a finer one; less guidance helps too."
        )
    if found.kept:
        return (
            f"Kept: {found.analytic} as it is. No fit was better on the selection items by more than their noise, so the "
            "SAMPLER and the file hold this analytic plan."
        )
    fit = f"{found.base}, ridge {found.how.ridge:g}, history {found.how.history}" if found.how else found.base
    grid = "moved" if found.moved else "as given"
    gain = found.selection["calibrated"].log_mean / found.selection["base"].log_mean
    return f"Fitted: {fit}; grid {grid}. On the selection items it has {gain:.2f} of the error of {found.analytic}."


def _reference(settled: Settled) -> str:
    text = (
        f"Reference: {settled.steps} steps. Its last doubling moved the pilots by {settled.moved:.1e} (median), "
        f"{settled.share:.2f} of the error of the best analytic plan."
    )
    if settled.why == "no gain":
        return f"{text} More steps would not improve the fit by more than its standard error."
    if settled.why == "cap":
        return f"{text} That is more than was asked for: all errors here are uncertain by about {settled.moved:.1e}."
    return text


def _named(found: Calibrated) -> dict[str, Errors]:
    """The errors on test seeds by what they are called, rivals first, the worst of them on top."""
    rivals = sorted((name for name in found.test if name not in _OURS), key=lambda name: -found.test[name].median)
    names = {name: name for name in rivals} | {
        "base": f"{found.analytic}, analytic",
        "calibrated": "calibrated (kept)" if found.kept else "calibrated",
    }
    return {text: found.test[name] for name, text in names.items() if name in found.test}


def picture(found: Calibrated) -> np.ndarray:
    """The errors on test seeds as bars: (height, width, 3), float32 in [0, 1]."""
    from matplotlib.ticker import NullFormatter  # noqa: PLC0415 (slow to import)

    errors = _named(found)
    figure = new_figure(_WIDTH, 0.9 + _BAR * max(len(errors), 3))
    axes = figure.subplots()
    bars = axes.barh(list(errors), [e.median for e in errors.values()], color=["C7"] * (len(errors) - 1) + ["C0"])
    axes.bar_label(bars, fmt="%.4f", padding=3)
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.invert_yaxis()
    axes.set_xlabel("median distance to the converged solution, test seeds")
    return pixels(figure)
