"""Figures of matplotlib as pixels, without its windows and its global state."""

import numpy as np

DPI = 120


def new_figure(width: float, height: float, layout: str | None = "constrained"):
    """An empty Figure, in inches of DPI pixels.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure  # slow to import

    return Figure(figsize=(width, height), dpi=DPI, layout=layout)


def pixels(figure) -> np.ndarray:
    """What a Figure shows: (height, width, 3), float32 in [0, 1]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(np.float32) / 255.0
