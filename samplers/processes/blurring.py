"""Blurring diffusion (arXiv 2209.05557): heat dissipation and noise, diagonal in the frequencies of the DCT.

Here y is the orthonormal 2-D DCT-II of the image, eps is white noise, and a_t falls faster at high frequencies:

    y_t = a_t y_0 + sigma_t eps
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import inf, pi

import numpy as np

from .linear_sde import LinearSDE, Times, scalar

_OFFSET = 0.004  # offset of the cosine schedule, so that noise does not start at 0
_SPEED = 0.5 * pi / (1.0 + 2.0 * _OFFSET)  # of its phase
_LEAST = 0.001  # the share of a frequency that the strongest blur leaves


@dataclass(frozen=True)
class Blurring(LinearSDE):
    """Blurring diffusion of images of one size, with a cosine schedule of the noise."""

    height: int
    width: int
    blur: float = 10.0  # strength of the blur at t = 1, in pixels
    initial_variance: float = 0.0  # of the data around y0, with which one step of degree 0 is exact for Gaussian data
    name = "blurring diffusion"
    t_min = 1e-5
    t_max = 0.99598  # at later times a is so small that y0 = (y - sigma eps) / a is lost

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1 or not 0.0 <= self.blur < inf:
            raise ValueError(f"height and width must be 1 or more and blur 0 or more, got {self}.")

    @property
    def grid(self) -> tuple[int, int]:
        """One block per frequency: (height, width)."""
        return (self.height, self.width)

    @cached_property
    def first(self) -> "Blurring":
        """The process of the mean of the image, which is not blurred."""
        return Blurring(1, 1, self.blur, self.initial_variance)

    def drift(self, t: Times) -> np.ndarray:
        """F = d log(a_t) / dt of every frequency."""
        t, phase = self._t(t)
        blurred, rate = self._blur(t)
        blur_speed = -rate * (1.0 - _LEAST) * blurred / (_LEAST + (1.0 - _LEAST) * blurred)
        return scalar(blur_speed - _SPEED * np.tan(phase))

    def diffusion(self, t: Times) -> np.ndarray:
        """G G^T = d sigma_t^2 / dt - 2 F sigma_t^2."""
        phase = self._t(t)[1]
        variance, growth = np.sin(phase) ** 2, _SPEED * np.sin(2.0 * phase)
        return scalar(growth - variance * 2.0 * self.drift(t)[..., 0, 0])

    def initial_covariance(self) -> np.ndarray:
        """sigma_0^2 + initial_variance."""
        noise = np.sin(self._t(0.0)[1]) ** 2
        return scalar(np.broadcast_to(noise + self.initial_variance, self.grid))

    def prior_covariance(self) -> np.ndarray:
        """1: white noise."""
        return scalar(np.ones(self.grid))

    def transition(self, t: Times, s: Times) -> np.ndarray:
        """a_t / a_s of every frequency."""
        return np.exp(self._log_scale(t) - self._log_scale(s))[..., None, None]

    def covariance(self, t: Times) -> np.ndarray:
        """sigma_t^2 + (a_t / a_0)^2 initial_variance."""
        return scalar(np.sin(self._t(t)[1]) ** 2) + self.initial_variance * self.transition(t, 0.0) ** 2

    def root(self, t: Times) -> np.ndarray:
        """Sqrt(Sigma_t), as numbers commute."""
        return np.sqrt(self.covariance(t))

    def _t(self, t: Times) -> tuple[np.ndarray, np.ndarray]:
        """t and the phase of the cosine, with axes for the frequencies."""
        t = np.asarray(t, dtype=np.float64)[..., None, None]
        return t, (t + _OFFSET) * _SPEED

    def _blur(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """e^-(Lam sigma_b^2 / 2) and the rate at which its logarithm falls."""
        down, across = (pi * np.arange(n) / n for n in (self.height, self.width))
        frequency = down[:, None] ** 2 + across**2
        width, growth = self.blur * np.sin(0.5 * pi * t) ** 2, self.blur * 0.5 * pi * np.sin(pi * t)
        return np.exp(-0.5 * frequency * width**2), frequency * width * growth

    def _log_scale(self, t: Times) -> np.ndarray:
        t, phase = self._t(t)
        return np.log(np.cos(phase)) + np.log(_LEAST + (1.0 - _LEAST) * self._blur(t)[0])


@lru_cache(maxsize=4)  # an exact model needs the same matrices at every call
def dct_matrix(n: int) -> np.ndarray:
    """The orthonormal DCT-II of n numbers as a matrix, whose transpose is the inverse. Callers must not write into it."""
    from scipy.fft import dct  # noqa: PLC0415 (slow to import)

    return dct(np.eye(n), axis=0, norm="ortho")
