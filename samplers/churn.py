"""Churn: noise added before a step, from which the step then starts (EDM, arXiv 2206.00364, algorithm 2; used by RES).

In VE variables y = x / alpha, s = sigma / alpha a churned step starts from s_hat = (1 + gamma) s instead of s, with

    y_hat = y + s_noise sqrt(s_hat^2 - s^2) n,        gamma = min(s_churn / steps, sqrt(2) - 1),

and a deterministic solver continues from there. Back in x this multiplies by alpha_hat / alpha, which on flow models is not 1:
a flow latent at a higher sigma holds less signal. A latent with the correct distribution at s has the correct distribution at
s_hat, so churn is correct on every model and at every strength. A single-step solver keeps its order in distribution. A
multistep solver keeps order 2, because its history is placed as `rule.Node.s` says.
"""

import math
from dataclasses import dataclass, replace

from .grid import MIN_STEP, GridStep
from .plan import MAX_STRENGTH, Renoising
from .time_maps import FLOW, FLOW_LOG_SIGMA, TimeMap

_MAX_GAMMA = math.sqrt(2.0) - 1.0  # EDM's bound: the added noise stays below the noise in the latent


@dataclass(frozen=True)
class Churn:
    """How much noise is added before a step, and where. Every s is sigma / alpha: sigma, or sigma / (1 - sigma) for flow."""

    s_churn: float = 0.0  # total strength, spread over the steps of the grid; 0 is the deterministic sampler
    s_tmin: float = 0.0  # a step is churned if its s lies between these limits, both included
    s_tmax: float = math.inf
    s_noise: float = 1.0  # factor of the added noise; 1 is correct
    sigma_max: float = math.inf  # the model's largest sigma; no step starts above it

    def __post_init__(self) -> None:
        for name in ("s_churn", "s_tmin"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name} must be a finite number, 0 or more, got {value!r}.")
        if not 0.0 <= self.s_noise <= MAX_STRENGTH:
            raise ValueError(f"s_noise must be between 0 and {MAX_STRENGTH:g}, got {self.s_noise!r}.")
        if not self.s_tmax >= self.s_tmin:
            raise ValueError(f"s_tmax must be s_tmin = {self.s_tmin:g} or more, got {self.s_tmax!r}; no step would be churned.")
        if not self.sigma_max > 0.0:
            raise ValueError(f"sigma_max must be above 0, got {self.sigma_max!r}; it is the model's largest sigma.")


NO_CHURN = Churn()


def churned(steps: list[GridStep], churn: Churn, time: TimeMap) -> tuple[Renoising | None, list[GridStep]]:
    """The renoising before the first step, None for none; and the steps under churn.

    Each of these starts from sigma_hat and is followed by the renoising to the start of the next step. s_churn is divided by
    the number of steps, which are those of the grid, without repetitions.
    """
    if not steps or churn.s_churn == 0.0:
        return None, steps
    # renoising follows the process, in whatever variable the solver integrates
    process = FLOW.scaled(time.noise_scale) if time.is_like(FLOW_LOG_SIGMA) else time
    gamma = min(churn.s_churn / len(steps), _MAX_GAMMA)
    starts = [_start(step.sigma, gamma, churn, process) for step in steps]
    renoisings = [_renoising(step.sigma, start, churn, process) for step, start in zip(steps, starts)]
    following = [*renoisings[1:], None]
    return renoisings[0], [replace(s, sigma=start, after=after) for s, start, after in zip(steps, starts, following)]


def _start(sigma: float, gamma: float, churn: Churn, process: TimeMap) -> float:
    """sigma_hat; sigma itself outside the limits and at pure noise."""
    s = process.s(sigma)
    if not churn.s_tmin <= s <= churn.s_tmax or math.isinf(s):
        return sigma
    s_hat = min(s * (1.0 + gamma), process.s(churn.sigma_max))
    if s_hat <= s * (1.0 + MIN_STEP):
        return sigma
    sigma_hat = process.sigma(-math.log(s_hat))
    return sigma_hat if math.isfinite(process.s(sigma_hat)) else sigma


def _renoising(sigma: float, sigma_hat: float, churn: Churn, process: TimeMap) -> Renoising | None:
    if sigma_hat == sigma:
        return None
    alpha_hat = process.alpha(sigma_hat)
    s, s_hat = process.s(sigma), process.s(sigma_hat)
    noise = churn.s_noise * alpha_hat * math.sqrt((s_hat - s) * (s_hat + s))
    # noise samplers expect a segment from the larger sigma to the smaller one, although the state goes the other way
    return Renoising(alpha_hat / process.alpha(sigma), noise, (sigma_hat, sigma))
