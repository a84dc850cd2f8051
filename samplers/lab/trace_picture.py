"""A picture of a trace."""

from collections.abc import Sequence

import numpy as np

from ..figure import new_figure, pixels
from .trace import Row

_WIDTH, _HEIGHT = 7.0, 5.2  # inches


def picture(rows: Sequence[Row]) -> np.ndarray:
    """The numbers over the steps: (height, width, 3), float32 in [0, 1]; higher with shares of rules."""
    chosen = [row for row in rows if row.shares]
    figure = new_figure(_WIDTH, _HEIGHT * (1.5 if chosen else 1.0))
    panels = figure.subplots(3 if chosen else 2, sharex=True)
    curves = (
        {"|D change|": "d_change", "local error": "local_error", "of a first-order step": "first_order_error"},
        {"acceleration in sigma": "acceleration_sigma", "acceleration in lambda": "acceleration_lambda"},
    )
    steps = [row.step for row in rows]
    for axes, names in zip(panels, curves):
        for label, field in names.items():
            axes.plot(steps, [getattr(row, field) for row in rows], label=label, marker="o", markersize=3, linewidth=1.2)
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend()
    panels[0].set_ylabel("relative")
    panels[1].set_ylabel("per unit of time squared")
    if chosen:
        shares = list(zip(*(row.shares for row in chosen)))
        panels[2].stackplot([row.step for row in chosen], shares, labels=[f"rule {rule}" for rule in range(len(shares))])
        panels[2].set_ylabel("share of each rule")
        panels[2].legend()
    panels[-1].set_xlabel(f"step ({sum(row.calls for row in rows)} model calls)")
    return pixels(figure)
