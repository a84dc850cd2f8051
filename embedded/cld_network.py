"""A small network of eps for critically-damped Langevin diffusion on images of 8x8.

The network learns only what the process leaves unknown. `cld_coordinates` splits eps into a known part and the noise of an image.
This noise is first estimated by the best Gaussian of independent pixels, and a UNet corrects the estimate in units of its error:

    w = (sqrt(SNR) (x0 - mean) + n) / sqrt(1 + a^2),    a = std sqrt(SNR)
    E[n | w] = (w - a UNet(w, SNR, class)) / sqrt(1 + a^2)

This is the preconditioning of EDM (arXiv 2206.00364, table 1) with a mean. Inputs and targets of the UNet have unit variance at
every t, and the UNet adds no error to the known half of eps.
"""

import torch
from torch import nn
from torch.nn import functional

from .cld_coordinates import NODES, split

_FREQUENCIES = 16
_GROUPS = 8


class CLDNetwork(nn.Module):
    """eps of a CLD state, with the same inputs and outputs as the published CLD checkpoints.

    Weights stay in float32, because half precision cannot resolve states near t = 0.

    Args:
        channels: C of the images; a state has 2C, all of x before all of v.
        height, width: of the images, multiples of 4.
        features: channels of the UNet at full resolution, a multiple of 8.
        classes: length of a token of the context.
    """

    coordinates: torch.Tensor  # `cld_coordinates.table` of the process and K
    mean: torch.Tensor  # of the data, (C, height, width)
    std: torch.Tensor

    def __init__(self, channels: int = 1, height: int = 8, width: int = 8, features: int = 32, classes: int = 10):
        super().__init__()
        self.channels, self.height, self.width, self.features, self.classes = channels, height, width, features, classes
        self.register_buffer("coordinates", torch.zeros(NODES, 7))  # replaced by loaded weights
        self.register_buffer("mean", torch.zeros(channels, height, width))
        self.register_buffer("std", torch.ones(channels, height, width))
        self.unet = UNet(channels, features, classes)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, which the host asks for."""
        return self.mean.dtype

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Eps of a state x, (batch, 2C, height, width), at labels 999 t, (batch,); a ValueError for another shape.

        The context, (batch, tokens, classes), has weights of the classes, >= 0, summed over tokens; None or zeros for no class.
        """
        if x.shape[1:] != (2 * self.channels, self.height, self.width):
            raise ValueError(
                f"latent has items of shape {tuple(x.shape[1:])}, but this network's have "
                f"{(2 * self.channels, self.height, self.width)}: all channels of x, then all of v."
            )
        at = split(self.coordinates, timesteps)
        blocks = x.to(self.dtype).unflatten(1, (2, self.channels))
        root_snr = at.half_log_snr.exp()[:, None, None, None]
        share = self.std * root_snr
        spread = (1.0 + share.square()).sqrt()
        noisy = (_project(at.image, blocks) - root_snr * self.mean) / spread
        residual = self.unet(noisy, at.half_log_snr, self.class_shares(context, len(x)))
        unknown = (noisy - share * residual) / spread
        known = _project(at.noise, blocks)
        cos, sin = (part[:, None, None, None] for part in at.direction.unbind(1))
        return torch.cat([cos * unknown - sin * known, sin * unknown + cos * known], dim=1).to(x.dtype)

    def class_shares(self, context: torch.Tensor | None, batch: int) -> torch.Tensor:
        """Shares of the classes that sum to 1, (batch, classes); they are equal for no class."""
        if context is None:
            return self.mean.new_full((batch, self.classes), 1.0 / self.classes)
        if context.shape[-1] != self.classes:
            raise ValueError(f"conditioning has tokens of length {context.shape[-1]}; this network has {self.classes} classes.")
        weights = context.to(self.dtype).sum(dim=1).clamp(min=0.0)
        total = weights.sum(dim=1, keepdim=True)
        return torch.where(total > 0.0, weights, 1.0) / torch.where(total > 0.0, total, float(self.classes))


class UNet(nn.Module):
    """A UNet of three resolutions, with one residual block per resolution on the way down and on the way up."""

    def __init__(self, channels: int, features: int, classes: int):
        super().__init__()
        f, embedding = features, 2 * features
        self.level = nn.Linear(2 * _FREQUENCIES, embedding)
        self.label = nn.Linear(classes, embedding)
        self.embed = nn.Linear(embedding, embedding)
        self.enter = nn.Conv2d(channels, f, 3, padding=1)
        self.fine_down = _Residual(f, f, embedding)
        self.halve = nn.Conv2d(f, 2 * f, 2, stride=2)
        self.middle_down = _Residual(2 * f, 2 * f, embedding)
        self.quarter = nn.Conv2d(2 * f, 4 * f, 2, stride=2)
        self.coarse = _Residual(4 * f, 4 * f, embedding)
        self.to_middle = nn.ConvTranspose2d(4 * f, 2 * f, 2, stride=2)
        self.middle_up = _Residual(4 * f, 2 * f, embedding)
        self.to_fine = nn.ConvTranspose2d(2 * f, f, 2, stride=2)
        self.fine_up = _Residual(2 * f, f, embedding)
        self.leave = nn.Conv2d(f, channels, 3, padding=1)
        for weight in self.leave.parameters():
            nn.init.zeros_(weight)  # training starts at the best Gaussian

    def forward(self, images: torch.Tensor, half_log_snr: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """The correction of the Gaussian's estimate, for (batch, channels, height, width), (batch,) and (batch, classes)."""
        e = self.embed(functional.silu(self.level(_waves(half_log_snr)) + self.label(shares)))
        fine = self.fine_down(self.enter(images), e)
        middle = self.middle_down(self.halve(fine), e)
        h = self.coarse(self.quarter(middle), e)
        h = self.middle_up(torch.cat([self.to_middle(h), middle], dim=1), e)
        h = self.fine_up(torch.cat([self.to_fine(h), fine], dim=1), e)
        return self.leave(h)


class _Residual(nn.Module):
    def __init__(self, before: int, after: int, embedding: int):
        super().__init__()
        self.norm_1, self.conv_1 = nn.GroupNorm(_GROUPS, before), nn.Conv2d(before, after, 3, padding=1)
        self.norm_2, self.conv_2 = nn.GroupNorm(_GROUPS, after), nn.Conv2d(after, after, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * after)
        self.skip = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, x: torch.Tensor, e: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulation(functional.silu(e))[..., None, None].chunk(2, dim=1)
        h = self.conv_1(functional.silu(self.norm_1(x)))
        return self.skip(x) + self.conv_2(functional.silu(self.norm_2(h) * (1.0 + scale) + shift))


def _project(vector: torch.Tensor, blocks: torch.Tensor) -> torch.Tensor:
    """(batch, 2) times the blocks of a state (batch, 2, C, height, width)."""
    return torch.einsum("bi,bichw->bchw", vector, blocks)


def _waves(level: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of (batch,) levels between -6 and 7, of periods from 60 down to 1."""
    frequencies = torch.logspace(-1.0, 0.8, _FREQUENCIES, dtype=level.dtype)  # on the CPU, as Apple's devices have no logspace
    angles = level[:, None] * frequencies.to(level.device)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
