"""The handwritten digits of the embedded models; see ATTRIBUTION.md in this folder."""

import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from .mixture import GaussianMixture

SHAPE = (1, 8, 8)  # channels, height, width
CLASSES = 10
DEFAULT_WIDTH = 0.1
FILE = Path(__file__).with_name("digits.npz")


@lru_cache(maxsize=1)
def load() -> tuple[np.ndarray, np.ndarray]:
    """Images (1797, 8, 8) uint8 from 0 to 16, and digits (1797,) uint8; a ValueError if the file is missing or damaged."""
    try:
        with np.load(FILE) as data:
            return data["images"], data["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"The digits in {FILE} cannot be read ({error}). Install the node pack again.") from error


def digits(width: float = DEFAULT_WIDTH, dtype: torch.dtype = torch.float32) -> GaussianMixture:
    """The mixture centred on the 1,797 digits, scaled to [-1, 1], in 64 dimensions."""
    images, labels = load()
    means = torch.from_numpy(images.reshape(len(images), -1).astype(np.float64) / 8.0 - 1.0)
    return GaussianMixture(means.to(dtype), width, torch.from_numpy(labels.astype(np.int64)))
