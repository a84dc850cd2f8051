"""gDDIM where noise is the same in every direction: eps, v, EDM and flow models.

With y = x / alpha and rho = sigma / alpha the ODE is dy = eps drho, eps = (y - D) / rho. Degree q puts the polynomial in log rho
through the last q + 1 values of eps in the place of eps, and every step is then exact in everything else:

    y_t = y_s + sum_j C_j eps_j,    C_j = int_s^t l_j drho        (arXiv 2206.05564, eq. 19, for K = R = sigma)

Degree 0 is DDIM, exact in one step for data in one point. The paper's polynomials are in t; in rho they are DEIS (arXiv
2204.13902). In log rho, half the logSNR, they have about half of the error in rho on digits at degrees 1 and 2, and more at 3. To
sigma = 0, where that is not finite, and upwards, polynomials are in rho.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ..grid import GridStep, grid_steps
from ..interpolation import apart, lagrange
from ..loop import run
from ..plan import MAX_STRENGTH, Plan, Stage, consistent, step_count
from ..signature import Callback, Denoiser, ExtraArgs, Sigmas
from ..time_maps import VE, TimeMap

MAX_DEGREE = 3
MAX_LAMBDA = math.sqrt(MAX_STRENGTH)  # eta is its square
CORRECTORS = ("none", "PEC", "PECE")
# The paper's headline. Correctors gain little on top of degree 2 in log rho, and overshoot below 8 steps and at high CFG.
DEGREE, CORRECTOR = 2, "none"
# Upwards steps grow in rho as they leave the image, and polynomials of higher degree then extrapolate over several times their
# own length.
_MAX_RISING_DEGREE = 1
# Nodes nearer to each other than this fraction of the step are skipped for older ones: weights grow as nodes close up, and few
# steps that lengthen in log rho, as those of EDM's grid, overshoot. Upwards, in rho, all steps lengthen so; there it is the one
# to a flow model's 0.999 that counts, a hundred times as long as the one before it.
_APART, _RISING_APART = 0.9, 0.2
# The step to sigma = 0 extrapolates. Between adjacent nodes its weights would grow with the number of steps, and with them what
# is not smooth in the last outputs, such as rounding and masks; of two nodes this far apart they are below 2.5 times the step.
_END_DEGREE, _END_APART = 1, 0.7
_MIN_LAMBDA = 1e-4  # below it eta is too small to matter
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)  # in log rho, in pieces no longer than 1


def sample_exp_gddim(
    model: Denoiser,
    x: torch.Tensor,
    sigmas: Sigmas,
    extra_args: ExtraArgs = None,
    callback: Callback = None,
    disable: bool | None = None,
    *,
    degree: int = DEGREE,
    corrector: str = CORRECTOR,
    time: TimeMap = VE,
) -> torch.Tensor:
    """Deterministic gDDIM.

    Args:
        model, x, sigmas, extra_args, callback, disable: as in `loop.run`.
        degree, corrector, time: see `gddim_plan`.

    Raises:
        ValueError: see `gddim_plan`; before the first call.
    """
    return run(gddim_plan(sigmas, degree, time, corrector), model, x, sigmas, extra_args, callback, disable)


def eta_of(strength: float) -> float:
    """The eta of `exp_gddim_sde` for the paper's lambda, which is its square root.

    Raises:
        ValueError: lambda is negative, too large, or too small to matter.
    """
    if not 0.0 <= strength <= MAX_LAMBDA:
        raise ValueError(f"lambda must be between 0 and {MAX_LAMBDA:g}, got {strength!r}.")
    if 0.0 < strength < _MIN_LAMBDA:
        raise ValueError(f"lambda must be 0, or {_MIN_LAMBDA:g} or more, got {strength!r}. Set it to 0 for DDIM.")
    return strength**2


def check_degree_and_corrector(degree: int, corrector: str) -> None:
    """Raise a ValueError that names the one that is unknown."""
    if degree not in range(MAX_DEGREE + 1):
        raise ValueError(f"degree must be 0, 1, 2 or 3, got {degree!r}.")
    if corrector not in CORRECTORS:
        raise ValueError(f"corrector must be one of {', '.join(map(repr, CORRECTORS))}, got {corrector!r}.")


class _Eps(NamedTuple):
    """A value of eps: the model call that gave it, where, and with what alpha."""

    call: int
    sigma: float
    alpha: float

    @property
    def rho(self) -> float:
        return self.sigma / self.alpha if self.alpha else math.inf


class _Step(NamedTuple):
    """A step that was predicted, kept for the corrector."""

    grid: GridStep
    nodes: list[_Eps]
    weights: list[float]


def gddim_plan(sigmas: Sigmas, degree: int = 2, time: TimeMap = VE, corrector: str = "none") -> Plan:
    """The plan of deterministic gDDIM.

    The first steps are of lower degree, as far as the history reaches; so are the step from a flow model's sigma 1, where rho is
    infinite, steps much longer than those before them, and the step to sigma 0, at most of degree 1.

    Args:
        sigmas: falling grid, or rising for inversion; 1-D tensor or sequence of n + 1 sigmas.
        degree: q, 0 to 3; q + 1 values of eps are combined, at most two on a rising grid.
        time: the time map of the model, VE or FLOW.
        corrector: "none"; "PEC": every step is redone with the value at its end, which costs no call; "PECE": the model is called
            at the corrected point too, two calls a step but for the last, as in the paper.

    Raises:
        ValueError: degree or corrector is unknown, or the grid is not one to sample on, see `grid_steps`.
    """
    check_degree_and_corrector(degree, corrector)
    stages: list[Stage] = []
    history: list[_Eps] = []  # newest first
    previous: _Step | None = None
    for step in grid_steps(sigmas, time):
        if step.rising:
            degree = min(degree, _MAX_RISING_DEGREE)
        history.insert(0, _Eps(len(stages), step.sigma, time.alpha(step.sigma)))
        predicted = _predicted(step, history, degree, time)
        combined = list(zip(predicted.nodes, predicted.weights))
        if corrector == "PEC" and previous is not None:
            combined += _correction(previous, history[0], degree, time)
        twice = corrector == "PECE" and predicted.weights and step.sigma_next > 0.0
        stages.append(_stage(step, step.sigma, combined, stages, time, closes_step=not twice))
        if twice:
            end = _Eps(len(stages), step.sigma_next, time.alpha(step.sigma_next))
            nodes, weights = _redone(predicted, end, degree, time)
            stages.append(_stage(step, step.sigma_next, list(zip(nodes, weights)), stages, time, closes_step=True))
        previous = predicted if predicted.weights else None
    name = f"gDDIM of degree {degree}" + ("" if corrector == "none" else f", {corrector}")
    return Plan(name, time, step_count(sigmas), tuple(stages))


def _predicted(step: GridStep, history: Sequence[_Eps], degree: int, time: TimeMap) -> _Step:
    """The step from the newest degree + 1 values; without weights where it starts at rho = inf."""
    if not math.isfinite(history[0].rho):
        return _Step(step, [history[0]], [])
    nodes = _usable(step, history, degree + 1, time)
    return _Step(step, nodes, _integrals(nodes, step, time))


def _usable(step: GridStep, candidates: Sequence[_Eps], count: int, time: TimeMap) -> list[_Eps]:
    fraction = _RISING_APART if step.rising else _APART
    if step.sigma_next == 0.0:
        count, fraction = min(count, _END_DEGREE + 1), _END_APART
    variable = _variable(time.s(step.sigma), time.s(step.sigma_next))
    distance = fraction * abs(variable(time.s(step.sigma_next)) - variable(time.s(step.sigma)))
    return apart(candidates, lambda node: variable(node.rho), distance, count)


def _integrals(nodes: Sequence[_Eps], step: GridStep, time: TimeMap) -> list[float]:
    """C_j of the nodes; their sum is the step in rho."""
    return degree_weights([node.rho for node in nodes], time.s(step.sigma), time.s(step.sigma_next))


def _in_log(rho_from: float, rho_to: float) -> bool:
    """Whether polynomials are in log rho on a step."""
    return 0.0 < rho_to < rho_from


def _variable(rho_from: float, rho_to: float) -> Callable[[Any], Any]:
    return np.log if _in_log(rho_from, rho_to) else lambda rho: rho


def degree_weights(nodes: Sequence[float], rho_from: float, rho_to: float) -> list[float]:
    """int l_j drho from rho_from to rho_to, for the Lagrange polynomials in log rho, or in rho to 0 and upwards.

    Args:
        nodes: up to 5 values of rho, finite and above 0.
        rho_from, rho_to: the step.
    """
    if len(nodes) == 1:  # without the rounding of the quadrature: to sigma = 0 the result is the denoised output itself
        return [rho_to - rho_from]
    in_log, variable = _in_log(rho_from, rho_to), _variable(rho_from, rho_to)
    start, end = variable(rho_from), variable(rho_to)
    edges = np.linspace(start, end, 2 + int(abs(end - start)) * in_log)
    half = 0.5 * np.diff(edges)[:, None]
    at = (edges[:-1, None] + half * (_NODES + 1.0)).ravel()
    measure = (half * _WEIGHTS).ravel() * (np.exp(at) if in_log else 1.0)
    points = variable(np.array(nodes))
    return [float(measure @ lagrange(points, j, at)) for j in range(len(points))]


def _redone(previous: _Step, end: _Eps, degree: int, time: TimeMap) -> tuple[list[_Eps], list[float]]:
    """Nodes and weights of a step with the value at its end among them, of one degree more."""
    nodes = _usable(previous.grid, [end, *previous.nodes], degree + 2, time)
    return nodes, _integrals(nodes, previous.grid, time)


def _correction(previous: _Step, end: _Eps, degree: int, time: TimeMap) -> list[tuple[_Eps, float]]:
    """Corrected minus predicted y at the end of a step."""
    nodes, weights = _redone(previous, end, degree, time)
    return [*zip(nodes, weights), *((node, -weight) for node, weight in zip(previous.nodes, previous.weights))]


def _stage(
    step: GridStep, sigma: float, combined: list[tuple[_Eps, float]], stages: list[Stage], time: TimeMap, closes_step: bool
) -> Stage:
    """The call at sigma and the step that follows it, from the anchor at step.sigma to step.sigma_next."""
    alpha_from, alpha_to, call = time.alpha(step.sigma), time.alpha(step.sigma_next), len(stages)
    h = step.h(time)
    if not math.isfinite(time.s(step.sigma)):  # x is all noise, so eps = x / sigma: DDIM
        stage = Stage(step.index, sigma, h, step.sigma_next / step.sigma, ((call, alpha_to),), closes_step)
        return consistent(stage, alpha_from, alpha_to)
    outputs: dict[int, float] = {}
    states: dict[int, float] = {}
    for node, weight in combined:  # eps = (x - alpha D) / sigma
        outputs[node.call] = outputs.get(node.call, 0.0) - alpha_to * weight * node.alpha / node.sigma
        states[node.call] = states.get(node.call, 0.0) + alpha_to * weight / node.sigma
    scale = alpha_to / alpha_from
    if sigma == step.sigma:  # the state of this call is the anchor
        scale += states.pop(call)
    else:  # and that of the call before it
        scale += states.pop(call - 1, 0.0)
    alphas = {c: time.alpha(sigma if c == call else stages[c].sigma) for c in states}
    stage = Stage(step.index, sigma, h, scale, tuple(outputs.items()), closes_step, states=tuple(states.items()))
    return consistent(stage, alpha_from, alpha_to, alphas)
