"""Coordinates that split a CLD state into a noisy image and pure noise.

Given the image x0, the block (x, v) of every pixel is u = p x0 + K z with p = Psi(t, 0) (1, 0) and z ~ N(0, 1). With the unit
vector q along K^-1 p, and SNR = |K^-1 p|^2,

    q . K^-1 u = sqrt(SNR) x0 + n,      n = q . z       all that u tells of x0
    r . K^-1 u = r . z,                 r = q turned    noise, independent of x0 and of n

so that eps = E[z | u] = r (r . K^-1 u) + q E[n | q . K^-1 u]. Half of eps is known, and the other half is the noise of an
ordinary image at one noise level. R and L differ only in the angle of q.
"""

import math
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from samplers.processes.cld import CLD  # noqa: TID251 (for the type checker)

LABEL_SCALE = 999.0  # label = 999 t, as in the published CLD checkpoints
T_MAX = 1.0
NODES = 1024
_SHIFT = 1e-4  # everything is smooth in log(t + this)


class Split(NamedTuple):
    """The coordinates at some times, float32 tensors."""

    direction: torch.Tensor  # (batch, 2): q
    image: torch.Tensor  # (batch, 2): K^-T q; its product with a block is sqrt(SNR) x0 + n
    noise: torch.Tensor  # (batch, 2): K^-T r; its product with a block is r . z
    half_log_snr: torch.Tensor  # (batch,)


def table(sde: "CLD", kind: str) -> torch.Tensor:
    """The coordinates at NODES times from 0 to T_MAX for K = R or L; (NODES, 7) float32, computed in float64."""
    t = np.maximum(np.exp(np.linspace(np.log(_SHIFT), np.log(T_MAX + _SHIFT), NODES)) - _SHIFT, 0.0)
    inverse = np.linalg.inv(sde.factor(t, kind))
    white = (inverse @ sde.transition(t, 0.0)[..., :1])[..., 0]
    scale = np.linalg.norm(white, axis=1, keepdims=True)
    direction = white / scale
    turned = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    image, noise = ((vector[:, None] @ inverse)[:, 0] for vector in (direction, turned))
    return torch.from_numpy(np.concatenate([direction, image, noise, np.log(scale)], axis=1)).float()


def split(nodes: torch.Tensor, labels: torch.Tensor) -> Split:
    """A `table` interpolated at labels 999 t, (batch,), by the cubic through four nodes, to 1e-5; constant beyond its ends."""
    t = (labels.float() / LABEL_SCALE).clamp(0.0, T_MAX)
    first, last = math.log(_SHIFT), math.log(T_MAX + _SHIFT)
    place = ((t + _SHIFT).log() - first) * ((NODES - 1) / (last - first))
    start = place.floor().clamp(1, NODES - 3)
    f = (place - start)[:, None]
    weights = (
        -f * (f - 1) * (f - 2) / 6,
        (f + 1) * (f - 1) * (f - 2) / 2,
        -(f + 1) * f * (f - 2) / 2,
        (f + 1) * f * (f - 1) / 6,
    )
    start = start.long()
    row = reduce(torch.add, (weight * nodes[start + offset] for offset, weight in zip((-1, 0, 1, 2), weights)))
    return Split(row[:, 0:2], row[:, 2:4], row[:, 4:6], row[:, 6])
