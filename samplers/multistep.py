"""Plans of multistep methods: one call per step, weights from the last denoised outputs.

They are exponential Adams methods: RES-2M and -3M (arXiv 2308.02157) where they interpolate in lambda, see `interpolation.py`.

The first order - 1 steps have a short history. With the one-stage `start` they are multistep steps of lower order and make no
extra calls. With a single-step tableau of full order they make `start.stages` calls each, and the method keeps its asymptotic
order.

The corrector costs no call: once D is known at the end of a step, the step is redone with that value as an additional
node, and the next step starts from the corrected point, as in UniPC (arXiv 2302.04867). Corrected minus predicted point is a
combination of denoised outputs, so it only changes the next step's weights.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from .choice import DIFFERENCES, FEW_CALLS, difference_weights, reach
from .churn import NO_CHURN, Churn, churned
from .grid import GridStep, grid_steps
from .interpolation import IN_LAMBDA, InAlpha, Interpolation
from .kriging import Kriging
from .plan import NO_NOISE, Alternatives, Noise, NoisePath, Plan, Renoising, Stage, consistent, renoised, step_count
from .rule import Node, PlannedStep, Rule, Sum, correct, data_weights, predict
from .signature import Sigmas
from .single_step import single_step_stages
from .tableaus import RES_1, Tableau
from .time_maps import VE, TimeMap
from .watch import each

# The step to sigma = 0 extrapolates, so its weights are the largest. With two nodes at this distance the sum of absolute
# weights stays below 4. With four adjacent nodes it is 100 at 40 steps; they are hardly better on exact models and worse on
# networks.
END_ORDER, END_MIN_GAP = 2, 0.7
_ALL_NOISE = 50.0  # s above which an output says nothing about the next one, so that large changes are normal
_NEAR_IMAGE = 2.0  # s of a start from a latent rather than from noise
_LONG_STEPS = 10  # up to this number of steps, steps count as long
# In runs of long steps, outputs can change so sharply under guidance that extrapolating them leads the run away from the data.
# Corrections (the first one, later ones) and extrapolations are therefore made in full up to these shares of the newest output,
# and in part beyond.
_FIRST_CORRECTION, _CORRECTION, _EXTRAPOLATION = 0.5, 0.2, 0.2
_WITH_NOISE = 0.1  # both bounds of SDE samplers, at any number of steps
_FULL_ETA, _FADING = 0.25, 4  # for `steady_sde_plan`: the longest step in lambda with all of its eta, and the power of its fall
# After steps of at least this relative length an output moves with its state by half of the correction, between these two s.
# Without the upper limit, networks that start at sigma 157 lose more than all others gain.
_RESPONSE, _REVEALING, _NEAR, _FAR = 0.5, 0.85, 1.0, 10.0
_LEAST_RESPONSE = 0.02  # smaller ones change nothing that could be seen, and cost time
_CHARGED = 0.06  # share of the squared miss that a rule of lower order is charged at the first comparison
_PLANS_KEPT = 64  # number of plans; planning a choice takes some milliseconds per step


def res_rule(order: int, interpolation: Interpolation = IN_LAMBDA, corrector: bool = False, eps_share: float = 0.0) -> Rule:
    """RES-2M, RES-3M, ... and their corrected and alpha-interpolated forms.

    Args:
        order: 1 to 4, the number of denoised outputs a step combines; in rising steps at most the interpolation's.
        interpolation: the variable in which the denoised output is interpolated.
        corrector: correct every step with the output of the next call.
        eps_share: see `Rule`; above 0 the step to sigma = 0 is taken almost entirely in eps, whose two weights are smaller.

    Raises:
        ValueError: order is not 1 to 4.
    """
    if order not in (1, 2, 3, 4):
        raise ValueError(f"order must be 1, 2, 3 or 4, got {order!r}.")
    kind = "PEC" if corrector else "none"
    eps = f", eps {eps_share:g}" if eps_share else ""
    name = f"RES-{order}M" + "C" * corrector + (f" in {interpolation.name}{eps}" if interpolation != IN_LAMBDA else "")
    at_end = interpolation.last
    last = None if at_end is None else Rule(name, min(order, END_ORDER), at_end, 1.0 if eps_share else 0.0, END_MIN_GAP)
    rising = Rule(name, min(order, interpolation.rising_order), interpolation, 0.0, interpolation.min_gap, kind)
    return Rule(name, order, interpolation, eps_share, interpolation.min_gap, kind, last, rising)


def multistep_plan(
    sigmas: Sigmas,
    order: int,
    time: TimeMap = VE,
    start: Tableau = RES_1,
    interpolation: Interpolation = IN_LAMBDA,
    corrector: bool = False,
    eps_share: float = 0.0,
    noise: Noise = NO_NOISE,
    churn: Churn = NO_CHURN,
) -> Plan:
    """The plan of a `res_rule`, with the arguments and errors of `res_rule` and `rule_plan`."""
    return rule_plan(sigmas, res_rule(order, interpolation, corrector, eps_share), time, start, noise, churn)


def rule_plan(
    sigmas: Sigmas,
    rule: Rule,
    time: TimeMap = VE,
    start: Tableau = RES_1,
    noise: Noise = NO_NOISE,
    churn: Churn = NO_CHURN,
) -> Plan:
    """The plan of a multistep method.

    Args:
        sigmas: falling grid, or rising for inversion; 1-D tensor or sequence of n + 1 sigmas.
        rule: the method.
        time: the time map of the model.
        start: method of the first order - 1 steps.
        noise: what an SDE sampler adds, see `single_step_plan`; its start is of low order.
        churn: what is added between the steps, see `churn.py`; not together with `noise`.

    Raises:
        ValueError: the grid cannot be sampled on, see `grid_steps`, or the rule or its start cannot be used with noise.
    """
    if noise.eta and start.stages > 1:
        raise ValueError("start must be 'low order' for a sampler with noise.")
    stages: list[Stage] = []
    history: list[Node] = []  # newest first
    previous: PlannedStep | None = None
    renoising: Renoising | None = None  # before the step
    opening, steps = churned(grid_steps(sigmas, time, rising=not (noise.eta or churn.s_churn)), churn, time)
    if noise.eta or opening or any(step.after for step in steps):
        if rule.corrector == "PECE":
            raise ValueError("corrector must be 'none' or 'PEC' for a sampler with noise, got 'PECE'.")
        rule = rule.without_eps()
    for step in each(steps):
        if renoising is not None:
            history = [node._replace(renoised=(*node.renoised, renoising.segment)) for node in history[: rule.order]]
        renoising = step.after
        history.insert(0, Node(len(stages), step.sigma))
        if len(history) < rule.order and start.stages > 1:
            # in VE, which is valid for flow as well, keeps its order from sigma = 1 and has less error there
            stages += single_step_stages(step, start, VE.scaled(time.noise_scale), first_call=len(stages))
            continue
        planned = predict(rule, step, history, time, noise.eta)
        total = planned.sum
        if rule.corrector == "PEC" and previous is not None and planned.scale > 0.0:
            total = total.plus(_correction(previous, history[0].call), planned.scale)
        end = Node(len(stages) + 1, step.sigma_next)
        redone = correct(planned, end) if rule.corrector == "PECE" and step.sigma_next > 0.0 else None
        stages.append(_stage(planned, total, stages, step.sigma, noise, closes_step=redone is None))
        if redone is not None:
            stages.append(_stage(redone, redone.sum, stages, end.sigma, noise))
        previous = planned
    name = rule.name + (f" started by {start.name}" if start.stages > 1 else "")
    return Plan(name, time, step_count(sigmas), tuple(stages), opening)


def _correction(previous: PlannedStep, newest: int) -> Sum:
    """Corrected minus predicted end point of a step, after renoising."""
    corrected = correct(previous, Node(newest, previous.grid.sigma_next))
    if corrected is None:
        return Sum({}, {})
    scale = previous.grid.after.scale if previous.grid.after else 1.0
    return Sum({}, {}).plus(corrected.sum.plus(previous.sum, -1.0), scale)


def _stage(
    planned: PlannedStep, total: Sum, stages: Sequence[Stage], sigma: float, noise: Noise, closes_step: bool = True
) -> Stage:
    """The next call, at sigma, and the update that follows it: `total` added to the scaled start of the step."""
    step, time, call = planned.grid, planned.time, len(stages)
    anchor = call if sigma == step.sigma else call - 1
    h = step.h(time)
    path = None if planned.eta == 0.0 else NoisePath(step.sigma, h, noise, time.noise_scale)
    factors, segment = path.to(1.0, step.sigma_next) if path else ((), None)
    scale = planned.scale + total.states.get(anchor, 0.0)
    states = tuple((earlier, weight) for earlier, weight in total.states.items() if earlier != anchor)
    stage = Stage(step.index, sigma, h, scale, tuple(total.outputs.items()), closes_step, factors, segment, states=states)
    alphas = {earlier: time.alpha(sigma if earlier == call else stages[earlier].sigma) for earlier, _ in states}
    stage = consistent(stage, time.alpha(step.sigma), time.alpha(step.sigma_next), alphas)
    return renoised(stage, step.after)


def kriging_rule(roughness: float, sharpness: float = 4.0, eps_share: float = 0.0, order: int = 4) -> Rule:
    """A rule by kriging, with corrector; rising steps have order 2 in alpha, so that inversion returns the image."""
    by, up = Kriging(roughness, sharpness), InAlpha(6.0, 1.5)
    name = f"RES-{order}MC by {by.name}" + (f", eps {eps_share:g}" if eps_share else "")
    last = Rule(name, order, by.last, 1.0) if eps_share else None
    return Rule(name, order, by, eps_share, by.min_gap, "PEC", last, Rule(name, up.rising_order, up, 0.0, up.min_gap, "PEC"))


EULER = Rule("Euler", 1, IN_LAMBDA)


def choice_plan(sigmas: Sigmas, rules: Sequence[Rule], time: TimeMap = VE, churn: Churn = NO_CHURN) -> Plan:
    """The plan in which the run chooses among rules, see `choice.py`.

    On rising grids, and with churn, whose noise is in every difference of outputs, the plan uses only the first rule. Up to
    `FEW_CALLS` calls from noise the plan is Euler's, because only step-distilled models are run with so few calls, and Euler
    suits them. The rules are rules by kriging with corrector, all with the same eps_share; the other arguments and the errors are
    those of `rule_plan`.
    """
    opening, steps = churned(grid_steps(sigmas, time, rising=not churn.s_churn), churn, time)
    if opening or not steps or steps[0].rising or any(step.after for step in steps):
        return rule_plan(sigmas, rules[0], time, churn=churn)
    if len(steps) == 1 or (len(steps) <= FEW_CALLS and time.s(steps[0].sigma) >= _NEAR_IMAGE):
        return rule_plan(sigmas, EULER, time)
    return _choice_plan(tuple(steps), step_count(sigmas), tuple(rules), time)


def steady_sde_plan(sigmas: Sigmas, rule: Rule, time: TimeMap = VE, noise: Noise = NO_NOISE) -> Plan:
    """The plan of a rule for the reverse SDE that stays in the data on long steps and under strong guidance.

    A step of h in lambda multiplies what the state remembers by e^(-(1 + eta) h), so at eta = 1 it demands as much as an ODE's
    step of twice the length. The reverse SDE has the right distributions for every eta, also for one that depends on the step.
    Steps up to `_FULL_ETA` therefore exchange all of their noise, and in longer ones eta falls with the fourth power of the
    length, except on one noise path for every number of steps. Large changes are reduced as in `choice_plan`. The arguments and
    errors are those of `rule_plan`.
    """
    if not noise.eta:
        return rule_plan(sigmas, rule, time)
    steps = grid_steps(sigmas, time, rising=False)
    return _choice_plan(tuple(steps), step_count(sigmas), (rule.without_eps(),), time, noise)


@lru_cache(maxsize=_PLANS_KEPT)
def _choice_plan(
    steps: tuple[GridStep, ...], count: int, rules: tuple[Rule, ...], time: TimeMap, noise: Noise = NO_NOISE
) -> Plan:
    stages: list[Stage] = []
    history: list[Node] = []  # newest first
    previous: list[PlannedStep] = []
    for step in each(steps):
        history = [Node(len(stages), step.sigma), *history[: DIFFERENCES - 1]]  # a correction reaches one step further
        exchanged = noise if noise.path else noise._replace(eta=noise.eta * min(1.0, _FULL_ETA / step.h(time)) ** _FADING)
        planned = [predict(rule, step, history, time, exchanged.eta) for rule in rules]
        stages.append(_choice(planned, previous, history, stages, len(steps), exchanged))
        previous = planned
    names = "; ".join(rule.name for rule in rules)
    return Plan(names if len(rules) == 1 else f"a choice of {names}", time, count, tuple(stages))


def _opening(rules: Sequence[Rule], calls: int, s_start: float) -> int:
    """The rule for the steps before any comparison.

    In runs of long steps this is the sharpest rule, because outputs change at once under guidance. If the run starts near the
    image, as from a latent, it is the roughest rule, because the image and the prompt may not fit.
    """
    if calls > _LONG_STEPS or len(rules) == 1:
        return 0
    most = "roughness" if s_start < _NEAR_IMAGE else "sharpness"
    return max(range(len(rules)), key=lambda i: getattr(rules[i].interpolation, most))


def _bounds(call: int, s_start: float, eta: float) -> tuple[float, float]:
    """Shares of the newest output up to which a correction and an extrapolation are made in full.

    A run that starts near the image ends before it can leave the data, and a prompt that does not fit the image needs large
    changes.
    """
    if s_start < _NEAR_IMAGE:
        return _FIRST_CORRECTION, math.inf
    if eta:
        return _WITH_NOISE, _WITH_NOISE
    return _FIRST_CORRECTION if call == 1 else _CORRECTION, _EXTRAPOLATION


def _response(s_from: float, s_to: float) -> float:
    """The share of a step's correction by which the output at its end moves too.

    A denoiser answers to a change of its state by Cov(x_0 | x) / s^2 times the change (the second-order Tweedie formula). That
    is little in noise that hides all of the picture and little where the picture is known. In between it is largest after long
    steps, whose corrections consist of what the step has revealed.
    """
    if math.isinf(s_from) or s_to <= _NEAR:
        return 0.0
    response = _RESPONSE * min(1.0, (1.0 - s_to / s_from) / _REVEALING) ** 3 / (1.0 + (s_to / _FAR) ** 2)
    return response if response > _LEAST_RESPONSE else 0.0


def _choice(
    planned: Sequence[PlannedStep],
    previous: Sequence[PlannedStep],
    history: Sequence[Node],
    stages: Sequence[Stage],
    calls: int,
    noise: Noise,
) -> Stage:
    """The next call, with the step of each rule."""
    call, scale, end, nothing = len(stages), planned[0].scale, history[0], Sum({}, {})
    corrected = [correct(before, end) or before for before in previous] if scale > 0.0 else []
    redone = [nothing.plus(new.sum, scale) for new in corrected] or [nothing] * len(planned)
    before = [nothing.plus(old.sum, scale) for old in previous if corrected] or [nothing] * len(planned)
    by_rule = [
        _stage(step, step.sum.plus(new.plus(old, -1.0), 1.0), stages, end.sigma, noise)
        for step, new, old in zip(planned, redone, before)
    ]
    outputs, states = (
        sorted({call}.union(*(part(total) for total in (*(step.sum for step in planned), *redone, *before))), reverse=True)
        for part in (lambda total: total.outputs, lambda total: total.states)
    )
    outputs = sorted({*outputs, max(call - 1, 0)}, reverse=True)  # for the newest difference

    def row(total: Sum, anchor: float = 0.0) -> tuple[float, ...]:
        by_state = {**total.states, call: total.states.get(call, 0.0) + anchor}
        return (*(total.outputs.get(c, 0.0) for c in outputs), *(by_state.get(c, 0.0) for c in states))

    time, last = planned[0].time, planned[0].grid.sigma_next == 0.0
    kriged = isinstance(planned[0].rule.interpolation, Kriging)
    start = time.s(stages[0].sigma if stages else end.sigma)
    s_before = time.s(previous[0].grid.sigma) if previous else math.inf
    bounded = corrected and (calls <= _LONG_STEPS or noise.eta) and s_before < _ALL_NOISE
    response = _response(s_before, time.s(end.sigma)) if corrected and kriged and not last else 0.0
    changed = bounded or response
    first_order = predict(EULER, planned[0].grid, history, time, noise.eta)
    alternatives = Alternatives(
        tuple(outputs),
        tuple(states),
        tuple(row(step.sum, scale) for step in planned),
        tuple(map(row, redone)),
        tuple(map(row, before)),
        tuple(_miss(old, end, time, start) for old in previous) if call > 1 and kriged else (),
        _trend(planned[0].rule, [node.s(time) for node in history]) if last and call and kriged else (),
        reach(calls),
        _opening([step.rule for step in planned], calls, start),
        tuple(_in_data(step, end, time) for step in (*corrected, *previous, *planned)) if changed else (),
        _bounds(call, start, noise.eta) if bounded else (math.inf, math.inf),
        row(first_order.sum, first_order.scale) if changed else (),
        response,
    )
    kept, earlier = dict(by_rule[0].weights), dict(by_rule[0].states)
    return replace(
        by_rule[0],
        weights=tuple((c, kept.get(c, 0.0)) for c in outputs),
        states=tuple((c, earlier.get(c, 0.0)) for c in states if c != call),
        alternatives=alternatives,
    )


def _miss(previous: PlannedStep, end: Node, time: TimeMap, s_start: float) -> tuple[float, ...]:
    """A rule's prediction minus its step redone with the output at the end, both in D only, as weights of differences.

    The first comparisons say little, and on networks, whose outputs are rough, a high order that was right by chance does harm.
    A rule of lower order is therefore charged only a part of its squared miss, which doubles with every comparison.
    """
    rule, call = previous.rule, end.call
    nodes = [end, *previous.nodes][: max(rule.order, DIFFERENCES - 1)]
    redone = previous._replace(rule=rule.correcting(previous.grid, time), nodes=nodes)
    charged = 1.0
    if rule.order < DIFFERENCES and s_start >= _NEAR_IMAGE:
        charged = min(1.0, _CHARGED * 2.0 ** min(call - 2, 10)) ** 0.5
    return tuple(charged * (p - r) for p, r in zip(_in_data(previous, end, time), _in_data(redone, end, time)))


def _in_data(planned: PlannedStep, end: Node, time: TimeMap) -> tuple[float, ...]:
    """What a step adds in D to a multiple of the output at its end, as weights of differences."""
    s_from, s_to = time.s(planned.grid.sigma), time.s(planned.grid.sigma_next)
    weights = [0.0] * (DIFFERENCES + 1)
    of_nodes = data_weights(planned.rule, planned.nodes, s_from, s_to, time, planned.eta)
    for node, weight in zip(planned.nodes, of_nodes):
        weights[end.call - node.call] += weight
    return difference_weights(weights)


def _trend(rule: Rule, s: Sequence[float]) -> tuple[float, ...]:
    """The newest output as expected from the outputs before, minus the output before it, as weights of differences."""
    assert isinstance(rule.interpolation, Kriging)
    used = s[1:DIFFERENCES]
    weights = [0.0, *rule.interpolation.value_weights(used, s[0]), *[0.0] * DIFFERENCES]
    weights[1] -= 1.0
    return difference_weights(weights[: DIFFERENCES + 1])
