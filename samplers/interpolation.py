"""The variable in which a multistep method interpolates the denoised output, and the weights that follow.

With s = sigma / alpha and y = x / alpha the solution of the ODE over a step is

    y_t = (s_t / s_s) y_s + int e^{-(lambda_t - lambda)} D dlambda,    lambda = -log s.

Replacing D by the polynomial through its last values, in a variable v(s), gives y_t = (s_t / s_s) y_s + sum_j b_j D_j
with b_j = int e^{-(lambda_t - lambda)} l_j(v) dlambda and sum_j b_j = 1 - s_t / s_s. For the SDE of strength eta the
exponent and the integral carry a factor 1 + eta, and the sum is 1 - (s_t / s_s)^(1 + eta). The linear part is exact in every
variable; they differ in how well a polynomial fits D.

The ODE is also y_t = y_s + int eps ds with eps = (y - D) / s, as in DDIM (arXiv 2010.02502) and DEIS (arXiv 2204.13902). Both
forms are exact, their errors after interpolation differ, and a weighted mean of the two has a smaller error: see
`Rule.eps_share`. Replacing eps by the polynomial through its last values gives y_t = y_s + sum_j C_j eps_j with C_j = int l_j
ds and sum_j C_j = s_t - s_s.

An interpolation gives the weights, and a `Rule` (`rule.py`) selects the outputs of a step.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import numpy as np

from .quadrature import gauss_legendre
from .tableaus import multistep_weights

_Node = TypeVar("_Node")
_Function = Callable[[Any], np.ndarray]
# 48 nodes integrate the smooth integrands below to 1e-12 for power 2, and to 1e-8 for other powers from s = inf.
_NODES = 48
_PIECE_NODES = 16  # in log rho in pieces no longer than 1


class Interpolation:
    """A variable, and the weights of values at nodes in it. All s are sigma / alpha."""

    min_gap: ClassVar[float] = 0.2  # the least distance of nodes for this variable, see `Rule.min_gap`
    # The largest order for rising steps. These grow in alpha and in rho, by a constant factor if the grid is uniform in lambda.
    # Polynomials of higher degree then extrapolate over several times their own length, and measured inversions diverged.
    rising_order: ClassVar[int] = 2
    ve_near_noise: ClassVar[bool] = False  # steps near pure noise are taken in VE, because the variable is infinite there

    @property
    def name(self) -> str:
        """For plans, with all its numbers."""
        raise NotImplementedError

    @property
    def last(self) -> "Interpolation | None":
        """The interpolation of a step to s = 0; None where that step takes the last output."""
        return None

    def variable(self, s: float) -> float:
        """v at s; infinite at s = inf or s = 0 if v is not defined there."""
        raise NotImplementedError

    def share(self, s: float) -> float:
        """The largest sensible weight of the form in eps in a step from s, 0 to 1: far from the image eps is all noise."""
        return 1.0 / (1.0 + s)

    def weights(self, nodes: Sequence[float], s_from: float, s_to: float, eta: float = 0.0) -> list[float]:
        """b_j for values of D at s = nodes, newest first, for a step from s_from (inf allowed) to s_to (0 allowed)."""
        raise NotImplementedError(f"interpolation in {self.name} takes values of eps, which a method with noise has not.")

    def eps_weights(self, nodes: Sequence[float], s_from: float, s_to: float) -> list[float]:
        """C_j = int l_j ds for values of eps at s = nodes, all finite; their sum is s_to - s_from."""
        raise NotImplementedError

    def correcting(self, s_from: float, s_to: float) -> "Interpolation":
        """The interpolation with which a step from s_from to s_to is redone."""
        return self


@dataclass(frozen=True)
class InLambda(Interpolation):
    """v = lambda: RES-2M, -3M (arXiv 2308.02157), for values of D. Infinite at both ends of a schedule."""

    min_gap: ClassVar[float] = 1e-3  # keeps only rounding out: weights of 1000
    rising_order: ClassVar[int] = 4
    ve_near_noise: ClassVar[bool] = True
    name: ClassVar[str] = "lambda"

    def share(self, s: float) -> float:
        return 0.0

    def variable(self, s: float) -> float:
        return math.inf if s == 0.0 else -math.log(s)

    def weights(self, nodes: Sequence[float], s_from: float, s_to: float, eta: float = 0.0) -> list[float]:
        lam, h = self.variable(s_from), math.log(s_from / s_to)
        weighted_h = (1.0 + eta) * h
        return [weighted_h * b for b in multistep_weights([(self.variable(s) - lam) / h for s in nodes], weighted_h)]


@dataclass(frozen=True)
class InAlpha(Interpolation):
    """v = (1 + (s / scale)^power)^(-1 / power), the alpha of a process with alpha^power + sigma^power = 1.

    Power 2 is the variance-preserving process, power 1 rectified flow. Finite at both ends, 0 at s = inf and 1 at s = 0. For
    Gaussian data of standard deviation `scale` and power 2 D is linear in v along a trajectory, so two nodes make a step of any
    size exact. For other data a larger scale and a power in between have less error; near the image D is then a polynomial in
    s^power.

    eps is interpolated in the sigma of the same process, (s / scale) v, in which the eps of Gaussian data is linear. Steps of a
    schedule differ more in alpha than in lambda. Without `min_gap`, absolute weights would add up to 1500 where large steps
    follow small ones.
    """

    scale: float = 1.0  # sigma / alpha at which v turns
    power: float = 2.0  # of the process

    @property
    def name(self) -> str:
        return f"alpha (scale {self.scale:g}, power {self.power:g})"

    @property
    def last(self) -> "InAlpha":
        return replace(self, power=2.0)  # D is even in sigma near 0

    def variable(self, s: float) -> float:
        return (1.0 + (s / self.scale) ** self.power) ** (-1.0 / self.power)

    def weights(self, nodes: Sequence[float], s_from: float, s_to: float, eta: float = 0.0) -> list[float]:
        points = np.array([self.variable(s) for s in nodes])
        if s_to == math.inf:
            return [0.0] * len(points)  # nothing of the data is in x yet
        if s_to == 0.0:  # the integral's weight is all at the end
            return [lagrange(points, j, 1.0).item() for j in range(len(points))]
        # with s = scale / sinh(u), in which every power is smooth: e^{lambda - lambda_t} = s_t / s is sinh(u) over its end
        u, measure = between(math.asinh(self.scale / s_from), math.asinh(self.scale / s_to))
        decay = np.sinh(u) * (s_to / self.scale)
        density = measure * np.cosh(u) * decay**eta
        density *= (1.0 - (s_to / s_from) ** (1.0 + eta)) / density.sum()  # its integral; exact for constants at every size
        v = (1.0 + np.sinh(u) ** -self.power) ** (-1.0 / self.power)
        return [float(density @ lagrange(points, j, v)) for j in range(len(points))]

    def eps_weights(self, nodes: Sequence[float], s_from: float, s_to: float) -> list[float]:
        points = np.array([s / self.scale * self.variable(s) for s in nodes])
        # with s = scale * sinh(w), which resolves where it turns
        w_from, w_to = (math.asinh(s / self.scale) for s in (s_from, s_to))
        w, measure = between(w_from, w_to)
        density = measure * (w_to - w_from) * self.scale * np.cosh(w)
        u = np.sinh(w) * (1.0 + np.sinh(w) ** self.power) ** (-1.0 / self.power)
        return [float(density @ lagrange(points, j, u)) for j in range(len(points))]


@dataclass(frozen=True)
class InRho(Interpolation):
    """v = s, which the gDDIM paper calls rho: DEIS (arXiv 2204.13902). Only for values of eps; finite at s = 0."""

    name: ClassVar[str] = "rho"

    def variable(self, s: float) -> float:
        return s

    def share(self, s: float) -> float:
        return 1.0 if math.isfinite(s) else 0.0  # x / alpha is infinite at s = inf

    def eps_weights(self, nodes: Sequence[float], s_from: float, s_to: float) -> list[float]:
        return _integrals(nodes, s_from, s_to, np.asarray, np.ones_like, 1)


@dataclass(frozen=True)
class InLogRho(InRho):
    """v = log s, half the logSNR with the other sign. Only for values of eps, and for falling steps to s above 0."""

    # with few steps that grow in log rho, as in EDM's grid, the result would overshoot
    min_gap: ClassVar[float] = 0.9
    name: ClassVar[str] = "log rho"

    def variable(self, s: float) -> float:
        return -math.inf if s == 0.0 else math.log(s)

    def eps_weights(self, nodes: Sequence[float], s_from: float, s_to: float) -> list[float]:
        return _integrals(nodes, s_from, s_to, np.log, np.exp, 1 + int(abs(math.log(s_to / s_from))))


def between(start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of a quadrature from start to end, and their weights, whose sum is 1."""
    at, measure = gauss_legendre(_NODES)
    return start + (end - start) * at, measure


def _integrals(
    nodes: Sequence[float], s_from: float, s_to: float, variable: _Function, slope: _Function, pieces: int
) -> list[float]:
    """int l_j(v) ds from s_from to s_to; slope: ds/dv at v."""
    edges = np.linspace(variable(s_from), variable(s_to), 1 + pieces)
    length = np.diff(edges)[:, None]
    unit, measure = gauss_legendre(_PIECE_NODES)
    at = (edges[:-1, None] + length * unit).ravel()
    measure = (length * measure).ravel() * slope(at)
    points = variable(np.array(nodes))
    return [float(measure @ lagrange(points, j, at)) for j in range(len(points))]


IN_LAMBDA = InLambda()
IN_RHO, IN_LOG_RHO = InRho(), InLogRho()


def lagrange(points: Sequence[float] | np.ndarray, j: int, at: float | np.ndarray) -> np.ndarray:
    """l_j, the polynomial that is 1 at points[j] and 0 at the other points, all of them different; shaped like `at`."""
    others = np.delete(points, j)
    return np.prod((np.asarray(at)[..., None] - others) / (points[j] - others), axis=-1)


def select_nodes(candidates: Sequence[_Node], place: Callable[[_Node], float], distance: float, count: int) -> list[_Node]:
    """The first `count` candidates whose places are finite and more than a distance from each other, see `Rule.min_gap`."""
    nodes: list[_Node] = []
    taken: list[float] = []
    for node in candidates:
        at = place(node)
        if math.isfinite(at) and all(abs(at - other) > distance for other in taken):
            nodes.append(node)
            taken.append(at)
        if len(nodes) == count:
            break
    return nodes
