"""RES methods as data: single-step tableaus and multistep weights.

Notation of the RES paper (arXiv 2308.02157) and of Hochbruck & Ostermann: with step size h in
lambda, nodes c_i and phi_{k,i} = phi_k(-c_i h), phi_k = phi_k(-h),

    stage  x_i = e^{-c_i h} x + h sum_j a_ij(h) D_j        step  x' = e^{-h} x + h sum_i b_i(h) D_i.

Each a_ij and b_i is a sum of Terms, so a method is a table of numbers.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .phi import phi


class Term(NamedTuple):
    """A multiple of a phi function: coefficient * phi_k(-c h)."""

    coefficient: float
    k: int
    c: float


Terms = tuple[Term, ...]


def _evaluate(weight: Terms, h: float) -> float:
    return math.fsum(term.coefficient * phi(term.k, -term.c * h) for term in weight)


# Stages closer to the start of the step than this differ from it only by rounding.
MIN_NODE = 0.01
# The step sizes at which a new tableau's order conditions are checked.
_CHECK_STEPS = (0.01, 0.7, 4.0)


@dataclass(frozen=True)
class Tableau:
    """An explicit single-step exponential Runge-Kutta method, whose order conditions are checked when it is made.

    It may embed a method of order - 1 with the same stages; the difference of the two steps estimates the local error.

    Raises:
        ValueError: order is not 1 to 4, or the coefficients do not satisfy its conditions.
    """

    name: str
    order: int
    c: tuple[float, ...]  # nodes, c[0] == 0
    a: tuple[tuple[Terms, ...], ...]  # for every stage but the first, the weights of the stages before it
    b: tuple[Terms, ...]  # the weights of the step
    b_low: tuple[Terms, ...] = ()  # the weights of the embedded method; () for none

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3, 4):
            raise ValueError(f"{self.name}: order must be 1 to 4, got {self.order!r}; higher orders have no conditions here.")
        weights = [*self.b, *self.b_low, *(weight for row in self.a for weight in row)]
        # rounding in a sum is relative to its terms
        largest = max(10.0, *(abs(term.coefficient) for weight in weights for term in weight))
        for h in _CHECK_STEPS:
            for condition, residual in order_conditions(self, h).items():
                if abs(residual) > 1e-13 * largest:
                    raise ValueError(f"{self.name}: order condition {condition} is off by {residual:.2e} at h={h}.")

    @property
    def stages(self) -> int:
        """Model calls per step."""
        return len(self.c)

    def a_weights(self, i: int, h: float) -> list[float]:
        """a_i1 ... a_i,i-1 of stage i (0-based, i >= 1) at step size h."""
        return [_evaluate(weight, h) for weight in self.a[i - 1]]

    def b_weights(self, h: float) -> list[float]:
        """b_1 ... b_s at step size h."""
        return [_evaluate(weight, h) for weight in self.b]

    def b_low_weights(self, h: float) -> list[float]:
        """The embedded weights at step size h, one per stage."""
        low = [_evaluate(weight, h) for weight in self.b_low]
        return low + [0.0] * (self.stages - len(low))


def order_conditions(tableau: Tableau, h: float) -> dict[str, float]:
    """The residuals that must vanish for the tableau's order (RES paper; Hochbruck & Ostermann).

    psi_j = phi_j - sum_k b_k c_k^{j-1}/(j-1)!,   psi_{j,i} = phi_{j,i} c_i^j - sum_k a_ik c_k^{j-1}/(j-1)!

    psi_1, psi_2, psi_{1,i} and sum_i b_i psi_{2,i} vanish for every h. psi_3 is met in the weak sense, at h = 0, which suffices
    for order 3. Order 4 needs psi_3 for every h, and at h = 0 psi_4, sum_i b_i psi_{3,i}, sum_i b_i c_i psi_{2,i} and sum_ij
    b_i a_ij psi_{2,j} (SIAM J. Numer. Anal. 43, 2005, table 2, for a linear part that is a multiple of the identity). The
    embedded method has the conditions of its own order, marked "low".
    """

    def psi(j: int, h: float, weights: Callable[[float], list[float]] = tableau.b_weights) -> float:
        b = weights(h)
        return phi(j, -h) - math.fsum(w * c ** (j - 1) for w, c in zip(b, tableau.c)) / math.factorial(j - 1)

    def psi_stage(j: int, i: int, h: float = h) -> float:
        c = tableau.c[i]
        row = math.fsum(w * node ** (j - 1) for w, node in zip(tableau.a_weights(i, h), tableau.c)) / math.factorial(j - 1)
        return phi(j, -c * h) * c**j - row

    residuals = {"psi_1": psi(1, h)}
    for i in range(1, tableau.stages):
        residuals[f"psi_1,{i + 1}"] = psi_stage(1, i)
    if tableau.order >= 2:
        residuals["psi_2"] = psi(2, h)
    if tableau.order >= 3:
        b = tableau.b_weights(h)
        residuals["psi_3(0)"] = psi(3, 0.0)
        residuals["sum b psi_2"] = math.fsum(b[i] * psi_stage(2, i) for i in range(1, tableau.stages))
    if tableau.order >= 4:
        stages, b = range(1, tableau.stages), tableau.b_weights(0.0)
        rows = {i: tableau.a_weights(i, 0.0) for i in stages}
        residuals["psi_3"], residuals["psi_4(0)"] = psi(3, h), psi(4, 0.0)
        residuals["sum b psi_3(0)"] = math.fsum(b[i] * psi_stage(3, i, 0.0) for i in stages)
        residuals["sum b c psi_2(0)"] = math.fsum(b[i] * tableau.c[i] * psi_stage(2, i, 0.0) for i in stages)
        residuals["sum b a psi_2(0)"] = math.fsum(b[i] * rows[i][j] * psi_stage(2, j, 0.0) for i in stages for j in range(1, i))
    if tableau.b_low:
        for j in range(1, tableau.order):
            residuals[f"psi_{j} low"] = psi(j, h, tableau.b_low_weights)
    return residuals


RES_1 = Tableau("RES-1", order=1, c=(0.0,), a=(), b=((Term(1.0, 1, 1.0),),))


def res_2s(c2: float = 0.5) -> Tableau:
    """RES-2S, second order in two calls (arXiv 2308.02157); a ValueError if c2 is not between MIN_NODE and 1."""
    _check_node("c2", c2)
    return Tableau(
        f"RES-2S({c2:g})",
        order=2,
        c=(0.0, c2),
        a=(((Term(c2, 1, c2),),),),
        b=((Term(1.0, 1, 1.0), Term(-1.0 / c2, 2, 1.0)), (Term(1.0 / c2, 2, 1.0),)),
    )


def res_3s(c2: float = 1.0 / 3.0, c3: float = 2.0 / 3.0) -> Tableau:
    """RES-3S, third order in three calls (arXiv 2308.02157), with c3 squared in gamma.

    RES-2S(c2) is embedded in its first two calls. RES-2S meets psi_2 for every h and misses psi_3(0) by (2 - 3 c2) / 12, so its
    order is never more than 2, and the error estimate cannot vanish by chance.

    Raises:
        ValueError: c2 or c3 is not between MIN_NODE and 1, c2 = c3, or c2 = 2/3 (where gamma is infinite).
    """
    _check_node("c2", c2)
    _check_node("c3", c3)
    if abs(c2 - c3) < 1e-3:
        raise ValueError(f"c3 must differ from c2 by 0.001 or more, got c2={c2:g} and c3={c3:g}; try c2=1/3, c3=2/3.")
    if abs(2.0 - 3.0 * c2) < 3e-3:
        raise ValueError(f"c2=2/3 has no third-order method with c3={c3:g}, got c2={c2:g}; try c2=1/3, c3=2/3.")
    gamma = (3.0 * c3**2 - 2.0 * c3) / (c2 * (2.0 - 3.0 * c2))
    b3 = 1.0 / (gamma * c2 + c3)
    a32 = (Term(gamma * c2, 2, c2), Term(c3**2 / c2, 2, c3))
    return Tableau(
        f"RES-3S({c2:g},{c3:g})",
        order=3,
        c=(0.0, c2, c3),
        a=(
            ((Term(c2, 1, c2),),),
            ((Term(c3, 1, c3), *(Term(-t.coefficient, t.k, t.c) for t in a32)), a32),
        ),
        b=(
            (Term(1.0, 1, 1.0), Term(-(1.0 + gamma) * b3, 2, 1.0)),
            (Term(gamma * b3, 2, 1.0),),
            (Term(b3, 2, 1.0),),
        ),
        b_low=res_2s(c2).b,
    )


def _check_node(name: str, c: float) -> None:
    if not MIN_NODE <= c <= 1.0:
        raise ValueError(f"{name} must be between {MIN_NODE:g} and 1, got {c:g}; it is the position of a stage in the step.")


def multistep_weights(c: Sequence[float], h: float) -> list[float]:
    """Weights b_j of an exponential Adams step with the nodes c_j = (lambda_j - lambda_s) / h.

    They solve the moment conditions sum_j b_j c_j^k = k! phi_{k+1}(-h), k = 0 ... q-1, so that h sum_j b_j D_j is exact for
    every polynomial D of degree q-1 in lambda. The current point is c_1 = 0, and older points are negative.
    """
    moments = [math.factorial(k) * phi(k + 1, -h) for k in range(len(c))]
    b = np.linalg.solve(np.vander(c, increasing=True).T, moments).tolist()
    b[0] += math.fsum([moments[0], *(-weight for weight in b)])  # rounding between close nodes may not move a constant
    return b
