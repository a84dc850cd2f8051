"""Critically-damped Langevin diffusion (CLD, arXiv 2112.07068): every number of the data has a position and a velocity.

    dx = beta v / M dt,    dv = -beta x dt - beta Gamma v / M dt + sqrt(2 Gamma beta) dw,    Gamma^2 = 4 M

A block is (x, v). Eq. 10 of arXiv 2206.05564 has sign errors in F21 and in the friction; this is the process of the CLD paper.
"""

from dataclasses import dataclass
from functools import cached_property
from math import inf, sqrt

import numpy as np

from ..quadrature import gauss_legendre
from .linear_sde import LinearSDE, Times, transposed

_LOG_SHIFT = 1e-4  # the angle is a smooth function of log(t + this)
_INTERVALS = 256
_NODES = 8


@dataclass(frozen=True)
class CLD(LinearSDE):
    """CLD with the constants of its paper."""

    beta: float = 4.0  # the rate at which time runs
    mass: float = 0.25  # M, the variance of the velocity in equilibrium
    velocity_share: float = 0.04  # variance of the velocity at t = 0, as a share of M
    jitter: float = 1e-6  # added to both variances at t = 0
    position_variance: float = 0.0  # of the data around u0, with which one step of degree 0 is exact for Gaussian data
    name = "CLD"
    size = 2

    def __post_init__(self) -> None:
        for name in ("beta", "mass", "velocity_share", "jitter"):
            if not 0.0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)!r}.")

    @property
    def friction(self) -> float:
        """Gamma of critical damping."""
        return 2.0 * sqrt(self.mass)

    def drift(self, t: Times) -> np.ndarray:
        """F = beta [[0, 1 / M], [-1, -Gamma / M]]."""
        rate = self.beta * np.array([[0.0, 1.0 / self.mass], [-1.0, -self.friction / self.mass]])
        return np.broadcast_to(rate, (*np.shape(t), 2, 2))

    def diffusion(self, t: Times) -> np.ndarray:
        """G G^T = diag(0, 2 Gamma beta)."""
        return np.broadcast_to(np.diag([0.0, 2.0 * self.friction * self.beta]), (*np.shape(t), 2, 2))

    def initial_covariance(self) -> np.ndarray:
        """Sigma_0 = diag(position_variance + jitter, velocity_share M + jitter)."""
        return np.diag([self.position_variance + self.jitter, self.velocity_share * self.mass + self.jitter])

    def prior_covariance(self) -> np.ndarray:
        """Diag(1, M), the equilibrium."""
        return np.diag([1.0, self.mass])

    def transition(self, t: Times, s: Times) -> np.ndarray:
        """e^-b [[1 + b, b / sqrt(M)], [-sqrt(M) b, 1 - b]] with b = beta (t - s) / sqrt(M)."""
        b = self._clock(t) - self._clock(s)
        return np.exp(-b)[..., None, None] * _matrix(1.0 + b, b / sqrt(self.mass), -b * sqrt(self.mass), 1.0 - b)

    def covariance(self, t: Times) -> np.ndarray:
        """Psi Sigma_0 Psi^T + S - Psi S Psi^T with Psi = Psi(t, 0) and S = diag(1, M)."""
        from scipy.special import gammainc  # noqa: PLC0415 (slow to import)

        transition, y = self.transition(t, 0.0), 2.0 * self._clock(t)
        # S - Psi S Psi^T without the cancellation at small t: gammainc(3, y) = 1 - e^-y (1 + y + y^2 / 2)
        gained, cross = gammainc(3.0, y), 0.5 * y**2 * np.exp(-y)
        unit = sqrt(self.mass)
        added = _matrix(gained, unit * cross, unit * cross, self.mass * (gained + 2.0 * y * np.exp(-y)))
        return transition @ self.initial_covariance() @ transposed(transition) + added

    def root(self, t: Times) -> np.ndarray:
        """L_t Rot(theta_t), which solves R's equation."""
        angle = self._angle(t)
        rotation = _matrix(np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
        return self.cholesky(t) @ rotation

    def _clock(self, t: Times) -> np.ndarray:
        return self.beta / sqrt(self.mass) * np.asarray(t, dtype=np.float64)

    def _angle(self, t: Times) -> np.ndarray:
        """The angle between L and R: theta' = -(beta / M) L22 / L11, theta(0) = 0, by quadrature in log(t + 1e-4)."""
        edges, angles = self._angles
        u = np.log(np.asarray(t, dtype=np.float64) + _LOG_SHIFT)
        below = np.clip(np.searchsorted(edges, u, side="right") - 1, 0, len(edges) - 2)
        return angles[below] + self._turned(edges[below], u)

    @cached_property
    def _angles(self) -> tuple[np.ndarray, np.ndarray]:
        edges = np.linspace(np.log(_LOG_SHIFT), np.log(self.t_max + _LOG_SHIFT), _INTERVALS + 1)
        return edges, np.concatenate([[0.0], np.cumsum(self._turned(edges[:-1], edges[1:]))])

    def _turned(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        length = (end - start)[..., None]
        at, measure = gauss_legendre(_NODES)
        shifted = np.exp(start[..., None] + length * at)
        factor = self.cholesky(np.maximum(shifted - _LOG_SHIFT, 0.0))
        speed = -self.beta / self.mass * factor[..., 1, 1] / factor[..., 0, 0]
        return (length * measure * speed * shifted).sum(axis=-1)


def _matrix(xx: np.ndarray, xv: np.ndarray, vx: np.ndarray, vv: np.ndarray) -> np.ndarray:
    return np.stack([np.stack([xx, xv], axis=-1), np.stack([vx, vv], axis=-1)], axis=-2)
