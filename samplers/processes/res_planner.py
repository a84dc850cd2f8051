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
from typing import NamedTuple

import numpy as np

from ..grid import GridStep, read_sigmas
from ..interpolation import lagrange
from ..plan import Plan, Stage, step_count
from ..signature import Sigmas
from ..watch import each
from .coefficients import AlongSteps, last_weight, usable
from .gddim_planner import PLANS_KEPT, Node, falling_steps, half_log_snr, time_map_of, times_at
from .linear_sde import LinearSDE, transposed
from .operators import process_stage

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
    steps = falling_steps(sde, sigmas)
    ends = _stage_ends(sde, steps, [fraction for fraction, _ in _STAGES.get(method, ((1.0, ()),))])
    builder = _Builder(sde, kind, steps, ends)
    if method in _STAGES:
        builder.single_step([used for _, used in _STAGES[method]])
    else:
        builder.multistep(int(method[0]), corrector=method.endswith("C"))
    return Plan(f"RES-{method}, K = {kind}", time_map_of(sde), step_count(sigmas), tuple(builder.stages))


def _stage_ends(sde: LinearSDE, steps: Sequence[GridStep], fractions: Sequence[float]) -> list[list[float]]:
    """Where the stages of every step end, the last one where the step does; none for a step to 0."""
    noisy = [step for step in steps if step.sigma_next > 0.0]
    start, end = (half_log_snr(sde, np.array(times)) for times in ([s.sigma for s in noisy], [s.sigma_next for s in noisy]))
    inner = [times_at(sde, start + fraction * (end - start)).tolist() for fraction in fractions[:-1]]
    ends = [[*(times[i] for times in inner), step.sigma_next] for i, step in enumerate(noisy)]
    return ends + [[]] * (len(steps) - len(noisy))


class At(NamedTuple):
    """A process at a time t: R, R^-1, Psi(t, 0), Psi(0, t), K and the clock."""

    root: np.ndarray
    inverse: np.ndarray
    onto: np.ndarray
    back: np.ndarray
    factor: np.ndarray
    clock: float


class DataWeights:
    """R_t int_s^t l_j dA of every node, for the polynomials through values of D in the clock.

    Args:
        sde: the process.
        kind: "R" or "L".
        steps: (s, t) in the order in which they are asked for, t_max >= s > t > 0.
        nodes: further times of values of D, which no step starts or ends at.
    """

    def __init__(self, sde: LinearSDE, kind: str, steps: Sequence[tuple[float, float]], nodes: Sequence[float] = ()):
        times = np.unique(np.array([*(time for step in steps for time in step), *nodes]))
        root, clocks = sde.root(times), half_log_snr(sde, times).tolist()
        matrices = root, np.linalg.inv(root), sde.transition(times, 0.0), sde.transition(0.0, times), sde.factor(times, kind)
        self._at = {t: At(*of_time) for t, *of_time in zip(times.tolist(), *matrices, clocks)}
        self._along = AlongSteps(sde, kind, steps, self._slope)

    def at(self, t: float) -> At:
        """The process at one of the times."""
        return self._at[t]

    def __call__(self, nodes: Sequence[float], s: float, t: float) -> list[np.ndarray]:
        """For values of D at these times, and a step from s to t.

        Raises:
            ArithmeticError: the step is so long that the weights miss their sum.
        """
        start, end = self._at[s], self._at[t]
        clock, weights, slope = self._along(s, t)
        clock, slope = clock[:-2], slope[:-2]
        moved = end.onto - end.root @ start.inverse @ start.onto
        missed = np.abs(end.root @ np.tensordot(weights, slope, axes=1) - moved).max() / (np.abs(moved).max() + 1e-12)
        if missed > _MISSED:
            raise ArithmeticError(
                f"the weights of a step from t {s:g} to {t:g} miss their sum by {missed:.0e}; take shorter steps."
            )
        clocks = [self._at[node].clock for node in nodes]
        return [end.root @ np.tensordot(weights * lagrange(clocks, j, clock), slope, axes=1) for j in range(len(nodes))]

    def _slope(self, tau: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """DA / dtau."""
        sde = self._along.sde
        inverse = np.linalg.inv(sde.root(tau))
        slope = -0.5 * inverse @ sde.diffusion(tau) @ transposed(inverse) @ inverse @ sde.transition(tau, 0.0)
        return half_log_snr(sde, tau), slope


class _Builder:
    """Stages of RES methods: combinations of D, which are then written as ones of states and eps."""

    def __init__(self, sde: LinearSDE, kind: str, steps: Sequence[GridStep], ends: Sequence[Sequence[float]]):
        self.stages: list[Stage] = []
        self._sde, self._kind, self._steps, self._ends = sde, kind, steps, ends
        lines = [(step.sigma, end) for step, own in zip(steps, ends) for end in own]
        self._weights = DataWeights(sde, kind, lines, [step.sigma for step in steps])
        self._at = self._weights.at

    def multistep(self, order: int, corrector: bool) -> None:
        """The first steps are of lower order."""
        history: list[Node] = []  # newest first
        previous: tuple[float, list[tuple[Node, np.ndarray]]] | None = None
        for step in each(self._steps):
            s, t = step.sigma, step.sigma_next
            history.insert(0, (len(self.stages), s))
            combined = predicted = self._line(usable(history, s, t, order), s, t)
            if corrector and previous is not None:
                before, old = previous
                redone = self._line([history[0], *(node for node, _ in old)], before, s)
                carry = self._linear(s, t)
                combined = predicted + [(node, carry @ w) for node, w in redone] + [(node, -carry @ w) for node, w in old]
            self._add(step, s, t, combined)
            previous = (s, predicted)

    def single_step(self, used: Sequence[tuple[int, ...]]) -> None:
        """The last step, to t = 0, takes one call."""
        for step, ends in zip(each(self._steps), self._ends):
            s, nodes = step.sigma, [(len(self.stages), step.sigma)]
            if not ends:
                self._add(step, s, 0.0, [])
            for end, outputs in zip(ends, used):
                line = self._line([nodes[i] for i in outputs], s, end)
                self._add(step, s, end, line, called=nodes[-1][1], closes=end == step.sigma_next)
                nodes.append((len(self.stages), end))

    def _line(self, nodes: Sequence[Node], s: float, t: float) -> list[tuple[Node, np.ndarray]]:
        """Nodes with their weights; none for the last step, which takes D itself."""
        return [] if t == 0.0 else list(zip(nodes, self._weights([at for _, at in nodes], s, t)))

    def _linear(self, s: float, t: float) -> np.ndarray:
        if t == 0.0:  # Psi(0, s) u is what the last step begins with
            return self._at(s).back
        return self._at(t).root @ self._at(s).inverse

    def _add(
        self,
        step: GridStep,
        s: float,
        t: float,
        combined: Sequence[tuple[Node, np.ndarray]],
        called: float | None = None,
        closes: bool = True,
    ) -> None:
        """A call at `called`, or s, and the update from the state at s, where the step starts, to t."""
        call, anchor = len(self.stages), len(self.stages)
        while anchor > 0 and not self.stages[anchor - 1].closes_step:
            anchor -= 1
        outputs: dict[int, np.ndarray] = {}
        states: dict[int, np.ndarray] = {anchor: self._linear(s, t)}
        for (index, at), weight in combined:  # D = Psi(0, t) (u - K eps)
            of_state = weight @ self._at(at).back
            states[index] = states.get(index, 0.0) + of_state
            outputs[index] = outputs.get(index, 0.0) - of_state @ self._at(at).factor
        if t == 0.0:
            outputs[call] = outputs.get(call, 0.0) + last_weight(self._sde, s, self._kind)
        scale, called = states.pop(anchor), s if called is None else called
        h = math.inf if t == 0.0 else self._at(t).clock - self._at(s).clock
        stage = Stage(step.index, called, h, 0.0, (), closes)
        self.stages.append(process_stage(self._sde, stage, outputs, states, scale))
