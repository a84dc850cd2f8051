"""The exact eps of a Gaussian mixture under a linear diffusion, which a perfect network would give."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from .mixture import GaussianMixture

if TYPE_CHECKING:
    from samplers.processes.linear_sde import LinearSDE  # noqa: TID251 (for the type checker)


class ProcessMixture:
    """A mixture that diffuses, in the coordinates of the process, which are DCT coefficients for blurring diffusion.

    The first number of the blocks of the process is data.
    """

    def __init__(self, sde: "LinearSDE", mixture: GaussianMixture):
        self._sde, self._mixture = sde, mixture

    def eps(self, u: torch.Tensor, t: float, kind: str = "R", class_weights: torch.Tensor | None = None) -> torch.Tensor:
        """-K^T score of the mixture's density at t, for states (batch, ...) of `size` groups of the data's numbers each."""
        sde = self._sde
        signal = sde.transition(t, 0.0)[..., :1]  # how data enter a block
        covariance = self._mixture.std**2 * signal @ np.swapaxes(signal, -1, -2) + sde.covariance(t)
        gain = np.linalg.solve(covariance, signal)
        blocks = u.reshape(len(u), sde.size, -1).transpose(1, 2)  # (batch, numbers of the data, size)
        to_eps = self._spread(np.swapaxes(np.linalg.solve(covariance, sde.factor(t, kind)), -1, -2), blocks)
        information = self._spread((np.swapaxes(signal, -1, -2) @ gain)[..., 0], blocks)
        means = self._mixture.means.to(blocks)
        # log N(u; signal mean, covariance), without the terms that all components share
        projected = (blocks * self._spread(gain[..., 0], blocks)).sum(dim=2)
        logits = projected @ means.T - 0.5 * (means.square() * information[:, 0]).sum(dim=1)
        posterior = (logits + self._mixture.class_logits(class_weights)).softmax(dim=1)
        centred = blocks - (posterior @ means)[..., None] * self._spread(signal[..., 0], blocks)
        return torch.matmul(to_eps, centred[..., None])[..., 0].transpose(1, 2).reshape(u.shape)

    def _spread(self, matrix: np.ndarray, blocks: torch.Tensor) -> torch.Tensor:
        """Matrices on the grid of the process as (numbers of the data or 1, ...)."""
        rest = matrix.shape[len(self._sde.grid) :]
        flat = torch.from_numpy(np.ascontiguousarray(matrix)).to(blocks).reshape(-1, *rest)
        return flat if len(flat) == 1 else flat.repeat(blocks.shape[1] // len(flat), *[1] * len(rest))
