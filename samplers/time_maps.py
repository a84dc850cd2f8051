"""Time maps: how a model's sigma relates to alpha and lambda, in float64.

Every model that the host knows adds noise to data as x = alpha(sigma) x0 + sigma n. Exponential integrators work in lambda =
log(alpha / sigma), half the log-SNR. Two maps cover the models:

VE    alpha = 1,         lambda = -log sigma               eps, v and EDM models
FLOW  alpha = 1 - sigma, lambda = log((1 - sigma) / sigma) rectified flow; -inf at sigma = 1

The flow ODE dx/dsigma = (x - D) / sigma is the same as the VE ODE, so VE's formulas are valid for the *deterministic* sampling
of flow models, and finite at sigma = 1: FLOW_LOG_SIGMA. FLOW and FLOW_LOG_SIGMA integrate the linear part exactly and differ in
the variable in which the denoised output is interpolated.

A model whose noise has standard deviation c instead of 1 (the host's noise_scale; HiDream-O1: 8) has x = alpha x0 + sigma c n,
so its logSNR is 2 log(alpha / (c sigma)): `TimeMap.scaled`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

# The host's float32 shift formula gives flow models a sigma_max of 1 plus or minus a few roundings.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class TimeMap:
    """Maps sigma to alpha and lambda and back, all floats; lambda is -inf where there is no signal."""

    name: str
    sigma_limit: float  # the largest sigma the map is defined for
    alpha: Callable[[float], float]  # of sigma > 0
    lam: Callable[[float], float]  # of sigma > 0
    sigma: Callable[[float], float]  # of a finite lambda
    noise_scale: float = 1.0  # standard deviation of the noise that sigma multiplies

    def scaled(self, noise_scale: float) -> "TimeMap":
        """The map of a model whose noise has this standard deviation; the same object for the same number."""
        return self if noise_scale == self.noise_scale else _scaled(self, noise_scale)

    def is_like(self, other: "TimeMap") -> bool:
        """Whether this is the other map, apart from the noise scales."""
        return self.name == other.name

    @property
    def process(self) -> str:
        """The name without the variable in brackets in which an ODE is integrated."""
        return self.name.partition(" (")[0]

    def allows(self, sigma: float) -> bool:
        """Whether sigma is below the limit; a few roundings above count as the limit."""
        return sigma <= self.sigma_limit * (1.0 + _ROUNDING)

    def is_pure_noise(self, sigma: float) -> bool:
        """Whether sigma is the limit, up to a few roundings."""
        return sigma > self.sigma_limit * (1.0 - _ROUNDING)

    def s(self, sigma: float) -> float:
        """noise_scale sigma / alpha = e^-lambda; inf where there is no signal."""
        if sigma == 0.0:
            return 0.0
        return math.inf if self.lam(sigma) == -math.inf else self.noise_scale * (sigma / self.alpha(sigma))


@lru_cache(maxsize=256)
def _scaled(time: TimeMap, noise_scale: float) -> TimeMap:
    more = math.log(noise_scale / time.noise_scale)
    return replace(
        time, lam=lambda sigma: time.lam(sigma) - more, sigma=lambda lam: time.sigma(lam + more), noise_scale=noise_scale
    )


VE = TimeMap(
    name="ve",
    sigma_limit=math.inf,
    alpha=lambda sigma: 1.0,
    lam=lambda sigma: -math.log(sigma),
    sigma=lambda lam: math.exp(-lam),
)
FLOW = TimeMap(
    name="flow",
    sigma_limit=1.0,
    alpha=lambda sigma: 0.0 if sigma > 1.0 - _ROUNDING else 1.0 - sigma,
    lam=lambda sigma: -math.inf if sigma > 1.0 - _ROUNDING else math.log1p(-sigma) - math.log(sigma),
    # 1 / (1 + e^lam), written so that neither sign of lambda overflows
    sigma=lambda lam: math.exp(-lam) / (1.0 + math.exp(-lam)) if lam > 0 else 1.0 / (1.0 + math.exp(lam)),
)
FLOW_LOG_SIGMA = replace(VE, name="flow (log sigma)", sigma_limit=1.0)
