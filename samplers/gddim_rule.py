"""gDDIM where noise is the same in every direction: eps, v, EDM and flow models.

With y = x / alpha and rho = sigma / alpha the ODE is dy = eps drho, eps = (y - D) / rho. Degree q replaces eps
by the polynomial in log rho through the last q + 1 values of eps, and every step is exact otherwise:

    y_t = y_s + sum_j C_j eps_j,    C_j = int_s^t l_j drho        (arXiv 2206.05564, eq. 19, for K = R = sigma)

Degree 0 is DDIM, which is exact for data in one point. The paper's polynomials are in t; in rho they are DEIS (arXiv
2204.13902). In log rho, half the logSNR, the error on digits is about half of the error in rho at degrees 1 and 2, and larger at
degree 3. Steps to sigma = 0, where log rho is infinite, and rising steps use polynomials in rho.
"""

import math

from .interpolation import IN_LOG_RHO, IN_RHO
from .multistep import END_MIN_GAP, END_ORDER, rule_plan
from .plan import MAX_STRENGTH, Plan
from .rule import CORRECTORS, Rule
from .signature import Sigmas
from .time_maps import VE, TimeMap

MAX_DEGREE = 3
MAX_NOISE_LEVEL = math.sqrt(MAX_STRENGTH)  # eta is the square of lambda
# The paper's main method. Correctors improve degree 2 in log rho little, and overshoot below 8 steps and at high CFG.
DEGREE, CORRECTOR = 2, "none"
_MIN_NOISE_LEVEL = 1e-4  # below it eta is too small to matter


def gddim_eta(noise_level: float) -> float:
    """The eta of `exp_gddim_sde` for the paper's lambda, which is its square root; a ValueError if lambda is out of range."""
    if not 0.0 <= noise_level <= MAX_NOISE_LEVEL:
        raise ValueError(f"lambda must be between 0 and {MAX_NOISE_LEVEL:g}, got {noise_level!r}.")
    if 0.0 < noise_level < _MIN_NOISE_LEVEL:
        raise ValueError(f"lambda must be 0, or {_MIN_NOISE_LEVEL:g} or more, got {noise_level!r}. Set it to 0 for DDIM.")
    return noise_level**2


def check_degree_and_corrector(degree: int, corrector: str) -> None:
    """Raise a ValueError that names the one that is unknown."""
    if degree not in range(MAX_DEGREE + 1):
        raise ValueError(f"degree must be 0, 1, 2 or 3, got {degree!r}.")
    if corrector not in CORRECTORS:
        raise ValueError(f"corrector must be one of {', '.join(map(repr, CORRECTORS))}, got {corrector!r}.")


def gddim_rule(degree: int = DEGREE, corrector: str = CORRECTOR) -> Rule:
    """Deterministic gDDIM as a rule, which combines degree + 1 values of eps; see `gddim_plan`."""
    check_degree_and_corrector(degree, corrector)
    name = f"gDDIM of degree {degree}" + ("" if corrector == "none" else f", {corrector}")
    last = Rule(name, min(degree + 1, END_ORDER), IN_RHO, 1.0, END_MIN_GAP)
    rising = Rule(name, min(degree + 1, IN_RHO.rising_order), IN_RHO, 1.0, IN_RHO.min_gap, corrector)
    return Rule(name, degree + 1, IN_LOG_RHO, 1.0, IN_LOG_RHO.min_gap, corrector, last, rising)


def gddim_plan(sigmas: Sigmas, degree: int = 2, time: TimeMap = VE, corrector: str = "none") -> Plan:
    """The plan of deterministic gDDIM.

    These steps are of lower degree: the first ones, which have less history; the step from a flow model's sigma 1, where rho is
    infinite; steps that are much longer than the steps before them; and rising steps and the step to sigma 0, which have at most
    degree 1. A ValueError says that the degree is not 0 to 3, that the corrector is unknown (see `Rule`; the paper uses "PECE"),
    or that the grid cannot be sampled on, see `grid_steps`.
    """
    return rule_plan(sigmas, gddim_rule(degree, corrector), time)
