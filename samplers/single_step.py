"""Plans of single-step methods: a tableau's stages in every step."""

import math

from .churn import NO_CHURN, Churn, churned
from .grid import GridStep, grid_steps
from .plan import NO_NOISE, Noise, NoisePath, Plan, Stage, consistent, renoised, step_count, step_time
from .signature import Sigmas
from .tableaus import Tableau
from .time_maps import VE, TimeMap
from .watch import each


def single_step_plan(
    sigmas: Sigmas, tableau: Tableau, time: TimeMap = VE, noise: Noise = NO_NOISE, churn: Churn = NO_CHURN
) -> Plan:
    """The plan of a single-step method: `tableau.stages` calls per step, one for a step to sigma = 0.

    With noise the plan is the exponential SDE form: h becomes (1 + eta) h in the weights, and the noise of a step's stages is
    one Brownian path. A step from lambda = -inf (flow at sigma = 1) stays deterministic: the state is all noise.

    Args:
        sigmas: falling grid, or rising for inversion; 1-D tensor or sequence of n + 1 sigmas.
        tableau: the method.
        time: the time map in which the denoised output is interpolated.
        noise, churn: what is added in the steps and between them; not both.

    Raises:
        ValueError: the grid cannot be sampled on, see `grid_steps`, or noise is used with nodes c that do not rise.
    """
    if noise.eta and list(tableau.c) != sorted(tableau.c):
        raise ValueError(f"c3 must be above c2 for a sampler with noise, got {tableau.c[1]:g} and {tableau.c[2]:g}.")
    stages: list[Stage] = []
    opening, steps = churned(grid_steps(sigmas, time, rising=not (noise.eta or churn.s_churn)), churn, time)
    for step in each(steps):
        stages += single_step_stages(step, tableau, time, len(stages), noise)
    return Plan(tableau.name, time, step_count(sigmas), tuple(stages), opening)


def single_step_stages(step: GridStep, tableau: Tableau, time: TimeMap, first_call: int, noise: Noise = NO_NOISE) -> list[Stage]:
    """The stages of one step, whose first model call has the number `first_call`."""
    if step.sigma_next == 0.0:
        # e^-h = 0 and h phi_1 = 1: the first-order answer, x = D (a stage would lie at lambda = inf)
        return [Stage(step.index, step.sigma, math.inf, 0.0, ((first_call, 1.0),), True)]
    if not math.isfinite(time.lam(step.sigma)):
        noise = NO_NOISE
    time = step_time(step.noisy_end, time, noise.eta)
    lam = time.lam(step.sigma)
    h = time.lam(step.sigma_next) - lam
    weighted_h = (1.0 + noise.eta) * h
    path = NoisePath(step.sigma, h, noise, time.noise_scale)

    def update(c: float, sigma_from: float, sigma_to: float, weights: list[float]) -> Stage:
        factor = time.alpha(sigma_to) * weighted_h
        scaled = tuple((first_call + j, factor * w) for j, w in enumerate(weights) if w != 0.0)
        scale = sigma_to / step.sigma * math.exp(-c * h * noise.eta)
        stage = Stage(step.index, sigma_from, h, scale, scaled, weights is b, *path.to(c, sigma_to))
        stage = consistent(stage, time.alpha(step.sigma), time.alpha(sigma_to))
        return renoised(stage, step.after) if stage.closes_step else stage

    b = tableau.b_weights(weighted_h)
    stages = []
    sigma = step.sigma
    for i in range(1, tableau.stages):
        c = tableau.c[i]
        sigma_next = time.sigma(lam + c * h) if c < 1.0 else step.sigma_next
        stages.append(update(c, sigma, sigma_next, tableau.a_weights(i, weighted_h)))
        sigma = sigma_next
    return [*stages, update(1.0, sigma, step.sigma_next, b)]
