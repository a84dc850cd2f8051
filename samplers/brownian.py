"""Noise along one path per item: runs that differ only in their steps follow the same noise.

What the exponential SDE adds between lambda_s and lambda_t is the gain of an Ornstein-Uhlenbeck process of rate eta,

    U_t - e^{-eta h} U_s,    dU = -eta U dlambda + sqrt(2 eta) dW,    of variance 1 - e^{-2 eta h}.

Here U is a fixed function of lambda, so the gain over a step is exactly the decayed gain over its first half plus the gain over
its second half.

In the clock e^{2 eta lambda} U is a Brownian motion. torchsde's BrownianTree is not suited for it: the clock runs over many
decades, while the tree rounds time to 1e-6 (from sigma 80 to 0.002 with eta 2, the first steps would get no noise), and the
tree depends on the ends of its interval, which change with the number of steps in many schedules. The path is therefore built
in lambda. Cells of length 1 are independent, and inside a cell the OU bridge halves the interval, so that no number is above 1
and the path does not depend on any ends.
"""

import hashlib
import math

import torch

from .noise import to_device
from .time_maps import TimeMap

# Halvings of a cell. Points further apart than 2^-12 in lambda have the exact joint law. Shorter steps would get too little
# noise, because two points inside one leaf share its last normal number; grids of 1,000 steps have much longer steps.
_LEVELS = 12


class BrownianNoise:
    """A noise_sampler that gives unit noise of one Ornstein-Uhlenbeck path in lambda for each item.

    Segments may be requested in any order, because no result depends on earlier calls. A call draws about 14 latents of normal
    numbers on the CPU and holds five. An item's path depends only on its key, see `noise.item_keys`, the shape of an item and
    eta, which is above 0. The noise has the shape, dtype and device of the latent `like`.
    """

    def __init__(self, keys: list[int], like: torch.Tensor, time: TimeMap, eta: float):
        self._keys = [key.to_bytes(8, "little") for key in keys]
        self._shape, self._dtype, self._device = like.shape[1:], like.dtype, like.device
        self._time, self._eta = time, eta
        self._generator = torch.Generator("cpu")
        self._last: tuple[float, torch.Tensor] | None = None  # steps join: the next one starts where this one ends

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        """The unit noise of the segment from sigma down to sigma_next, both of finite lambda."""
        start, end = self._time.lam(float(sigma)), self._time.lam(float(sigma_next))
        gain, here = self._since_cell(start).neg(), start
        for cell in range(math.floor(start), math.floor(end)):
            gain.mul_(self._decay(cell + 1 - here)).add_(self._over_cell(cell))
            here = cell + 1
        self._last = end, self._since_cell(end)
        gain.mul_(self._decay(end - here)).add_(self._last[1])
        return to_device(gain.div_(math.sqrt(self._variance(end - start))), self._device, self._dtype)

    def _decay(self, h: float) -> float:
        return math.exp(-self._eta * h)

    def _variance(self, h: float) -> float:
        return -math.expm1(-2.0 * self._eta * h)

    def _since_cell(self, lam: float) -> torch.Tensor:
        """The gain from the last whole lambda to lam. The caller must not change it."""
        if self._last is not None and self._last[0] == lam:
            return self._last[1]
        cell, node = math.floor(lam), 1
        low, high = float(cell), cell + 1.0
        at_high = self._over_cell(cell)
        at_low = torch.zeros_like(at_high)
        for _ in range(_LEVELS):
            middle = (low + high) / 2.0
            at_middle = self._bridge(low, at_low, high, at_high, middle, self._draw(cell, node))
            if lam < middle:
                high, at_high, node = middle, at_middle, 2 * node
            else:
                low, at_low, node = middle, at_middle, 2 * node + 1
        return self._bridge(low, at_low, high, at_high, lam, self._draw(cell, node))

    def _over_cell(self, cell: int) -> torch.Tensor:
        """The gain from lambda = cell to cell + 1."""
        return self._draw(cell, 0).mul_(math.sqrt(self._variance(1.0)))

    def _bridge(
        self, low: float, at_low: torch.Tensor, high: float, at_high: torch.Tensor, lam: float, draw: torch.Tensor
    ) -> torch.Tensor:
        """The process at lam, given its values at low and high: their weighted mean plus a normal `draw`, written into `draw`."""
        before, after, whole = (self._variance(h) for h in (lam - low, high - lam, high - low))
        draw.mul_(math.sqrt(before * after / whole))
        draw.add_(at_low, alpha=self._decay(lam - low) * after / whole)
        return draw.add_(at_high, alpha=self._decay(high - lam) * before / whole)

    def _draw(self, cell: int, node: int) -> torch.Tensor:
        """The normal numbers of a node of a cell's tree, a fixed function of the node and the item."""
        # always float32, so that every dtype sees the same numbers
        draws = torch.empty(len(self._keys), *self._shape, dtype=torch.float32)
        for draw, key in zip(draws, self._keys):
            digest = hashlib.blake2b(f"{cell} {node}".encode(), digest_size=8, key=key).digest()
            draw.normal_(generator=self._generator.manual_seed(int.from_bytes(digest, "little") >> 1))
        return draws
