"""Time maps: how a model's sigma relates to alpha and lambda, in float64.

Every model the host knows noises data as x = alpha(sigma) x0 + sigma n. Exponential integrators work in
lambda = log(alpha / sigma), half the log-SNR. Two maps cover the models:

VE    alpha = 1,         lambda = -log sigma               eps, v and EDM models
FLOW  alpha = 1 - sigma, lambda = log((1 - sigma) / sigma) rectified flow; -inf at sigma = 1

The flow ODE is dx/dsigma = (x - D) / sigma, the same as the VE one, so VE's formulas are legal for the
*deterministic* sampling of flow models too, and finite at sigma = 1: FLOW_LOG_SIGMA. The two integrate the linear
part exactly and differ in the variable in which the denoised output is interpolated.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

# The host's float32 shift formula gives flow models a sigma_max of 1 up to a few roundings, to either side.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class TimeMap:
    """sigma -> alpha and lambda, and back. All floats; lambda is -inf where sigma carries no signal.

    Attributes:
        name: how plans and errors call it.
        sigma_limit: the largest sigma the map is defined for.
        alpha, lam: functions of sigma > 0.
        sigma: function of a finite lambda.
    """

    name: str
    sigma_limit: float
    alpha: Callable[[float], float]
    lam: Callable[[float], float]
    sigma: Callable[[float], float]

    @property
    def process(self) -> str:
        """The name without the variable, in brackets, that an ODE is integrated in."""
        return self.name.partition(" (")[0]

    def allows(self, sigma: float) -> bool:
        """Whether sigma is below the limit; a few roundings above count as the limit."""
        return sigma <= self.sigma_limit * (1.0 + _ROUNDING)

    def is_pure_noise(self, sigma: float) -> bool:
        """Whether sigma is the limit, up to a few roundings."""
        return sigma > self.sigma_limit * (1.0 - _ROUNDING)

    def s(self, sigma: float) -> float:
        """sigma / alpha = e^-lambda; inf where there is no signal."""
        if sigma == 0.0:
            return 0.0
        return math.inf if self.lam(sigma) == -math.inf else sigma / self.alpha(sigma)


def _flow_alpha(sigma: float) -> float:
    return 0.0 if sigma > 1.0 - _ROUNDING else 1.0 - sigma


def _flow_lam(sigma: float) -> float:
    return -math.inf if sigma > 1.0 - _ROUNDING else math.log1p(-sigma) - math.log(sigma)


def _flow_sigma(lam: float) -> float:
    # 1 / (1 + e^lam), written so that neither sign of lambda overflows
    return math.exp(-lam) / (1.0 + math.exp(-lam)) if lam > 0 else 1.0 / (1.0 + math.exp(lam))


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
    alpha=_flow_alpha,
    lam=_flow_lam,
    sigma=_flow_sigma,
)
FLOW_LOG_SIGMA = replace(VE, name="flow (log sigma)", sigma_limit=1.0)
