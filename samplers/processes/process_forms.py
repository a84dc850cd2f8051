"""Exact forms of a step on a linear diffusion, as matrices in float64.

In eps (arXiv 2206.05564, eq. 19), with the polynomial through values of eps at some nodes:

    u_t = Psi(t, s) u_s + sum_j C_j eps_j,    C_j = int_s^t Psi(t, tau) 1/2 G G^T K^-T l_j dtau

With noise (eq. 20 to 22 and 45 to 47):

    u_t = Psi(t, s) u_s + (Psihat - Psi) K_s eps_s + P^(1/2) n,    P = Sigma_t - Psihat Sigma_s Psihat^T

In data: with D the mean of u0 given u_t, the probability-flow ODE is

    du/dt = (F + 1/2 G G^T Sigma^-1) u - 1/2 G G^T Sigma^-1 Psi(t, 0) D

R solves the part that is linear in u, so that with A = R^-1 Psi(t, 0), where A^T A is the signal-to-noise ratio,

    u_t = R_t R_s^-1 u_s + R_t int_s^t D dA

On isotropic noise A is alpha / sigma = e^lambda, and RES (arXiv 2308.02157) integrates this form. Here the phi_k of RES are
moments of dA in half the logSNR of a block's first number.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..interpolation import lagrange
from ..rule import Node
from .coefficients import AlongSteps, contraction, lagrange_slope, noise_factor
from .linear_sde import LinearSDE, transposed
from .process_times import half_log_snr

_MISSED = 1e-5
Span = tuple[float, float]  # (s, t), t_max >= s > t > 0


class Terms(NamedTuple):
    """A combination of values of eps and of the states they were computed at, {model call: matrix} each."""

    outputs: dict[int, np.ndarray]
    states: dict[int, np.ndarray]

    def plus(self, other: "Terms", factor: np.ndarray) -> "Terms":
        """self + factor * other."""

        def add(mine: dict[int, np.ndarray], others: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
            return {**mine, **{call: mine.get(call, 0.0) + factor @ matrix for call, matrix in others.items()}}

        return Terms(add(self.outputs, other.outputs), add(self.states, other.states))


class Form(ABC):
    """A form of the ODE or SDE of a process, for the spans of steps and of their stages in the order of use.

    In every form a step to t = 0 ends at the mean of u0. The kind, "R" or "L", is the parameterisation of the model's eps.
    """

    def __init__(self, sde: LinearSDE, kind: str, spans: Sequence[Span]):
        self.sde, self.kind = sde, kind
        times = np.unique(np.array([time for span in spans for time in span]))
        self._half_log_snr = dict(zip(times.tolist(), half_log_snr(sde, times).tolist()))

    def h(self, s: float, t: float) -> float:
        """The step's size in half the logSNR."""
        return math.inf if t == 0.0 else self._half_log_snr[t] - self._half_log_snr[s]

    @abstractmethod
    def linear(self, s: float, t: float) -> np.ndarray:
        """The factor of the state at s."""

    def added(self, nodes: Sequence[Node], s: float, t: float) -> Terms:
        """What outputs at the nodes, newest first, add to the state at s; a step to t = 0 uses only the newest output."""
        if t > 0.0:
            return self._added(nodes, s, t)
        call, time = nodes[0].call, nodes[0].sigma
        # the mean of u0 given the state, by Tweedie's formula
        return Terms({call: -self.sde.transition(0.0, time) @ self.sde.factor(time, self.kind)}, {})

    @abstractmethod
    def _added(self, nodes: Sequence[Node], s: float, t: float) -> Terms:
        """The same for t > 0."""

    def noise(self, s: float, t: float) -> list[np.ndarray]:
        """The factors of unit noises; an ODE has none."""
        return []


class InEps(Form):
    """The polynomial through values of eps, in t."""

    def __init__(self, sde: LinearSDE, kind: str, spans: Sequence[Span]):
        super().__init__(sde, kind, spans)
        self._by_parts = kind == "R" or sde.size == 1  # L and R are the same for blocks of one number
        self._along = AlongSteps(sde, spans, self._integrand)

    def linear(self, s: float, t: float) -> np.ndarray:
        """Psi(t, s)."""
        return self.sde.transition(t, s)

    def _added(self, nodes: Sequence[Node], s: float, t: float) -> Terms:
        """sum_j C_j eps_j."""
        return Terms(dict(zip([node.call for node in nodes], self.weights([node.sigma for node in nodes], s, t))), {})

    def weights(self, nodes: Sequence[float], s: float, t: float) -> list[np.ndarray]:
        """C_j for values of eps at these times, which need not contain s.

        For R, 1/2 G G^T R^-T = R' - F R, so that integration by parts avoids the inverse:

            C_j = l_j(t) R_t - l_j(s) Psi(t, s) R_s - int_s^t l_j'(tau) Psi(t, tau) R_tau dtau,    sum_j C_j = R_t - Psi R_s
        """
        tau, weights, matrices = self._along(s, t)
        tau, parts, start, end = tau[:-2], matrices[:-2], matrices[-2], matrices[-1]
        if not self._by_parts:
            return [np.tensordot(weights * lagrange(nodes, j, tau), parts, axes=1) for j in range(len(nodes))]
        return [
            lagrange(nodes, j, t) * end
            - lagrange(nodes, j, s) * start
            - np.tensordot(weights * lagrange_slope(nodes, j, tau), parts, axes=1)
            for j in range(len(nodes))
        ]

    def _integrand(self, tau: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Psi(t, tau) R_tau by parts, otherwise Psi(t, tau) 1/2 G G^T K^-T; the variable is tau."""
        sde, between = self.sde, self.sde.transition(ends, tau)
        if self._by_parts:
            return tau, between @ sde.root(tau)
        return tau, 0.5 * between @ sde.diffusion(tau) @ transposed(np.linalg.inv(sde.factor(tau, self.kind)))


class WithNoise(InEps):
    """The stochastic form, for one value of eps; a step to t = 0 has no noise. `noise_level` is the paper's lambda."""

    def __init__(self, sde: LinearSDE, kind: str, spans: Sequence[Span], noise_level: float, s_noise: float):
        super().__init__(sde, kind, spans)
        starts, ends = ([span[i] for span in spans] for i in (0, 1))
        self._contracted, self._s_noise = dict(zip(spans, contraction(sde, starts, ends, noise_level))), s_noise

    def _added(self, nodes: Sequence[Node], s: float, t: float) -> Terms:
        """(Psihat - Psi) K_s eps_s."""
        sde = self.sde
        psihat_root = sde.root(t) @ self._contracted[s, t]
        # (Psihat - Psi) R_s eps_R = (Psihat - Psi) K_s eps_K
        to_eps = np.linalg.solve(sde.root(s), sde.factor(s, self.kind))
        return Terms({nodes[0].call: (psihat_root - sde.transition(t, s) @ sde.root(s)) @ to_eps}, {})

    def noise(self, s: float, t: float) -> list[np.ndarray]:
        """P^(1/2)."""
        return [self._s_noise * noise_factor(self.sde, t, self._contracted[s, t])] if t > 0.0 else []


class At(NamedTuple):
    """A process at a time t: R, R^-1, Psi(t, 0), Psi(0, t) and K."""

    root: np.ndarray
    inverse: np.ndarray
    onto: np.ndarray
    back: np.ndarray
    factor: np.ndarray


class InData(Form):
    """The polynomial through values of D in half the logSNR, with D = Psi(0, t) (u - K eps) a combination of state and eps."""

    def __init__(self, sde: LinearSDE, kind: str, spans: Sequence[Span]):
        super().__init__(sde, kind, spans)
        times = np.array(list(self._half_log_snr))
        root = sde.root(times)
        matrices = root, np.linalg.inv(root), sde.transition(times, 0.0), sde.transition(0.0, times), sde.factor(times, kind)
        self._at = {t: At(*per_time) for t, *per_time in zip(times.tolist(), *matrices)}
        self._along = AlongSteps(sde, spans, self._slope)

    def linear(self, s: float, t: float) -> np.ndarray:
        """R_t R_s^-1."""
        return self.sde.transition(0.0, s) if t == 0.0 else self._at[t].root @ self._at[s].inverse

    def _added(self, nodes: Sequence[Node], s: float, t: float) -> Terms:
        """R_t int_s^t D dA."""
        total = Terms({}, {})
        for node, weight in zip(nodes, self.weights([node.sigma for node in nodes], s, t)):
            state_weight = weight @ self._at[node.sigma].back
            total.states[node.call], total.outputs[node.call] = state_weight, -state_weight @ self._at[node.sigma].factor
        return total

    def weights(self, nodes: Sequence[float], s: float, t: float) -> list[np.ndarray]:
        """R_t int_s^t l_j dA for values of D at these times; an ArithmeticError if a step is too long for the quadrature."""
        start, end = self._at[s], self._at[t]
        clock, weights, slope = self._along(s, t)
        clock, slope = clock[:-2], slope[:-2]
        shift = end.onto - end.root @ start.inverse @ start.onto
        missed = np.abs(end.root @ np.tensordot(weights, slope, axes=1) - shift).max() / (np.abs(shift).max() + 1e-12)
        if missed > _MISSED:
            raise ArithmeticError(
                f"the weights of a step from t {s:g} to {t:g} miss their sum by {missed:.0e}; take shorter steps."
            )
        at = [self._half_log_snr[node] for node in nodes]
        return [end.root @ np.tensordot(weights * lagrange(at, j, clock), slope, axes=1) for j in range(len(nodes))]

    def _slope(self, tau: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Half the logSNR, and dA / dtau."""
        inverse = np.linalg.inv(self.sde.root(tau))
        slope = -0.5 * inverse @ self.sde.diffusion(tau) @ transposed(inverse) @ inverse @ self.sde.transition(tau, 0.0)
        return half_log_snr(self.sde, tau), slope
