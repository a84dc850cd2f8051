"""From the data that a network sees to the state that a process moves, and back.

The data are the position of CLD, whose velocity belongs to the process only; blurring diffusion moves the frequencies of an
image.
"""

from functools import reduce

import numpy as np
import torch

from .blurring import dct_matrix
from .linear_sde import LinearSDE


class Coordinates:
    """Maps between the state of a process and data like (batch, channels, ...), of the size that the process is made for."""

    def __init__(self, sde: LinearSDE, like: torch.Tensor):
        self._sde, self._channels = sde, like.shape[1]
        self._dct = tuple(_like(dct_matrix(n), like) for n in sde.grid)

    def to_state(self, seen: torch.Tensor) -> torch.Tensor:
        """Input or output of the network in the state's coordinates."""
        return self._dct[0] @ seen @ self._dct[1].mT if self._dct else seen

    def to_seen(self, state: torch.Tensor) -> torch.Tensor:
        """The inverse of `to_state`."""
        return self._dct[0].mT @ state @ self._dct[1] if self._dct else state

    def data(self, state: torch.Tensor) -> torch.Tensor:
        """The part of a state that is data, as the network sees it: the position."""
        return self.to_seen(state)[:, : self._channels]

    def noised(self, t: float, data: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """The data part of a state at t, Psi(t, 0) (data, 0) + L_t noise; data and unit noise are (batch, channels, ...)."""
        signal = self._first_column(self._sde.transition(t, 0.0), data)[0]
        spread = self._first_column(self._sde.cholesky(t), data)[0]
        return self.to_seen(signal * self.to_state(data) + spread * self.to_state(noise))

    def unscaled(self, t: float, noisy: torch.Tensor) -> torch.Tensor:
        """The data from which `noised` makes `noisy` without noise; it divides by the factor of the data at t."""
        return self.to_seen(self.to_state(noisy) / self._first_column(self._sde.transition(t, 0.0), noisy)[0])

    def started(self, t: float, noisy: torch.Tensor, data: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """The whole state at t > 0 for a data part `noisy`, from `noised`, and the data in it.

        The noise is unit noise like the state, for the rest of the state; its data part is not used.
        """
        position = self.to_state(noisy)
        if self._sde.size == 1:
            return position
        signal = self._first_column(self._sde.transition(t, 0.0), data)
        spread = self._first_column(self._sde.cholesky(t), data)
        own = float(self._sde.cholesky(t)[1, 1])
        position_noise = (position - signal[0] * data) / spread[0]
        velocity = signal[1] * data + spread[1] * position_noise + own * noise[:, self._channels :]
        return torch.cat([position, velocity], dim=1)

    def _first_column(self, matrix: np.ndarray, like: torch.Tensor) -> list[torch.Tensor] | list[float]:
        """How the first number of every block acts on each of its numbers."""
        if self._sde.grid:
            return [_like(matrix[..., 0, 0], like)]
        return [float(value) for value in matrix[:, 0]]


class DenoisedData:
    """The data part of the mean of u0, Psi(0, t) (u - K_t eps), at some times, for previews, in the dtype of a state `like`."""

    def __init__(self, sde: LinearSDE, kind: str, coordinates: Coordinates, times: list[float], like: torch.Tensor):
        self._coordinates, self._size = coordinates, sde.size
        back = sde.transition(0.0, np.array(times))[..., :1, :]
        rows = np.stack([back, back @ -sde.factor(np.array(times), kind)], axis=1)
        self._rows = _like(rows[..., 0, :], like)  # (times, of u and of eps, *grid, size)

    def at(self, call: int, state: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """The data, (batch, channels, ...), for the time with this index."""
        weights = (weight for row in self._rows[call] for weight in row.unbind(dim=-1))
        parts = (part for tensor in (state, eps) for part in tensor.chunk(self._size, dim=1))
        return self._coordinates.to_seen(reduce(torch.add, (part * weight for part, weight in zip(parts, weights))))


def _like(matrix: np.ndarray, tensor: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(matrix)).to(tensor.dtype).to(tensor.device)
