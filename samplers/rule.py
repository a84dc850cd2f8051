"""One step of a multistep method: the outputs that it combines, and their weights.

A `Rule` is a method as data. A step from s to t with y = x / alpha has two exact forms, one in D and one in eps
(`interpolation.py`); a rule takes a weighted mean of the two,

    y_t = (1 - w) ((s_t / s_s) y_s + sum_j b_j D_j) + w (y_s + sum_j C_j eps_j),        w = eps_share * share(s),

so that RES has w = 0, gDDIM has w = 1, and `exp_res` has a w in between. `predict` plans a step from the outputs so far and
`correct` redoes it with the output at its end; the loop over a grid is in `multistep.py`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from .grid import GridStep
from .interpolation import Interpolation, select_nodes
from .plan import step_time
from .time_maps import TimeMap

CORRECTORS = ("none", "PEC", "PECE")


@dataclass(frozen=True)
class Rule:
    """A multistep method.

    Nodes closer to each other than the fraction `min_gap` of the step, in the variable, are skipped for older ones. Weights grow
    as nodes come closer, and amplify everything in the outputs that is not smooth: half precision, timesteps rounded by the host,
    masks and conditions that switch.

    The corrector is "none"; "PEC": each step is redone with the output at its end as an additional node, at no extra call; or
    "PECE": the model is called at the corrected point too, two calls per step except the last.
    """

    name: str  # for plans
    order: int  # maximum number of outputs that a step combines
    interpolation: Interpolation  # the variable, with its weights
    eps_share: float = 0.0  # weight of the form in eps, 0 to 1, where the share of the interpolation is 1
    min_gap: float = 0.0
    corrector: str = "none"
    last: "Rule | None" = None  # the rule of the step to sigma = 0; None if the last output is the result
    rising: "Rule | None" = None  # the rule of rising steps; None for this rule

    def of(self, step: GridStep, rough: bool) -> "Rule":
        """The rule of one step; if `rough`, noise was added between the outputs, which an extrapolation to 0 would amplify."""
        if step.sigma_next == 0.0:
            return replace(self, order=1, eps_share=0.0) if self.last is None or rough else self.last
        return (self.rising if step.rising else None) or self

    def correcting(self, step: GridStep, time: TimeMap) -> "Rule":
        """The rule with which one of its steps is redone."""
        return replace(self, interpolation=self.interpolation.correcting(time.s(step.sigma), time.s(step.sigma_next)))

    def without_eps(self) -> "Rule":
        """The rule without the form in eps, which uses earlier states and is valid only for an ODE."""
        last, rising = (rule and replace(rule, eps_share=0.0) for rule in (self.last, self.rising))
        name = self.name.replace(f", eps {self.eps_share:g}", "")
        return replace(self, name=name, eps_share=0.0, last=last, rising=rising)


class Node(NamedTuple):
    """A denoised output."""

    call: int  # the model call that gave it
    sigma: float  # where the model was called
    renoised: tuple[tuple[float, float], ...] = ()  # (sigma_hat, sigma) of every renoising since

    def s(self, time: TimeMap) -> float:
        """The node's sigma / alpha on the path of the current step, moved back by every renoising since.

        Noise does not change the denoised output in the mean, E[D(x) | x_hat] = D(x_hat), so the output at x_hat also
        represents the output at x. Two nodes are therefore as far apart as the deterministic steps between them are long.
        """
        return time.s(self.sigma) * math.prod(time.s(sigma_hat) / time.s(sigma) for sigma_hat, sigma in self.renoised)


class Sum(NamedTuple):
    """A combination of denoised outputs and of the states they were computed at, {model call: weight} each."""

    outputs: dict[int, float]
    states: dict[int, float]

    def plus(self, other: "Sum", factor: float) -> "Sum":
        """self + factor * other."""

        def add(mine: dict[int, float], others: dict[int, float]) -> dict[int, float]:
            return {call: mine.get(call, 0.0) + factor * others.get(call, 0.0) for call in {**mine, **others}}

        return Sum(add(self.outputs, other.outputs), add(self.states, other.states))


class PlannedStep(NamedTuple):
    """A planned step, kept for the corrector."""

    rule: Rule  # of this step
    grid: GridStep
    time: TimeMap  # in which it is taken
    eta: float  # strength of the noise that it exchanges
    nodes: list[Node]  # the outputs that it combines, newest first
    scale: float  # factor of the point from which it starts
    sum: Sum  # the combination that it adds


def predict(rule: Rule, step: GridStep, history: Sequence[Node], time: TimeMap, eta: float = 0.0) -> PlannedStep:
    """A step of the grid from the outputs so far, newest first; the first is the one at the step's start.

    `eta` is the strength of the noise; a step from pure noise and a step to sigma = 0 exchange none.
    """
    rule = rule.of(step, bool(eta) or any(node.renoised for node in history[: rule.order]))
    if step.sigma_next == 0.0 or not math.isfinite(time.lam(step.sigma)):
        eta = 0.0
    if rule.interpolation.ve_near_noise:
        time = step_time(step.noisy_end, time, eta)
    nodes = _selected(rule, step, history, rule.order, time) or [history[0]]
    scale = step.sigma_next / step.sigma
    if eta:
        scale *= math.exp(-eta * (time.lam(step.sigma_next) - time.lam(step.sigma)))
    share = _share(rule, step, time)
    if share:
        scale = (1.0 - share) * scale + share * time.alpha(step.sigma_next) / time.alpha(step.sigma)
    return PlannedStep(rule, step, time, eta, nodes, scale, _combined(rule, step, nodes, time, eta))


def correct(previous: PlannedStep, end: Node) -> PlannedStep | None:
    """The step redone with the output at its end as an additional node; None if that is not possible or does harm."""
    rule, step, time = previous.rule, previous.grid, previous.time
    nodes = _selected(rule, step, [end, *previous.nodes], len(previous.nodes) + 1, time)
    if len(nodes) <= len(previous.nodes):
        return None  # the step's start is pure noise, which the variable does not reach
    rule = rule.correcting(step, time)
    total = _combined(rule, step, nodes, time, previous.eta)
    if step.rising and abs(total.outputs.get(end.call, 0.0)) > time.alpha(step.sigma_next):
        return None  # near the image dD/dx is 1: correcting would enlarge the error of the predicted point
    return previous._replace(rule=rule, nodes=nodes, sum=total)


def _share(rule: Rule, step: GridStep, time: TimeMap) -> float:
    return rule.eps_share * rule.interpolation.share(time.s(step.sigma)) if rule.eps_share else 0.0


def _selected(rule: Rule, step: GridStep, candidates: Sequence[Node], count: int, time: TimeMap) -> list[Node]:
    """The newest nodes that are far enough apart and at which the variable is finite."""
    v = rule.interpolation.variable
    distance = rule.min_gap * abs(v(time.s(step.sigma_next)) - v(time.s(step.sigma)))
    return select_nodes(candidates, lambda node: v(node.s(time)), distance, count)


def _combined(rule: Rule, step: GridStep, nodes: Sequence[Node], time: TimeMap, eta: float) -> Sum:
    """What a step adds to its scaled start."""
    s_from, s_to, alpha = time.s(step.sigma), time.s(step.sigma_next), time.alpha(step.sigma_next)
    share, total = _share(rule, step, time), Sum({}, {})
    if share < 1.0:
        b = data_weights(rule, nodes, s_from, s_to, time, eta)
        total = Sum({node.call: alpha * (1.0 - share) * weight for node, weight in zip(nodes, b)}, {})
    if share:
        finite = [node for node in nodes if math.isfinite(node.s(time))]
        at = [node.s(time) for node in finite]
        c = rule.interpolation.eps_weights(at, s_from, s_to) if len(at) > 1 else [s_to - s_from]
        unit = alpha * share / time.noise_scale  # eps = (x - alpha D) / (noise_scale sigma)
        eps = {node.call: unit * weight / node.sigma for node, weight in zip(finite, c)}
        total = total.plus(Sum({node.call: -time.alpha(node.sigma) * eps[node.call] for node in finite}, eps), 1.0)
    return total


def data_weights(rule: Rule, nodes: Sequence[Node], s_from: float, s_to: float, time: TimeMap, eta: float) -> list[float]:
    """The weights b_j of the form in D, for the outputs at nodes; for one, 1 - (s_to / s_from)^(1 + eta) in every variable."""
    if len(nodes) > 1:
        return rule.interpolation.weights([node.s(time) for node in nodes], s_from, s_to, eta)
    if s_to == math.inf:
        return [0.0]  # nothing of the data is in x yet
    if s_to == 0.0 or s_from == math.inf:
        return [1.0]
    return [-math.expm1((1.0 + eta) * math.log(s_to / s_from))]
