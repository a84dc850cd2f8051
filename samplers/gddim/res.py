"""RES on linear diffusions: exponential integrators in data prediction, whose coefficients are matrices.

With D the mean of u0 given u_t in the place of the score, the probability-flow ODE is linear but for D:

    du/dt = (F + 1/2 G G^T Sigma^-1) u - 1/2 G G^T Sigma^-1 Psi(t, 0) D

R solves its linear part, so that with A = R^-1 Psi(t, 0), whose square A^T A is the signal-to-noise ratio,

    u_t = R_t R_s^-1 u_s + R_t int_s^t D dA

On isotropic noise A is alpha / sigma = e^lambda and this is the form that RES (arXiv 2308.02157) integrates. Here its phi_k are
moments of dA in a scalar clock, half the logSNR of a block's first number. The order conditions of 2S and 3S carry over: those on
sums of weights and on their first moment hold exactly, that on the second moment at h = 0, which makes order 3.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..grid import GridStep, read_sigmas
from ..interpolation import lagrange
from ..plan import Plan, Stage, step_count
from ..signature import Sigmas
from ..time_maps import TimeMap
from ..watch import each
from .coefficients import last_weight, quadrature, usable
from .linear_sde import LinearSDE, transposed
from .plan import PLANS_KEPT, Node, falling_steps, half_log_snr, operator, time_map_of

_MISSED = 1e-5
METHODS = ("1", "2M", "2MC", "3M", "3MC", "4M", "4MC", "2S", "3S")
# Of every stage: where it ends, as a fraction of the step in the clock, and which of the step's outputs it interpolates between.
_STAGES = {
    "2S": ((0.5, (0,)), (1.0, (0, 1))),
    "3S": ((1.0 / 3.0, (0,)), (2.0 / 3.0, (0, 1)), (1.0, (0, 2))),
}


def res_on(sde: LinearSDE, sigmas: Sigmas, method: str = "3MC", kind: str = "R") -> Plan:
    """The plan of a RES method on a linear diffusion, for a model that gives eps; kept for the next call.

    Args:
        sde: the process.
        sigmas: falling grid of n + 1 times t; a last one of 0 is a step to the mean of u0.
        method: the order, then M for multistep, MC for multistep with the free corrector, S for single-step; "1" is DDIM.
        kind: "R" or "L", the parameterisation of the model's eps; the result is the same.

    Raises:
        ValueError: method is none of these, or the grid is not one to sample on, see `grid_steps`.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}.")
    return _planned(sde, tuple(read_sigmas(sigmas)), method, kind)


@lru_cache(maxsize=PLANS_KEPT)
def _planned(sde: LinearSDE, sigmas: tuple[float, ...], method: str, kind: str) -> Plan:
    builder = _Builder(sde, time_map_of(sde), kind)
    steps = falling_steps(sde, sigmas)
    if method in _STAGES:
        builder.single_step(steps, _STAGES[method])
    else:
        builder.multistep(steps, int(method[0]), corrector=method.endswith("C"))
    return Plan(f"RES-{method}, K = {kind}", builder.time, step_count(sigmas), tuple(builder.stages), clock="t")


def data_weights(sde: LinearSDE, nodes: Sequence[float], s: float, t: float) -> list[np.ndarray]:
    """R_t int_s^t l_j dA of every node, for the polynomials through values of D in the clock.

    Args:
        sde: the process.
        nodes: times of the values of D.
        s, t: where the step starts and ends, t_max >= s > t > 0.
    """
    tau, weights = quadrature(s, t)
    inverse = np.linalg.inv(sde.root(tau))
    slope = -0.5 * inverse @ sde.diffusion(tau) @ transposed(inverse) @ inverse @ sde.transition(tau, 0.0)
    moved = sde.transition(t, 0.0) - sde.root(t) @ np.linalg.solve(sde.root(s), sde.transition(s, 0.0))
    missed = np.abs(sde.root(t) @ np.tensordot(weights, slope, axes=1) - moved).max() / (np.abs(moved).max() + 1e-12)
    if missed > _MISSED:
        raise ArithmeticError(f"the weights of a step from t {s:g} to {t:g} miss their sum by {missed:.0e}; take shorter steps.")
    lams, clock = half_log_snr(sde, np.array(nodes)).tolist(), half_log_snr(sde, tau)
    return [sde.root(t) @ np.tensordot(weights * lagrange(lams, j, clock), slope, axes=1) for j in range(len(nodes))]


class _Builder:
    """Stages of RES methods: combinations of D, which are then written as ones of states and eps."""

    def __init__(self, sde: LinearSDE, time: TimeMap, kind: str):
        self.stages: list[Stage] = []
        self.time = time
        self._sde, self._kind = sde, kind

    def multistep(self, steps: Sequence[GridStep], order: int, corrector: bool) -> None:
        """The first steps are of lower order."""
        history: list[Node] = []  # newest first
        previous: tuple[float, list[tuple[Node, np.ndarray]]] | None = None
        for step in each(steps):
            s, t = step.sigma, step.sigma_next
            history.insert(0, (len(self.stages), s))
            combined = predicted = self._line(usable(history, s, t, order), s, t)
            if corrector and previous is not None:
                before, old = previous
                redone = self._line([history[0], *(node for node, _ in old)], before, s)
                carry = self._linear(s, t)
                combined = predicted + [(node, carry @ w) for node, w in redone] + [(node, -carry @ w) for node, w in old]
            self._add(step, s, s, t, combined)
            previous = (s, predicted)

    def single_step(self, steps: Sequence[GridStep], stages: Sequence[tuple[float, tuple[int, ...]]]) -> None:
        """The last step, to t = 0, takes one call."""
        for step in each(steps):
            s, t = step.sigma, step.sigma_next
            if t == 0.0:
                self._add(step, s, s, t, [])
                continue
            lam, h = self.time.lam(s), self.time.lam(t) - self.time.lam(s)
            nodes = [(len(self.stages), s)]
            for fraction, used in stages:
                end = t if fraction == 1.0 else self.time.sigma(lam + fraction * h)
                self._add(step, nodes[-1][1], s, end, self._line([nodes[i] for i in used], s, end), closes=fraction == 1.0)
                nodes.append((len(self.stages), end))

    def _line(self, nodes: Sequence[Node], s: float, t: float) -> list[tuple[Node, np.ndarray]]:
        """Nodes with their weights; none for the last step, which takes D itself."""
        return [] if t == 0.0 else list(zip(nodes, data_weights(self._sde, [at for _, at in nodes], s, t)))

    def _linear(self, s: float, t: float) -> np.ndarray:
        if t == 0.0:  # Psi(0, s) u is what the last step begins with
            return self._sde.transition(0.0, s)
        return self._sde.root(t) @ np.linalg.inv(self._sde.root(s))

    def _add(
        self,
        step: GridStep,
        called: float,
        s: float,
        t: float,
        combined: Sequence[tuple[Node, np.ndarray]],
        closes: bool = True,
    ) -> None:
        """A call at `called`, and the update from the state at s, where the step starts, to t."""
        call, anchor = len(self.stages), len(self.stages)
        while anchor > 0 and not self.stages[anchor - 1].closes_step:
            anchor -= 1
        outputs: dict[int, np.ndarray] = {}
        states: dict[int, np.ndarray] = {anchor: self._linear(s, t)}
        for (index, at), weight in combined:  # D = Psi(0, t) (u - K eps)
            of_state = weight @ self._sde.transition(0.0, at)
            states[index] = states.get(index, 0.0) + of_state
            outputs[index] = outputs.get(index, 0.0) - of_state @ self._sde.factor(at, self._kind)
        if t == 0.0:
            outputs[call] = outputs.get(call, 0.0) + last_weight(self._sde, s, self._kind)
        scale = operator(self._sde, states.pop(anchor))
        h = math.inf if t == 0.0 else self.time.lam(t) - self.time.lam(s)
        of_outputs, of_states = (tuple((i, operator(self._sde, w)) for i, w in terms.items()) for terms in (outputs, states))
        self.stages.append(Stage(step.index, called, h, scale, of_outputs, closes, states=of_states))
