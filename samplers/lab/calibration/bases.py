"""The analytic plans that a calibration may start from: good ones of several kinds, as no kind is the best on every model.

They have one call per step and no noise. Of samplers that choose in the run, such as `exp_res`, it is one fixed rule, because a
fit has weights of its own and leaves nothing to choose.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from ...gddim_rule import gddim_plan
from ...interpolation import IN_RHO, InAlpha, InLambda, lagrange
from ...multistep import END_APART, multistep_plan, rule_plan
from ...plan import Plan
from ...res import EXP_RES
from ...rule import Rule
from ...signature import Sigmas
from ...time_maps import TimeMap

_AS_SIGMA = 1e4  # scale below which InAlpha of power 1 is linear in sigma / alpha


@dataclass(frozen=True)
class AtMidpoint(InLambda):
    """The outputs' polynomial in lambda, taken at the middle of the step: DPM-Solver++(2M), arXiv 2211.01095, algorithm 2."""

    name: ClassVar[str] = "lambda at the midpoint"

    def weights(self, nodes: Sequence[float], s_from: float, s_to: float, eta: float = 0.0) -> list[float]:
        """b_j for values of D at s = nodes, for the step from s_from to s_to, all of them finite and above 0."""
        points = [self.variable(s) for s in nodes]
        middle = 0.5 * (self.variable(s_from) + self.variable(s_to))
        size = -math.expm1((1.0 + eta) * math.log(s_to / s_from))
        return [size * float(lagrange(points, j, middle)) for j in range(len(points))]


_PLANNERS: dict[str, Callable[..., Plan]] = {
    "exp_res": partial(rule_plan, rule=EXP_RES[0]),
    "exp_res_2mc": partial(multistep_plan, order=2, corrector=True),
    "exp_res_1m": partial(multistep_plan, order=1),
    "exp_gddim": gddim_plan,
    "dpmpp_2m": partial(rule_plan, rule=Rule("DPM-Solver++ 2M", 2, AtMidpoint())),
    # eps by a polynomial in rho: DEIS, and with equal steps ipndm
    "deis_3": partial(rule_plan, rule=Rule("DEIS 3", 3, IN_RHO, 1.0, IN_RHO.apart, last=Rule("", 2, IN_RHO, 1.0, END_APART))),
    # D by a polynomial in sigma / alpha: what er_sde is without noise
    "er_ode_3": partial(rule_plan, rule=Rule("ER-ODE 3", 3, InAlpha(_AS_SIGMA, 1.0))),
}
BASES = tuple(_PLANNERS)


def bases(sigmas: Sigmas, time: TimeMap) -> dict[str, Plan]:
    """The analytic plans on a grid, by name.

    Raises:
        ValueError: the grid is not one to sample on.
    """
    return {name: planner(sigmas, time=time) for name, planner in _PLANNERS.items()}
