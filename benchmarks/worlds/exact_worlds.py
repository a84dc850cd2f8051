"""Worlds whose denoiser is a formula: D(x) = E[x0 given alpha x0 + sigma n = x], with guidance towards one class per item.

    photo     fifteen Gaussians with full covariances, fitted to 12x12 RGB patches of five photographs (photo_fit.py); each
              photograph is a class
    latent    independent DCT coefficients with the spectrum of FLUX.2 latents of photographs, heavy tails, and ten classes that
              differ in the sixteen lowest frequencies
    mixture   isotropic Gaussians: the digits, and a ring in the plane

Each is called as `world(x, sigma, alpha)` and works in x's dtype, its logits always in float64. With guidance 1 there is no
class: the data are those of all classes. Otherwise D = D_all + guidance (D_class - D_all).
"""

import copy
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from embedded.digits import digits
from embedded.mixture import GaussianMixture

PHOTO = Path(__file__).with_name("photo.npz")
# Mean power of orthonormal DCT coefficients of FLUX.2 latents of eight photographs (512x512, latents 64x64, each channel scaled
# to unit variance) by radial frequency, in half cycles per image. A latent n times as large has n^2 times the power.
_CYCLES = (0.3, 1.0, 2.2, 4.2, 8.5, 17.0, 34.0, 64.0)
_POWER = (396.0, 80.0, 55.0, 14.7, 6.2, 2.0, 0.61, 0.34)
_MEASURED_SIDE = 64
# Scales of a coefficient's variance and their shares. The median of such coefficients' power is a third of its mean, as measured.
_SCALES, _SHARES = (0.2, 1.0, 3.6), (0.5, 0.35, 0.15)


class Exact:
    """Data with classes. Subclasses define the denoiser, given the shares of the components, and draw data.

    Attributes:
        shape: of an item.
        labels: (components,) class of every component.
        frequencies: (components,) shares of the components in the data, float64; equal unless a subclass says otherwise.
        guidance: CFG; 1 means no guidance.
        asked: (batch,) the class of each item, None for no class.
    """

    def __init__(self, shape: tuple[int, ...], labels: torch.Tensor):
        self.shape, self.labels = shape, labels
        self.frequencies = torch.full((len(labels),), 1.0 / len(labels), dtype=torch.float64)
        self.guidance, self.asked = 1.0, None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.labels.max()) + 1

    def guided(self, guidance: float, asked: torch.Tensor | None = None) -> "Exact":
        """The same data with guidance towards one class per item."""
        other = copy.copy(self)
        other.guidance, other.asked = guidance, asked
        return other

    def shares(self, logits: torch.Tensor) -> torch.Tensor:
        """Weights of the components in D, which is linear in them; (batch, components). Guidance makes some of them negative."""
        everything = logits.softmax(1)
        if self.asked is None:
            return everything
        of_class = logits.masked_fill(self.asked[:, None] != self.labels[None], -math.inf).softmax(1)
        return everything + self.guidance * (of_class - everything)

    def __call__(self, x: torch.Tensor, sigma: float, alpha: float = 1.0) -> torch.Tensor:
        raise NotImplementedError

    def draw(self, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draws of one class per item; (batch, *shape), float64."""
        raise NotImplementedError

    def draw_any(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draws of all classes, in proportion to their frequency."""
        return self.draw(self.labels[torch.multinomial(self.frequencies, count, True, generator=generator)], generator)

    def _pick(self, labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """One component of each item's class."""
        chances = self.frequencies * (labels[:, None] == self.labels[None])
        return torch.multinomial(chances, 1, generator=generator)[:, 0]


class Photo(Exact):
    """Gaussians with their own principal components; the remaining variance is the same in every direction."""

    def __init__(self, file: Path = PHOTO):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing; it is in the repository, and benchmarks/worlds/photo_fit.py makes it.")
        with np.load(file) as data:
            parts = {name: torch.from_numpy(data[name]) for name in data.files}
        side = math.isqrt(parts["means"].shape[1] // 3)
        super().__init__((3, side, side), parts["labels"])
        self._means = parts["means"].double()
        self._directions = torch.linalg.qr(parts["directions"].double()).Q  # rounded to bytes in the file
        self._variances, self._rest = parts["variances"].double(), parts["rest"].double()[:, None]
        self.frequencies = parts["weights"].double() / parts["weights"].double().sum()

    @lru_cache(maxsize=4)  # noqa: B019 (a world lives as long as its benchmark)
    def _in(self, dtype):
        tensors = self._means[:, None], self._directions, self._directions.mT.contiguous()
        return [tensor.to(dtype) for tensor in tensors]

    def __call__(self, x, sigma, alpha=1.0):
        means, down, up = self._in(x.dtype)
        off = x.flatten(1)[None] - alpha * means  # (components, batch, numbers)
        along = torch.bmm(off, down)
        rest, kept = (alpha**2 * v + sigma**2 for v in (self._rest, self._variances))  # variances of the noisy data
        squares = along.double().square()
        other = (off.double().square().sum(2) - squares.sum(2)).clamp_min(0.0)
        logits = other / rest + (squares / kept[:, None]).sum(2)
        beyond = off.shape[2] - along.shape[2]
        logits = self.frequencies.log()[:, None] - 0.5 * (logits + kept.log().sum(1, keepdim=True) + beyond * rest.log())
        shares = self.shares(logits.T).T[:, :, None].to(x.dtype)
        gain, gains = ((alpha * v / total).to(x.dtype)[:, None] for v, total in ((self._rest, rest), (self._variances, kept)))
        denoised = (shares * (means + gain * off)).sum(0) + torch.bmm(shares * (gains - gain) * along, up).sum(0)
        return denoised.reshape(x.shape)

    def draw(self, labels, generator):
        k = self._pick(labels, generator)
        along = self._directions[k]
        free = torch.randn(len(k), self._means.shape[1], dtype=torch.float64, generator=generator)
        inside = torch.randn(len(k), along.shape[2], dtype=torch.float64, generator=generator)
        free = free * self._rest[k].sqrt()
        kept = inside * self._variances[k].sqrt() - (along.mT @ free[:, :, None])[:, :, 0]
        return (self._means[k] + free + (along @ kept[:, :, None])[:, :, 0]).reshape(-1, *self.shape)


class Latent(Exact):
    """Latents of n x n with the spectrum above, coefficient by coefficient."""

    _LOW = 4  # number of frequencies along an axis that depend on the class

    def __init__(self, side: int, channels: int = 2, classes: int = 10, seed: int = 5):
        super().__init__((channels, side, side), torch.arange(classes))
        frequency = np.arange(side) * _MEASURED_SIDE / side
        radial = np.maximum(np.hypot(frequency[:, None], frequency[None]), _CYCLES[0])
        power = np.exp(np.interp(np.log(radial), np.log(_CYCLES), np.log(_POWER))) * (side / _MEASURED_SIDE) ** 2
        self._power = torch.from_numpy(power)
        rows = np.arange(side)
        cosines = np.sqrt(2.0 / side) * np.cos(np.pi * (2 * rows[None] + 1) * rows[:, None] / (2 * side))
        cosines[0] /= np.sqrt(2.0)
        self._dct = torch.from_numpy(cosines)
        generator = torch.Generator().manual_seed(seed)
        means = torch.randn(classes, channels, self._LOW, self._LOW, dtype=torch.float64, generator=generator)
        self._within = 0.5 * self._power[: self._LOW, : self._LOW]  # half the power is between the classes
        self._means = means * self._within.sqrt()
        scales, self._shares = (torch.tensor(v, dtype=torch.float64) for v in (_SCALES, _SHARES))
        self._scales = scales / (scales * self._shares).sum()

    @lru_cache(maxsize=4)  # noqa: B019
    def _in(self, dtype):
        column = (-1, 1, 1, 1, 1)
        tensors = self._dct, self._power, self._scales.reshape(column), self._shares.log().reshape(column)
        return [tensor.to(dtype) for tensor in tensors]

    def __call__(self, x, sigma, alpha=1.0):
        dct, power, scales, log_shares = self._in(x.dtype)
        noisy, low = dct @ x @ dct.T, self._LOW
        held = alpha**2 * scales * power
        variance = held + sigma**2  # (scales, 1, 1, n, n)
        shares = (log_shares - 0.5 * (noisy.square() / variance + variance.log())).softmax(0)
        denoised = noisy * (shares * (alpha * scales * power / variance)).sum(0)
        variance = alpha**2 * self._within + sigma**2
        off = noisy[:, None, :, :low, :low].double() - alpha * self._means  # (batch, classes, channels, 4, 4)
        each = self._means + (alpha * self._within / variance) * off
        shares = self.shares(-0.5 * (off.square() / variance).flatten(2).sum(2))
        denoised[..., :low, :low] = (shares[:, :, None, None, None] * each).sum(1).to(x.dtype)
        return dct.T @ denoised @ dct

    def draw(self, labels, generator):
        shape = (len(labels), *self.shape)
        scale = self._scales[torch.multinomial(self._shares, math.prod(shape), True, generator=generator)].reshape(shape)
        result = torch.randn(shape, dtype=torch.float64, generator=generator) * (scale * self._power).sqrt()
        within = torch.randn(len(labels), *self._means.shape[1:], dtype=torch.float64, generator=generator)
        result[..., : self._LOW, : self._LOW] = self._means[labels] + within * self._within.sqrt()
        return self._dct.T @ result @ self._dct


class Mixture(Exact):
    """Isotropic Gaussians of one width."""

    def __init__(self, mixture: GaussianMixture, shape: tuple[int, ...]):
        super().__init__(shape, mixture.labels)
        self.mixture = mixture

    def __call__(self, x, sigma, alpha=1.0):
        wide = x.double()
        denoised = self.mixture.denoise(wide, sigma, alpha)
        if self.asked is not None:
            asked = torch.nn.functional.one_hot(self.asked, self.classes)
            denoised = denoised + self.guidance * (self.mixture.denoise(wide, sigma, alpha, asked) - denoised)
        return denoised.to(x.dtype)

    def draw(self, labels, generator):
        means = self.mixture.means[self._pick(labels, generator)]
        noise = torch.randn(means.shape, dtype=torch.float64, generator=generator)
        return (means + self.mixture.std * noise).reshape(-1, *self.shape)


@lru_cache(maxsize=1)
def photo() -> Photo:
    """The photo world, read once."""
    return Photo()


@lru_cache(maxsize=2)
def latent(side: int) -> Latent:
    """A latent world of n x n, made once."""
    return Latent(side)


def digit_mixture() -> Mixture:
    """The digits of the embedded data."""
    return Mixture(digits(dtype=torch.float64), (1, 8, 8))


def ring(components: int = 12, radius: float = 1.5, std: float = 0.2, classes: int = 4) -> Mixture:
    """Gaussians on a ring in the plane; neighbours share a class."""
    angle = torch.arange(components, dtype=torch.float64) * (2.0 * math.pi / components)
    means = radius * torch.stack([angle.cos(), angle.sin()], 1)
    return Mixture(GaussianMixture(means, std, torch.arange(components) * classes // components), (2, 1, 1))
