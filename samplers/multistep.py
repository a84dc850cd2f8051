"""Plans of multistep methods: one call a step, weights from the last denoised outputs.

They are exponential Adams methods: RES-2M and -3M (arXiv 2308.02157) where they interpolate in lambda, see `interpolation.py`.

Until `order` grid points have been evaluated the history is short. With the one-stage `start` those steps are multistep
steps of lower order and cost nothing; with a single-step tableau of full order they cost `start.stages` calls each and the
method keeps its asymptotic order.

The corrector costs no call: once D is known at the end of a step, the step is redone with that value as an additional
node, and the next step starts from the corrected point, as in UniPC (arXiv 2302.04867). Corrected minus predicted point is a
combination of denoised outputs, so it only changes the next step's weights.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from .churn import NO_CHURN, Churn, churned
from .grid import GridStep, grid_steps
from .interpolation import IN_LAMBDA, InAlpha, InLambda, Interpolation, apart
from .plan import NO_NOISE, Noise, NoisePath, Plan, Renoising, Stage, consistent, renoised, step_count, step_time
from .signature import Sigmas
from .single_step import single_step_stages
from .tableaus import RES_1, Tableau
from .time_maps import VE, TimeMap

# Nodes nearer to each other than this fraction of the step, in the variable of interpolation, are skipped for older ones.
# Weights grow as nodes close up, and with them what is not smooth in the outputs: half precision, timesteps rounded by the
# host, masks and conditions that switch. In lambda, the paper's methods, only rounding is kept out (weights of 1000); alpha
# puts the steps of a schedule further apart, so that without it absolute weights would add up to 1500 where small steps
# turn into large ones.
_APART = {InLambda: 1e-3, InAlpha: 0.2}
# The step to sigma = 0 extrapolates, so that its weights grow fastest: two nodes this far apart keep their absolute sum below 4.
# Four adjacent ones have 100 at 40 steps and are hardly better on exact models, and worse on networks.
_END_ORDER, _END_APART = 2, 0.7
# That step is taken almost wholly in eps, whose two weights are smaller, where eps has a share in the others.
_END_EPS_SHARE = 1.0

# Upwards steps grow in alpha as they leave the image, by a constant factor where the grid is uniform in lambda: polynomials
# of higher degree then extrapolate over several times their own length, and measured inversions diverged.
_MAX_RISING_ORDER = 2


class _Node(NamedTuple):
    """A denoised output.

    Attributes:
        call: the model call that gave it.
        sigma: where the model was called.
        renoised: (sigma_hat, sigma) of every renoising since.
    """

    call: int
    sigma: float
    renoised: tuple[tuple[float, float], ...] = ()

    def s(self, time: TimeMap) -> float:
        """Where it lies on the path of the current step: at its sigma / alpha, moved back by every renoising since.

        Noise does not change the denoised output in the mean, E[D(x) | x_hat] = D(x_hat): the output at x_hat stands for
        the one at x too. So two nodes are as far apart as the deterministic steps between them are long.
        """
        return time.s(self.sigma) * math.prod(time.s(sigma_hat) / time.s(sigma) for sigma_hat, sigma in self.renoised)


class _Sum(NamedTuple):
    """A combination of denoised outputs and of the states they were computed at, {model call: weight} each."""

    outputs: dict[int, float]
    states: dict[int, float]

    def plus(self, other: "_Sum", factor: float) -> "_Sum":
        """self + factor * other."""

        def add(mine: dict[int, float], others: dict[int, float]) -> dict[int, float]:
            return {call: mine.get(call, 0.0) + factor * others.get(call, 0.0) for call in {**mine, **others}}

        return _Sum(add(self.outputs, other.outputs), add(self.states, other.states))


class _Step(NamedTuple):
    """A step that was planned, kept for the corrector.

    Attributes:
        nodes: the outputs it combines, newest first.
        scale: factor of the point it starts from, corrected if the previous step was.
        sum: what it adds.
    """

    grid: GridStep
    time: TimeMap
    eta: float
    nodes: list[_Node]
    scale: float
    sum: _Sum


def multistep_plan(
    sigmas: Sigmas,
    order: int,
    time: TimeMap = VE,
    start: Tableau = RES_1,
    interpolation: Interpolation = IN_LAMBDA,
    corrector: bool = False,
    last_step: InAlpha | None = None,
    noise: Noise = NO_NOISE,
    churn: Churn = NO_CHURN,
) -> Plan:
    """The plan of RES-2M, RES-3M, ... and of their corrected and alpha-interpolated forms.

    Args:
        sigmas: falling grid, or rising for inversion; 1-D tensor or sequence of n + 1 sigmas.
        order: 1 to 4, the number of denoised outputs a step combines; at most 2 in a rising step interpolated in alpha.
        time: the time map of the model.
        start: method of the first order - 1 steps.
        interpolation: the variable in which the denoised output is interpolated.
        corrector: correct every step by the next call.
        last_step: the variable of the step to sigma = 0. None: for interpolation in lambda, which cannot reach it, the last
            output alone; for that in alpha the same, of power 2 as D is even in sigma near 0, and in eps where it has a share.
        noise: what an SDE sampler adds, see `single_step_plan`; its start is of low order.
        churn: what is added between the steps, see `churn.py`; not together with `noise`.

    Raises:
        ValueError: order is not 1 to 4, or the grid is not one to sample on, see `grid_steps`.
    """
    if noise.eta and start.stages > 1:
        raise ValueError("start must be 'low order' for a sampler with noise.")
    if order not in (1, 2, 3, 4):
        raise ValueError(f"order must be 1, 2, 3 or 4, got {order!r}.")
    stages: list[Stage] = []
    history: list[_Node] = []  # newest first
    previous: _Step | None = None
    renoising: Renoising | None = None  # before the step
    opening, steps = churned(grid_steps(sigmas, time, rising=not (noise.eta or churn.s_churn)), churn, time)
    if isinstance(interpolation, InAlpha):
        if noise.eta or opening or any(step.after for step in steps):
            interpolation = replace(interpolation, eps_share=0.0)  # it takes states that one ODE joins
        last_step = last_step or replace(interpolation, power=2.0, eps_share=_END_EPS_SHARE if interpolation.eps_share else 0.0)
    for step in steps:
        if renoising is not None:
            history = [node._replace(renoised=(*node.renoised, renoising.segment)) for node in history[:order]]
        renoising = step.after
        history.insert(0, _Node(len(stages), step.sigma))
        if len(history) < order and start.stages > 1:
            # in VE, which is legal for flow too, keeps its order from sigma = 1 and measures better there
            stages += single_step_stages(step, start, VE, first_call=len(stages))
            continue
        variable = last_step if last_step is not None and step.sigma_next == 0.0 else interpolation
        planned = _plan_step(step, history, order, time, variable, noise.eta)
        total = planned.sum
        if corrector and previous is not None and planned.scale > 0.0:
            total = total.plus(_correction(previous, len(stages), interpolation), planned.scale)
        stages.append(_stage(planned, total, stages, noise))
        previous = planned
    return Plan(_method(order, corrector, interpolation, start), time, step_count(sigmas), tuple(stages), opening)


def _method(order: int, corrector: bool, interpolation: Interpolation, start: Tableau) -> str:
    variable = "" if isinstance(interpolation, InLambda) else f" in {interpolation.name}"
    return f"RES-{order}M" + "C" * corrector + variable + (f" started by {start.name}" if start.stages > 1 else "")


def _stage(planned: _Step, total: _Sum, stages: Sequence[Stage], noise: Noise) -> Stage:
    """The next call and the update that follows it, with `total` added to the scaled start."""
    step, time, call = planned.grid, planned.time, len(stages)
    h = step.h(time)
    factors, segment = ((), None) if planned.eta == 0.0 else NoisePath(step.sigma, h, noise).to(1.0, step.sigma_next)
    scale = planned.scale + total.states.get(call, 0.0)  # the state of this call is the anchor
    states = tuple((earlier, weight) for earlier, weight in total.states.items() if earlier != call)
    stage = Stage(step.index, step.sigma, h, scale, tuple(total.outputs.items()), True, factors, segment, states=states)
    alphas = {earlier: time.alpha(stages[earlier].sigma) for earlier, _ in states}
    stage = consistent(stage, time.alpha(step.sigma), time.alpha(step.sigma_next), alphas)
    return renoised(stage, step.after)


def _plan_step(
    step: GridStep, history: Sequence[_Node], order: int, time: TimeMap, interpolation: Interpolation, eta: float
) -> _Step:
    rough = eta or any(node.renoised for node in history[:order])
    if step.sigma_next == 0.0 and (rough or isinstance(interpolation, InLambda)):
        # e^-h = 0 and h phi_1 = 1: the first-order answer, x = D. The lambda polynomial ends at infinity, and where noise
        # is added on the way D is rough: extrapolating it from close nodes would amplify that
        return _Step(step, time, 0.0, [history[0]], 0.0, _Sum({history[0].call: 1.0}, {}))
    if not math.isfinite(time.lam(step.sigma)):
        eta = 0.0  # flow at sigma = 1 is all noise and has none to exchange
    if isinstance(interpolation, InLambda):
        time = step_time(step.noisy_end, time, eta)
    if step.rising and isinstance(interpolation, InAlpha):
        order = min(order, _MAX_RISING_ORDER)
    nodes = _usable_nodes(step, history, order, time, interpolation)
    scale = step.sigma_next / step.sigma
    if eta:
        scale *= math.exp(-eta * (time.lam(step.sigma_next) - time.lam(step.sigma)))
    share = _eps_share(step, time, interpolation)
    if share:
        scale = (1.0 - share) * scale + share * time.alpha(step.sigma_next) / time.alpha(step.sigma)
    return _Step(step, time, eta, nodes, scale, _combine(step, nodes, time, interpolation, eta))


def _eps_share(step: GridStep, time: TimeMap, interpolation: Interpolation) -> float:
    if isinstance(interpolation, InLambda) or step.rising:
        return 0.0
    return interpolation.eps_share / (1.0 + time.s(step.sigma))


def _usable_nodes(
    step: GridStep, history: Sequence[_Node], order: int, time: TimeMap, interpolation: Interpolation
) -> list[_Node]:
    """The newest nodes at which the variable is finite and that are apart from each other."""
    v = interpolation.variable
    order, fraction = (min(order, _END_ORDER), _END_APART) if step.sigma_next == 0.0 else (order, _APART[type(interpolation)])
    distance = fraction * abs(v(time.s(step.sigma_next)) - v(time.s(step.sigma)))
    return apart(history, lambda node: v(node.s(time)), distance, order)


def _combine(step: GridStep, nodes: Sequence[_Node], time: TimeMap, interpolation: Interpolation, eta: float) -> _Sum:
    """What a step adds to its scaled start."""
    s_from, s_to, alpha = time.s(step.sigma), time.s(step.sigma_next), time.alpha(step.sigma_next)
    share = _eps_share(step, time, interpolation)
    b = interpolation.weights([node.s(time) for node in nodes], s_from, s_to, eta)
    by_d = _Sum({node.call: alpha * (1.0 - share) * weight for node, weight in zip(nodes, b)}, {})
    if isinstance(interpolation, InLambda) or not share:
        return by_d
    finite = [node for node in nodes if math.isfinite(node.s(time))]
    e = interpolation.eps_weights([node.s(time) for node in finite], s_from, s_to)
    eps = {node.call: alpha * share * weight / node.sigma for node, weight in zip(finite, e)}  # eps = (x - alpha D) / sigma
    return by_d.plus(_Sum({node.call: -time.alpha(node.sigma) * eps[node.call] for node in finite}, eps), 1.0)


def _correction(previous: _Step, newest: int, interpolation: Interpolation) -> _Sum:
    """Corrected minus predicted end point of a step, as renoised."""
    end = _Node(newest, previous.grid.sigma_next)
    nodes = _usable_nodes(previous.grid, [end, *previous.nodes], len(previous.nodes) + 1, previous.time, interpolation)
    corrected = _combine(previous.grid, nodes, previous.time, interpolation, previous.eta)
    if previous.grid.rising and abs(corrected.outputs.get(newest, 0.0)) > previous.time.alpha(previous.grid.sigma_next):
        return _Sum({}, {})  # near the image dD/dx is 1: correcting would enlarge the error of the predicted point
    scale = previous.grid.after.scale if previous.grid.after else 1.0
    return _Sum({}, {}).plus(corrected.plus(previous.sum, -1.0), scale)
