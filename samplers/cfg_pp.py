"""CFG++ (arXiv 2406.08070): guidance that moves the clean part of the state and leaves the noise unconditional.

With D_u the unconditional denoised output, D_g = D_u + c (D_c - D_u) the guided one and plain(x, D) a step of any method,

    x_t = plain(x_s, D_u) + alpha_t (D_g - D_u).

At first order this is the paper's x_t = alpha_t D_g + sigma_t eps_u. For every order and every amount of SDE noise it solves
the unconditional process, and at the end of each step guidance moves the clean part by the newest D_g - D_u. If c = 0 or D_g =
D_u, it is the plain method. The last step, to sigma = 0, gives D_g.

Guidance acts once per step, regardless of the step's length, so the effect of c depends on the number of steps: a first-order
step is a step of CFG with the scale c / (1 - e^-h) (for an SDE with (1 + eta) h instead of h), which grows without bound as the
steps shrink. For a fixed c there is no ODE in the limit, and the order of accuracy is the order of the unconditional flow
between the moves. If c shrinks like 1 - e^-h, the limit is CFG, which is approached at first order. The corrector is useful
here too: with it the measured error to the exact flow between the moves is smaller.

A rising step undoes a falling one, as the paper's inversion does:

    x_t = plain(x_s, D_u) - (sigma_t / sigma_s) alpha_s (D_g - D_u).
"""

import math
from dataclasses import replace

from .grid import read_sigmas
from .plan import Plan, Stage
from .signature import Sigmas
from .time_maps import FLOW_LOG_SIGMA


def cfg_pp(plan: Plan, sigmas: Sigmas) -> Plan:
    """The CFG++ form of a plan, for models that return (guided, unconditional).

    The calls inside a step follow the unconditional process, and the last call moves the end of the step. The plan is one of a
    method without churn, in the model's own time map, on this grid.

    Raises:
        ValueError: a share of eps, or FLOW_LOG_SIGMA, which does not know the model's alpha.
    """
    if plan.time.is_like(FLOW_LOG_SIGMA):
        raise ValueError("time must be VE or FLOW for CFG++, got FLOW_LOG_SIGMA, which has no alpha; use FLOW.")
    if any(stage.states for stage in plan.stages):
        raise ValueError(f"eps_share must be 0 for CFG++, whose guidance moves the state from step to step: {plan.method}.")
    values = read_sigmas(sigmas)
    stages: list[Stage] = []
    start = math.nan  # of the step that a call belongs to
    for call, stage in enumerate(plan.stages):
        if not stages or stages[-1].closes_step:
            start = stage.sigma
        if not stage.closes_step:
            stages.append(stage)
            continue
        alpha, end = plan.time.alpha, values[stage.step + 1]
        guided = alpha(end) if end < start else -alpha(start) * end / start
        weights = dict(stage.weights)
        weights[call] = weights.get(call, 0.0) - guided
        # a choice takes differences of outputs, also of those without a weight
        kept = tuple((j, w) for j, w in weights.items() if w != 0.0 or stage.alternatives)
        stages.append(replace(stage, weights=kept, guided=guided))
    return replace(plan, method=f"{plan.method} with CFG++", stages=tuple(stages), cfg_pp=True)
