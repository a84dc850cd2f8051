"""The emoji of the embedded colour model; see ATTRIBUTION.md in this folder."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .mixture import GaussianMixture

SHAPE = (3, 32, 32)  # channels, height, width
CLASSES = ("faces", "animals", "food", "plants", "travel", "activities", "objects", "hearts and symbols")
PER_CLASS = 64
DEFAULT_WIDTH = 0.03
FILE = Path(__file__).with_name("emoji.png")  # a row of emoji per class


@lru_cache(maxsize=1)
def load() -> tuple[np.ndarray, np.ndarray]:
    """Images (512, 32, 32, 3) and indices into CLASSES (512,), uint8; a ValueError if the file is missing, damaged or another."""
    channels, height, width = SHAPE
    try:
        with Image.open(FILE) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG
        raise ValueError(f"The emoji in {FILE} cannot be read ({error}). Install the node pack again.") from error
    expected = (len(CLASSES) * height, PER_CLASS * width, channels)
    if pixels.shape != expected:
        raise ValueError(
            f"The picture {FILE} has {pixels.shape[1]} x {pixels.shape[0]} pixels, not {expected[1]} x {expected[0]}. "
            "Install the node pack again."
        )
    tiles = pixels.reshape(len(CLASSES), height, PER_CLASS, width, channels).swapaxes(1, 2)
    return tiles.reshape(-1, height, width, channels), np.arange(len(CLASSES), dtype=np.uint8).repeat(PER_CLASS)


def emoji(width: float = DEFAULT_WIDTH, dtype: torch.dtype = torch.float32) -> GaussianMixture:
    """The mixture centred on the 512 emoji, scaled to [-1, 1], in 3,072 dimensions with the channels first."""
    images, labels = load()
    means = torch.from_numpy(images.transpose(0, 3, 1, 2).reshape(len(images), -1).astype(np.float64) / 127.5 - 1.0)
    return GaussianMixture(means.to(dtype), width, torch.from_numpy(labels.astype(np.int64)))
