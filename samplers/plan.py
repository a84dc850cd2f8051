"""Plans: every number a solver needs, computed in float64 before the first model call.

A plan is a list of Stages, one per model call. After the call the state becomes

    scale * anchor + sum_j weight_j * denoised_j + sum_k noise_k * n_k

where `anchor` is the state at the beginning of the step and n_k are the unit noises drawn in this step.
Single-step and multistep methods, correctors and SDE forms differ only in these numbers, so one loop
(`loop.py`) executes them all, and printing a plan shows the whole method.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .grid import GridStep, grid_steps
from .tableaus import RES_1, Tableau, multistep_weights
from .time_maps import VE, TimeMap

# A node nearer to a newer one than this fraction of the step adds only rounding noise: its weight would
# exceed 1000 while its output is known to seven digits.
_MIN_NODE_DISTANCE = 1e-3


@dataclass(frozen=True)
class Stage:
    """One model call and the update that follows it.

    Attributes:
        step: index in SIGMAS of the step the call belongs to.
        sigma: where the model is called.
        h: step size in lambda of the update's step; inf for a step to sigma = 0.
        scale: factor of the anchor.
        weights: pairs (model call, weight) over the denoised outputs so far.
        closes_step: the update gives the next grid point, which becomes the new anchor.
        noise: factors of the unit noises drawn in this step, one more than in the stage before; () for none.
        segment: (sigma, sigma_next) of the newest of those noises.
    """

    step: int
    sigma: float
    h: float
    scale: float
    weights: tuple[tuple[int, float], ...]
    closes_step: bool
    noise: tuple[float, ...] = ()
    segment: tuple[float, float] | None = None

    def __post_init__(self):
        numbers = [self.scale, *(w for _, w in self.weights), *self.noise]
        if not all(map(math.isfinite, numbers)):
            raise ArithmeticError(f"plan has a non-finite weight at step {self.step}, sigma {self.sigma:g}: {numbers}")


@dataclass(frozen=True)
class Plan:
    """A solver on a grid, ready to run. `str(plan)` is a table of all its numbers.

    Attributes:
        method: name, for the table.
        time: the time map the weights were made in (a step from lambda = -inf is taken in VE).
        steps: steps of the grid, repetitions included.
        stages: one per model call.
    """

    method: str
    time: TimeMap
    steps: int
    stages: tuple[Stage, ...]

    @property
    def calls(self) -> int:
        """Model calls the plan will make, exactly."""
        return len(self.stages)

    def last_use(self) -> dict[int, int]:
        """For every model call, the last stage that reads its output."""
        return {call: index for index, stage in enumerate(self.stages) for call, _ in stage.weights}

    def __str__(self):
        lines = [
            f"{self.method} in {self.time.name} time: {self.steps} steps, {self.calls} model calls",
            f"{'call':>4} {'step':>4} {'sigma':>12} {'lambda':>9} {'h':>9} {'scale':>12}  weights (call: weight)",
        ]
        for index, s in enumerate(self.stages):
            weights = "  ".join(f"{call}: {w:+.9f}" for call, w in s.weights)
            noise = "".join(f"  n{k}: {w:+.6f}" for k, w in enumerate(s.noise))
            row = f"{index:4d} {s.step:4d} {s.sigma:12.6g} {self.time.lam(s.sigma):9.5f} {s.h:9.5f} {s.scale:12.9f}  "
            lines.append(row + weights + noise + ("" if s.closes_step else "  (stage)"))
        return "\n".join(lines)


def single_step_plan(sigmas, tableau: Tableau, time: TimeMap = VE) -> Plan:
    """The plan of a single-step method: `tableau.stages` calls a step, one for a step to sigma = 0.

    Args:
        sigmas: descending grid, 1-D tensor or sequence of n + 1 sigmas.
        tableau: the method, see `tableaus.py`.
        time: the time map in which the denoised output is interpolated.

    Raises:
        ValueError: the grid is not one to sample on, see `grid_steps`.
    """
    stages: list[Stage] = []
    steps = grid_steps(sigmas, time)
    for step in steps:
        stages += _single_step(step, tableau, time, first_call=len(stages))
    return Plan(tableau.name, time, _step_count(sigmas), tuple(stages))


def multistep_plan(sigmas, order: int, time: TimeMap = VE, start: Tableau = RES_1) -> Plan:
    """The plan of RES-2M, RES-3M, ...: one call a step, weights from the last `order` outputs.

    Until `order` grid points have been evaluated the history is short. With the one-stage `start` those
    steps are multistep steps of lower order and cost nothing; with a single-step tableau of full order
    they cost `start.stages` calls each and the method keeps its asymptotic order.

    Args:
        sigmas: descending grid, 1-D tensor or sequence of n + 1 sigmas.
        order: 1 to 4, the number of denoised outputs combined.
        time: the time map in which the denoised output is interpolated.
        start: method of the first order - 1 steps.

    Raises:
        ValueError: order is not 1 to 4, or the grid is not one to sample on, see `grid_steps`.
    """
    if order not in (1, 2, 3, 4):
        raise ValueError(f"order must be 1, 2, 3 or 4, got {order!r}.")
    stages: list[Stage] = []
    history: list[tuple[int, float]] = []  # (model call, sigma), newest first
    for step in grid_steps(sigmas, time):
        history.insert(0, (len(stages), step.sigma))
        if len(history) < order and start.stages > 1:
            stages += _single_step(step, start, time, first_call=len(stages))
        else:
            stages.append(_multistep(step, history, order, time))
    name = f"RES-{order}M" + (f" started by {start.name}" if start.stages > 1 else "")
    return Plan(name, time, _step_count(sigmas), tuple(stages))


def _step_count(sigmas) -> int:
    return max(len(sigmas) - 1, 0)


def _to_zero(step: GridStep, call: int) -> Stage:
    # e^-h = 0 and h phi_1 = 1: the first-order answer, x = D (the lambda polynomial ends at infinity)
    return Stage(step.index, step.sigma, math.inf, 0.0, ((call, 1.0),), True)


def _time_from(sigma: float, time: TimeMap) -> TimeMap:
    """The time map for a step from sigma: VE where lambda is infinite (flow at sigma = 1), which is as legal."""
    return time if math.isfinite(time.lam(sigma)) else VE


def _single_step(step: GridStep, tableau: Tableau, time: TimeMap, first_call: int) -> list[Stage]:
    if step.sigma_next == 0.0:
        return [_to_zero(step, first_call)]
    time = _time_from(step.sigma, time)
    lam = time.lam(step.sigma)
    h = time.lam(step.sigma_next) - lam

    def update(c, sigma_from, sigma_to, weights):
        scaled = tuple((first_call + j, time.alpha(sigma_to) * h * w) for j, w in enumerate(weights) if w != 0.0)
        return Stage(step.index, sigma_from, h, sigma_to / step.sigma, scaled, closes_step=c is None)

    stages = []
    sigma = step.sigma
    for i in range(1, tableau.stages):
        sigma_next = time.sigma(lam + tableau.c[i] * h) if tableau.c[i] < 1.0 else step.sigma_next
        stages.append(update(tableau.c[i], sigma, sigma_next, tableau.a_weights(i, h)))
        sigma = sigma_next
    stages.append(update(None, sigma, step.sigma_next, tableau.b_weights(h)))
    return stages


def _multistep(step: GridStep, history: Sequence[tuple[int, float]], order: int, time: TimeMap) -> Stage:
    call = history[0][0]
    if step.sigma_next == 0.0:
        return _to_zero(step, call)
    time = _time_from(step.sigma, time)
    lam = time.lam(step.sigma)
    h = time.lam(step.sigma_next) - lam
    nodes: list[tuple[int, float]] = []
    for node_call, sigma in history:
        c = (time.lam(sigma) - lam) / h  # -inf for flow's sigma = 1, which no polynomial can use
        if math.isfinite(c) and all(abs(c - other) > _MIN_NODE_DISTANCE for _, other in nodes):
            nodes.append((node_call, c))
        if len(nodes) == order:
            break
    weights = multistep_weights([c for _, c in nodes], h)
    scaled = tuple((node_call, time.alpha(step.sigma_next) * h * w) for (node_call, _), w in zip(nodes, weights))
    return Stage(step.index, step.sigma, h, step.sigma_next / step.sigma, scaled, True)
