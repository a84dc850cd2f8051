"""gDDIM on any linear diffusion, as a plan for the loop: its weights are matrices, its outputs values of eps."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..gddim_rule import MAX_LAMBDA, check_degree_and_corrector
from ..grid import GridStep, grid_steps, read_sigmas
from ..plan import MAX_STRENGTH, Plan, Stage, step_count
from ..signature import Sigmas
from ..time_maps import TimeMap
from ..watch import each
from .coefficients import AlongSteps, along_steps, contraction, last_weight, noise_factor, step_weights, usable
from .linear_sde import KINDS, LinearSDE
from .operators import process_stage

_LEAST = 1e-8  # the smallest time above 0
_HALVINGS = 56  # of an interval of 20 in log t, after which it is shorter than a rounding
# Plans of blurring diffusion hold matrices of the image's size: 24 MiB for 50 steps of degree 2 on 128 x 128, 49 MiB of RES-3MC.
# What comes again is the plan of the run before, or of the few that are compared.
PLANS_KEPT = 4


Node = tuple[int, float]  # of a value of eps, or of D: the model call that gave it, and its time


class _Step(NamedTuple):
    """A step that was predicted, kept for the corrector."""

    grid: GridStep
    nodes: list[Node]  # newest first
    weights: list[np.ndarray]


def gddim_on(
    sde: LinearSDE,
    sigmas: Sigmas,
    degree: int = 2,
    corrector: str = "none",
    noise_level: float = 0.0,
    kind: str = "R",
    s_noise: float = 1.0,
) -> Plan:
    """The plan of gDDIM on a linear diffusion, for a model that gives eps; kept for the next call with the same arguments.

    Args:
        sde: the process.
        sigmas: falling grid of n + 1 times t; 1-D tensor or sequence. A last one of 0 is a step to the mean of u0.
        degree: q, 0 to 3; the first steps are of lower degree. 0 where noise_level is above 0.
        corrector: "none", "PEC" or "PECE", see `gddim_rule.gddim_plan`. "none" where noise_level is above 0.
        noise_level: the paper's lambda, the strength of the noise: 0 for none, 1 for the reverse SDE.
        kind: "R" or "L", the parameterisation of the model's eps.
        s_noise: factor of the noise alone; 1 is right.

    Raises:
        ValueError: an argument is none of these, or the grid is not one to sample on, see `grid_steps`.
    """
    check_degree_and_corrector(degree, corrector)
    if not 0.0 <= noise_level <= MAX_LAMBDA:
        raise ValueError(
            f"lambda must be between 0 and {MAX_LAMBDA:g}, got {noise_level:g}; 0 is deterministic, 1 the reverse SDE."
        )
    if noise_level and (degree or corrector != "none"):
        raise ValueError(f"degree must be 0 and corrector 'none' where lambda is above 0, got {degree} and {corrector!r}.")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}.")
    if not 0.0 <= s_noise <= MAX_STRENGTH:
        raise ValueError(f"s_noise must be between 0 and {MAX_STRENGTH:g}, got {s_noise!r}.")
    return _planned(sde, tuple(read_sigmas(sigmas)), degree, corrector, float(noise_level), float(s_noise), kind)


@lru_cache(maxsize=PLANS_KEPT)
def _planned(
    sde: LinearSDE, sigmas: tuple[float, ...], degree: int, corrector: str, noise_level: float, s_noise: float, kind: str
) -> Plan:
    time, steps = time_map_of(sde), falling_steps(sde, sigmas)
    if noise_level:
        stages = _stochastic(sde, time, steps, noise_level, s_noise, kind)
    else:
        stages = _deterministic(sde, time, steps, degree, corrector, kind)
    name = f"gDDIM with lambda {noise_level:g}" if noise_level else f"gDDIM of degree {degree}"
    name += "" if corrector == "none" else f", {corrector}"
    return Plan(f"{name}, K = {kind}", time, step_count(sigmas), tuple(stages))


def falling_steps(sde: LinearSDE, sigmas: Sequence[float]) -> list[GridStep]:
    """The steps of a grid of times.

    Raises:
        ValueError: as `grid_steps`, or a time above 0 is too small to tell from it.
    """
    for i, t in enumerate(sigmas):
        if 0.0 < t < _LEAST:
            raise ValueError(f"sigmas[{i}] is {t:g}, a time too small to tell from 0 for {sde.name}. Set it to 0.")
    steps = grid_steps(sigmas, time_map_of(sde), rising=False)
    return [replace(step, sigma=min(step.sigma, sde.t_max)) for step in steps]


@lru_cache(maxsize=16)
def time_map_of(sde: LinearSDE) -> TimeMap:
    """t -> the mean of the first number of a state that started at 1, and lambda, half its logSNR."""
    return TimeMap(
        name=sde.name,
        sigma_limit=sde.t_max,
        alpha=lambda t: float(sde.first.transition(t, 0.0).flat[0]),
        lam=lru_cache(maxsize=4096)(lambda t: float(half_log_snr(sde, np.array([t]))[0])),
        sigma=lambda lam: float(times_at(sde, np.array([lam]))[0]),
    )


def half_log_snr(sde: LinearSDE, t: np.ndarray) -> np.ndarray:
    """Lambda of the first number of the first block, at times t of shape (n,)."""
    of_first = sde.first.transition(t, 0.0), sde.first.covariance(t)
    signal, variance = (matrix.reshape(len(t), -1)[:, 0] for matrix in of_first)
    return np.log(signal) - 0.5 * np.log(variance)


def times_at(sde: LinearSDE, lams: np.ndarray) -> np.ndarray:
    """The inverse of `half_log_snr`, by halving an interval of log t."""
    low, high = np.full(lams.shape, math.log(0.1 * _LEAST)), np.full(lams.shape, math.log(sde.t_max))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        later = half_log_snr(sde, np.exp(middle)) > lams
        low, high = np.where(later, middle, low), np.where(later, high, middle)
    return np.exp(0.5 * (low + high))


def _deterministic(
    sde: LinearSDE, time: TimeMap, steps: Sequence[GridStep], degree: int, corrector: str, kind: str
) -> list[Stage]:
    stages: list[Stage] = []
    history: list[Node] = []  # newest first
    previous: _Step | None = None
    along = along_steps(sde, [(step.sigma, step.sigma_next) for step in steps if step.sigma_next > 0.0], kind)
    for step in each(steps):
        history.insert(0, (len(stages), step.sigma))
        predicted = _predicted(along, step, usable(history, step.sigma, step.sigma_next, degree + 1))
        combined = list(zip(predicted.nodes, predicted.weights))
        if corrector == "PEC" and previous is not None:
            carry = sde.transition(step.sigma_next, step.sigma)
            combined += [(node, carry @ weight) for node, weight in _correction(along, previous, history[0])]
        twice = corrector == "PECE" and step.sigma_next > 0.0
        stages.append(_stage(sde, time, step, step.sigma, combined, closes_step=not twice))
        if twice:
            redone = _predicted(along, step, [(len(stages), step.sigma_next), *predicted.nodes])
            stages.append(_stage(sde, time, step, step.sigma_next, list(zip(redone.nodes, redone.weights)), closes_step=True))
        previous = predicted
    return stages


def _predicted(along: AlongSteps, step: GridStep, nodes: Sequence[Node]) -> _Step:
    if step.sigma_next == 0.0:
        return _Step(step, [nodes[0]], [last_weight(along.sde, step.sigma, along.kind)])
    return _Step(step, list(nodes), step_weights(along, [t for _, t in nodes], step.sigma, step.sigma_next))


def _correction(along: AlongSteps, previous: _Step, end: Node) -> list[tuple[Node, np.ndarray]]:
    """Corrected minus predicted state at the end of a step."""
    redone = _predicted(along, previous.grid, [end, *previous.nodes])
    return [*zip(redone.nodes, redone.weights), *((node, -weight) for node, weight in zip(previous.nodes, previous.weights))]


def _stochastic(
    sde: LinearSDE, time: TimeMap, steps: Sequence[GridStep], noise_level: float, s_noise: float, kind: str
) -> list[Stage]:
    """Degree 0; a step to t = 0 is deterministic."""
    noisy = [step for step in steps if step.sigma_next > 0.0]
    contracted = contraction(sde, [step.sigma for step in noisy], [step.sigma_next for step in noisy], noise_level)
    stages = []
    for call, step in enumerate(each(steps)):
        node, s, t = (call, step.sigma), step.sigma, step.sigma_next
        if t == 0.0:
            stages.append(_stage(sde, time, step, s, [(node, last_weight(sde, s, kind))], closes_step=True))
            continue
        # (Psihat - Psi) R_s eps_R = (Psihat - Psi) K_s eps_K
        to_eps = np.linalg.solve(sde.root(s), sde.factor(s, kind))
        weight = (sde.root(t) @ contracted[call] - sde.transition(t, s) @ sde.root(s)) @ to_eps
        noise = [s_noise * noise_factor(sde, t, contracted[call])]
        stages.append(_stage(sde, time, step, s, [(node, weight)], closes_step=True, noise=noise))
    return stages


def _stage(
    sde: LinearSDE,
    time: TimeMap,
    step: GridStep,
    t: float,
    combined: Sequence[tuple[Node, np.ndarray]],
    closes_step: bool,
    noise: Sequence[np.ndarray] = (),
) -> Stage:
    """The call at t and the update that follows it, from the state at the step's start to its end."""
    weights: dict[int, np.ndarray] = {}
    for (call, _), weight in combined:
        weights[call] = weights.get(call, 0.0) + weight
    segment = (step.sigma, step.sigma_next) if noise else None
    stage = Stage(step.index, t, step.h(time), 0.0, (), closes_step, segment=segment)
    return process_stage(sde, stage, weights, {}, sde.transition(step.sigma_next, step.sigma), noise)
