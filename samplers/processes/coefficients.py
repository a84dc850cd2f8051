"""Integrals over steps of a linear diffusion, as matrices in float64 (arXiv 2206.05564, eq. 19 to 22 and 45 to 47)."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..quadrature import gauss_legendre
from .linear_sde import LinearSDE, transposed

# Quadratures are in log(tau + 1e-4), in which R and its inverse are smooth down to t = 0. Their pieces are no longer than 1.
_NODES = 16
_LOG_SHIFT, _PIECE = 1e-4, 1.0
_TOGETHER = 2**16  # numbers that are computed at once


class AlongSteps:
    """Integrands of steps at the nodes of their quadratures. Many steps are computed together, which takes a tenth of the time.

    The steps (s, t), t_max >= s > t >= 0, are in the order in which they are asked for. integrand(tau, ends) takes times (n,) and
    the ends of their steps, and gives the variable of interpolation (n,) and matrices (n, *grid, size, size).
    """

    def __init__(
        self,
        sde: LinearSDE,
        steps: Sequence[tuple[float, float]],
        integrand: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    ):
        self._steps, self._integrand, self._size = list(steps), integrand, math.prod(sde.grid) * sde.size**2
        self._known: dict[tuple[float, float], tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def __call__(self, s: float, t: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The variable (n + 2,), weights (n,) and matrices (n + 2, ...); the last two entries are at s and t themselves."""
        if (s, t) not in self._known:
            self._compute(self._steps.index((s, t)))
        return self._known[s, t]

    def _compute(self, first: int) -> None:
        steps, taken = [], 0
        for s, t in self._steps[first:]:
            tau, weights = quadrature(s, t)
            steps.append(((s, t), np.append(tau, (s, t)), weights))
            taken += self._size * len(tau)
            if taken > _TOGETHER:
                break
        counts = [len(tau) for _, tau, _ in steps]
        clock, matrices = self._integrand(
            np.concatenate([tau for _, tau, _ in steps]), np.repeat([t for (_, t), *_ in steps], counts)
        )
        splits = np.cumsum(counts)[:-1]
        parts = zip(steps, np.split(clock, splits), np.split(matrices, splits))
        before = dict(list(self._known.items())[-1:])  # a corrector asks for the previous step again
        self._known = before | {step: (clock, weights, matrices) for (step, _, weights), clock, matrices in parts}


def quadrature(s: float, t: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights from s to t."""
    start, end = np.log(s + _LOG_SHIFT), np.log(t + _LOG_SHIFT)
    edges = np.linspace(start, end, 2 + int(abs(end - start) / _PIECE))
    length = np.diff(edges)[:, None]
    at, measure = gauss_legendre(_NODES)
    shifted = np.exp(edges[:-1, None] + length * at)
    return (shifted - _LOG_SHIFT).ravel(), (length * measure * shifted).ravel()


def lagrange_slope(nodes: Sequence[float], j: int, t: np.ndarray) -> np.ndarray:
    """dl_j / dt."""
    others = [other for k, other in enumerate(nodes) if k != j]
    slope = np.zeros_like(t)
    for i, other in enumerate(others):
        rest = others[:i] + others[i + 1 :]
        slope = slope + np.prod([(t - r) / (nodes[j] - r) for r in rest], axis=0) / (nodes[j] - other)
    return slope


def contraction(sde: LinearSDE, s: Sequence[float], t: Sequence[float], noise_level: float) -> np.ndarray:
    """Q of every step from s to t, s > t > 0, with Psihat(t, s) = R_t Q R_s^-1; (steps, *grid, size, size).

    Q' = lambda^2 / 2 R^-1 G G^T R^-T Q, Q = 1 at s. The matrix in front of Q is positive semidefinite and t falls, so Q never
    stretches anything, and P = R_t (1 - Q Q^T) R_t^T is symmetric and positive semidefinite by construction. `noise_level` is the
    paper's lambda; 0 gives Q = 1 exactly, which is the deterministic step, and 1 is the reverse SDE.
    """
    start, end = np.asarray(s, dtype=np.float64), np.asarray(t, dtype=np.float64)
    shape = (len(start), *sde.grid, sde.size, sde.size)
    unit = np.broadcast_to(np.eye(sde.size), shape)
    if noise_level == 0.0 or len(start) == 0:
        return unit.copy()
    if sde.size == 1:  # numbers commute, so that Q is a power of the closed form for noise level 1
        ratio = np.log(sde.root(end)) - np.log(sde.root(start)) - np.log(sde.transition(end, start))
        return np.exp(noise_level**2 * ratio)
    if noise_level == 1.0:
        return transposed(np.linalg.solve(sde.root(start), np.linalg.solve(sde.transition(end, start), sde.root(end))))
    from scipy.integrate import solve_ivp  # noqa: PLC0415 (slow to import)

    length = (end - start)[(...,) + (None,) * (len(shape) - 1)]

    def slope(u: float, flat: np.ndarray) -> np.ndarray:
        tau = start + u * (end - start)
        inverse = np.linalg.inv(sde.root(tau))
        speed = inverse @ sde.diffusion(tau) @ transposed(inverse)
        return (0.5 * noise_level**2 * length * (speed @ flat.reshape(shape))).ravel()

    solved = solve_ivp(slope, (0.0, 1.0), unit.ravel(), method="DOP853", rtol=1e-10, atol=1e-12)
    if not solved.success:
        raise ArithmeticError(f"Psihat of {sde.name} could not be solved for: {solved.message}")
    return solved.y[:, -1].reshape(shape)


def noise_factor(sde: LinearSDE, t: float, contracted: np.ndarray) -> np.ndarray:
    """R_t (1 - Q Q^T)^(1/2), whose product with its transpose is P.

    The symmetric root does not depend on a library's choice of eigenvectors.
    """
    missing = np.eye(sde.size) - contracted @ transposed(contracted)
    values, vectors = np.linalg.eigh(0.5 * (missing + transposed(missing)))
    return sde.root(t) @ (vectors * np.sqrt(np.clip(values, 0.0, None))[..., None, :]) @ transposed(vectors)
