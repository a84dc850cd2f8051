"""Noise that belongs to an item, not to a batch.

An item's noise depends only on the seed, on the item's initial noise and on the sigma at which the run starts. It is therefore
the same in a run by itself, in any position of a batch, and in a batch that is split over several machines. It is the same on
every device because it is drawn on the CPU. The sigma is included because a run may continue another run of the same seed; with
the same noise again, the variances would not add up.

If the initial noise is off (all zeros, as in the second part of a schedule that was cut in two), the position in the batch
identifies the item. If the initial noise is unknown, the state from which the item starts identifies it, and equal states of a
batch are numbered. Two items with equal initial noise get equal noise.
"""

import hashlib
from typing import Any

import torch

from .signature import Model


def item_keys(initial_noise: torch.Tensor | None, first_states: torch.Tensor, seed: int, sigma: float) -> list[int]:
    """A 63-bit key for each item of a run from sigma, of which six digits are used.

    The initial noise, (batch, ...), is unit noise before any scaling by sigma. If it is None, the first states are used instead.
    """
    identities = _bytes(first_states if initial_noise is None else initial_noise)
    if initial_noise is None:  # copies of one picture are numbered, so that they become different pictures
        befores = [identities[:i].count(identity) for i, identity in enumerate(identities)]
        identities = [identity + f" {before}".encode() * (before > 0) for identity, before in zip(identities, befores)]
    key = seed.to_bytes(16, "little", signed=True) + f"{sigma:.5e}".encode()
    digests = (hashlib.blake2b(identity, digest_size=8, key=key).digest() for identity in identities)
    return [int.from_bytes(digest, "little") >> 1 for digest in digests]


def _bytes(items: torch.Tensor) -> list[bytes]:
    """The numbers of each item; its position where all of them are 0."""
    items = items.detach().cpu().float().contiguous()
    return [item.numpy().tobytes() if item.any() else f"position {i}".encode() for i, item in enumerate(items)]


class ItemNoise:
    """A noise_sampler that gives independent unit noise like a latent, with one generator per item, seeded by `item_keys`."""

    def __init__(self, keys: list[int], like: torch.Tensor):
        self._generators = [torch.Generator("cpu").manual_seed(key) for key in keys]
        self._shape, self._dtype, self._device = like.shape[1:], like.dtype, like.device

    def __call__(self, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
        """Unit noise like the latent; the sigmas are not used."""
        # always drawn in float32, so that every dtype gets the same numbers
        size = len(self._generators), *self._shape
        draws = torch.empty(size, dtype=torch.float32, pin_memory=self._device.type == "cuda")
        for draw, generator in zip(draws, self._generators):
            draw.normal_(generator=generator)
        return to_device(draws, self._device, self._dtype)


def to_device(draws: torch.Tensor, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """A CPU tensor on a device; the CPU does not wait for the copy."""
    if device.type == "cuda":
        draws = draws.pin_memory()  # the tensor itself, if it is pinned
    return draws.to(device, dtype, non_blocking=True)


def default_noise_sampler(model: Model, x: torch.Tensor, extra_args: dict[str, Any], sigma: float) -> ItemNoise:
    """ItemNoise for a run from sigma, see `run_keys`."""
    return ItemNoise(run_keys(model, x, extra_args, sigma), x)


def run_keys(model: Model, x: torch.Tensor, extra_args: dict[str, Any], sigma: float) -> list[int]:
    """The item keys of a run from x at sigma, by the seed of `extra_args` and ComfyUI's initial noise, `model.noise`.

    Wrappers of other packs often hide `model.noise`; the items of x are then the identities. Without a seed, one is drawn from
    torch's global generator, so that torch.manual_seed reproduces it.
    """
    seed = extra_args.get("seed")
    seed = int(torch.randint(2**62, (1,))) if seed is None else int(seed)
    initial = getattr(model, "noise", None)
    same_shape = isinstance(initial, torch.Tensor) and initial.shape == x.shape
    return item_keys(initial if same_shape else None, x, seed, sigma)
