"""gDDIM and RES on linear diffusions as plans for the loop: factors are matrices, and outputs are values of eps.

A step from s to t has several exact forms (`process_forms.py`), and a method is a form with nodes and a corrector, as for
isotropic noise (`rule.py`). The order conditions on sums of weights and on their first moment hold exactly; the condition of
RES-3S on the second moment holds at h = 0, which makes order 3.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..gddim_rule import MAX_NOISE_LEVEL, check_degree_and_corrector
from ..grid import GridStep, read_sigmas
from ..interpolation import select_nodes
from ..options import S_NOISE
from ..plan import Plan, Stage, step_count
from ..rule import Node
from ..signature import Sigmas
from ..watch import each
from .linear_sde import LinearSDE
from .operators import process_stage
from .process_forms import Form, InData, InEps, Terms, WithNoise
from .process_times import falling_steps, half_log_snr, time_map_of, times_at

METHODS = ("1", "2M", "2MC", "3M", "3MC", "4M", "4MC", "2S", "3S")
# Plans of blurring diffusion hold matrices of the image's size: on 128 x 128, 50 steps of degree 2 take 24 MiB, and 50 steps of
# RES-3MC 49 MiB. A plan is needed again in the next run, or when a few methods are compared.
_PLANS_KEPT = 4
_MIN_GAP = 0.2  # of nodes, in sqrt(t), as a share of the step: weights grow as nodes come closer to each other

# For every stage: where it ends, as a fraction of the step in half the logSNR, and which of the step's outputs it interpolates.
StageEnds = tuple[tuple[float, tuple[int, ...]], ...]
_SINGLE_STEP: dict[str, StageEnds] = {
    "2S": ((0.5, (0,)), (1.0, (0, 1))),
    "3S": ((1.0 / 3.0, (0,)), (2.0 / 3.0, (0, 1)), (1.0, (0, 2))),
}


def gddim_on(
    sde: LinearSDE,
    sigmas: Sigmas,
    degree: int = 2,
    corrector: str = "none",
    noise_level: float = 0.0,
    kind: str = "R",
    s_noise: float = 1.0,
) -> Plan:
    """The plan of gDDIM on a linear diffusion, for a model that gives eps; kept for further calls with the same arguments.

    Args:
        sde, kind: the process, and "R" or "L", the parameterisation of the model's eps.
        sigmas: falling grid of n + 1 times t; 1-D tensor or sequence. A step to t = 0 ends at the mean of u0.
        degree, corrector: as in `gddim_plan`. They must be 0 and "none" where noise_level is above 0.
        noise_level: the paper's lambda, the strength of the noise: 0 for none, 1 for the reverse SDE.
        s_noise: factor of the noise; 1 is right.

    Raises:
        ValueError: an argument is none of these, or the grid cannot be sampled on, see `grid_steps`.
    """
    check_degree_and_corrector(degree, corrector)
    if not 0.0 <= noise_level <= MAX_NOISE_LEVEL:
        raise ValueError(
            f"lambda must be between 0 and {MAX_NOISE_LEVEL:g}, got {noise_level:g}; 0 is deterministic, 1 the reverse SDE."
        )
    if noise_level and (degree or corrector != "none"):
        raise ValueError(f"degree must be 0 and corrector 'none' where lambda is above 0, got {degree} and {corrector!r}.")
    S_NOISE.check(s_noise)
    name = f"gDDIM with lambda {noise_level:g}" if noise_level else f"gDDIM of degree {degree}"
    name += "" if corrector == "none" else f", {corrector}"
    noise = (float(noise_level), float(s_noise)) if noise_level else None
    return _planned(sde, tuple(read_sigmas(sigmas)), kind, name, degree + 1, corrector, noise=noise)


def res_on(sde: LinearSDE, sigmas: Sigmas, method: str = "3MC", kind: str = "R") -> Plan:
    """The plan of a RES method on a linear diffusion, with the other arguments of `gddim_on`; kept like its plans.

    The method is one of METHODS: the order, then M for multistep, MC for multistep with the free corrector, or S for single-step;
    "1" is DDIM.

    Raises:
        ValueError: method is none of these, or the grid cannot be sampled on, see `grid_steps`.
        ArithmeticError: a step is so long that the weights miss their sum.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}.")
    corrector, stages = "PEC" if method.endswith("C") else "none", _SINGLE_STEP.get(method, ())
    return _planned(sde, tuple(read_sigmas(sigmas)), kind, f"RES-{method}", int(method[0]), corrector, stages, in_data=True)


@lru_cache(maxsize=_PLANS_KEPT)
def _planned(
    sde: LinearSDE,
    sigmas: tuple[float, ...],
    kind: str,
    name: str,
    order: int,
    corrector: str,
    single_step: StageEnds = (),
    in_data: bool = False,
    noise: tuple[float, float] | None = None,
) -> Plan:
    """The plan of a single-step method, or of a multistep method that combines `order` outputs; noise: noise_level, s_noise."""
    steps = falling_steps(sde, sigmas)
    ends = _stage_ends(sde, steps, [fraction for fraction, _ in single_step or ((1.0, ()),)])
    spans = [(step.sigma, end) for step, own in zip(steps, ends) for end in own]
    form: Form = WithNoise(sde, kind, spans, *noise) if noise else (InData if in_data else InEps)(sde, kind, spans)
    if single_step:
        stages = _single_step(form, steps, ends, [outputs for _, outputs in single_step])
    else:
        stages = _multistep(form, steps, order, corrector)
    return Plan(f"{name}, K = {kind}", time_map_of(sde), step_count(sigmas), tuple(stages))


def _stage_ends(sde: LinearSDE, steps: Sequence[GridStep], fractions: Sequence[float]) -> list[list[float]]:
    """Where the stages of every step end. The last stage ends where the step does; a step to 0 has no stages."""
    noisy = [step for step in steps if step.sigma_next > 0.0]
    start, end = (half_log_snr(sde, np.array(times)) for times in ([s.sigma for s in noisy], [s.sigma_next for s in noisy]))
    inner = [times_at(sde, start + fraction * (end - start)).tolist() for fraction in fractions[:-1]]
    ends = [[*(times[i] for times in inner), step.sigma_next] for i, step in enumerate(noisy)]
    return ends + [[]] * (len(steps) - len(noisy))


def _multistep(form: Form, steps: Sequence[GridStep], order: int, corrector: str) -> list[Stage]:
    """Stages of a multistep method. The first steps are of lower order."""
    stages: list[Stage] = []
    history: list[Node] = []  # newest first
    previous: tuple[float, list[Node], Terms] | None = None
    for step in each(steps):
        call, s, t = len(stages), step.sigma, step.sigma_next
        history.insert(0, Node(call, s))
        gap = _MIN_GAP * abs(math.sqrt(s) - math.sqrt(t))
        nodes = select_nodes(history, lambda node: math.sqrt(node.sigma), gap, order)
        predicted = total = form.added(nodes, s, t)
        if corrector == "PEC" and previous is not None:
            before, old_nodes, old = previous
            carry = form.linear(s, t)
            total = total.plus(form.added([history[0], *old_nodes], before, s), carry).plus(old, -carry)
        twice = corrector == "PECE" and t > 0.0
        stages.append(_stage(form, step, call, s, t, total, closes_step=not twice))
        if twice:
            redone = form.added([Node(call + 1, t), *nodes], s, t)
            stages.append(_stage(form, step, call, t, t, redone))
        previous = s, nodes, predicted
    return stages


def _single_step(
    form: Form, steps: Sequence[GridStep], ends: Sequence[Sequence[float]], outputs: Sequence[tuple[int, ...]]
) -> list[Stage]:
    """Stages of a single-step method. A step to t = 0 makes one call."""
    stages: list[Stage] = []
    for step, own in zip(each(steps), ends):
        call, s = len(stages), step.sigma
        nodes = [Node(call, s)]
        for end, used in zip(own or [0.0], outputs):
            total = form.added([nodes[i] for i in used], s, end)
            stages.append(_stage(form, step, call, nodes[-1].sigma, end, total, closes_step=end == step.sigma_next))
            nodes.append(Node(len(stages), end))
    return stages


def _stage(form: Form, step: GridStep, anchor: int, called: float, end: float, total: Terms, closes_step: bool = True) -> Stage:
    """A call at the time `called`, and the update from the step's start, the state of the call `anchor`, to the time `end`."""
    states = dict(total.states)
    scale = form.linear(step.sigma, end) + states.pop(anchor, 0.0)
    noise = form.noise(step.sigma, end)
    segment = (step.sigma, end) if noise else None
    stage = Stage(step.index, called, form.h(step.sigma, end), 0.0, (), closes_step, segment=segment)
    return process_stage(form.sde, stage, total.outputs, states, scale, noise)
