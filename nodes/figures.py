"""Pictures of the pack as IMAGEs."""

import importlib

import numpy as np
import torch


def check_matplotlib(node_name: str) -> None:
    """Raise a RuntimeError if matplotlib is not installed, before a node's work, because the picture is drawn last."""
    try:
        importlib.import_module("matplotlib.figure")  # slow
    except ImportError as error:
        raise RuntimeError(
            f"{node_name} needs matplotlib ({error}); run pip install matplotlib in ComfyUI's environment."
        ) from None


def as_image(pixels: np.ndarray) -> torch.Tensor:
    """(height, width, 3) in [0, 1] as IMAGE, float32, of shape (1, height, width, 3)."""
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32))[None]
