"""Weights by kriging: the denoised output between its known values is estimated from how outputs vary along a path.

A polynomial overshoots when it is extrapolated over a step that is longer than the steps before. Here the output D(s) along a
path, with s = sigma / alpha, is a random function with a known covariance, and a step integrates its best linear unbiased
estimate (kriging; Cressie, Statistics for Spatial Data, 1993; for integrals Bayesian quadrature: O'Hagan, J. Stat. Plan.
Inference 29, 1991). Its weights stay small if nodes are far apart, and reach full order if they are close.

The covariance follows from natural images, whose energy per octave of spatial frequency is about the same: a component of
standard deviation c is drawn while s falls through c, as

    phi_c(s) = (1 + (s / c)^p)^(-1/2),

which for p = 2 is what the exact denoiser of Gaussian data does along its ODE; networks under guidance turn more sharply. With
components of equal energy from c = 0.05 to 100,

    cov(D(s), D(t)) = mean over log c of phi_c(s) phi_c(t) + roughness [s = t] + a constant that is not known,

where the part that is new in the newest output is assumed to last through the step.

The constant makes a step exact for a constant output, so that every rule has at least order 1. Everything is finite at s = inf
and at s = 0, so the first step of a flow model and the last step need no special form.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np

from .interpolation import Interpolation, between

_SCALES = np.exp(np.linspace(math.log(0.05), math.log(100.0), 60))  # c of the components
_SHORT_STEP = 0.15  # in log s; people rarely use grids with shorter steps
_USUAL_STEP = 0.6  # in log s, at which a correction has the roughness of the rule
_MOST_ROUGH = 10.0  # the largest factor of the roughness of a correction
_JITTER = 1e-12  # relative to the variance, for nodes that nearly coincide
_KEPT = 8192  # number of weights, so that the plan of a known grid costs little
_EPS_TURN = 0.5  # where the quadrature of eps turns from uniform in log s to uniform in s


@dataclass(frozen=True)
class Kriging(Interpolation):
    """An interpolation without a polynomial.

    The roughness is the variance of the new part of each output, as a share of the variance along the path. A small value gives
    high order; with a large value older outputs count little, as in a first-order step.
    """

    min_gap: ClassVar[float] = 0.0  # nodes that are close share their weight by themselves
    roughness: float = 1e-3
    sharpness: float = 4.0  # p above
    trusted: bool = False  # whether the form in eps is used fully at every s

    @property
    def name(self) -> str:
        return f"kriging (roughness {self.roughness:g}, sharpness {self.sharpness:g})"

    @property
    def last(self) -> "Kriging":
        return Kriging(self.roughness, self.sharpness, trusted=True)

    def variable(self, s: float) -> float:
        return 1.0 / (1.0 + s)  # only distinguishes nodes

    def share(self, s: float) -> float:
        return float(math.isfinite(s)) if self.trusted else super().share(s)

    def weights(self, nodes: Sequence[float], s_from: float, s_to: float, eta: float = 0.0) -> list[float]:
        return list(_data_weights(self._roughness(s_from, s_to), self.sharpness, tuple(nodes), s_from, s_to, eta))

    def eps_weights(self, nodes: Sequence[float], s_from: float, s_to: float) -> list[float]:
        return list(_eps_weights(self._roughness(s_from, s_to), self.sharpness, tuple(nodes), s_from, s_to))

    def value_weights(self, nodes: Sequence[float], s: float) -> list[float]:
        """Weights of the estimate of D at s from its values at nodes; their sum is 1."""
        points, wanted = _at(_outputs, nodes, self.sharpness), _value(_outputs, s, self.sharpness)[0]
        return list(_estimate(points, wanted, 1.0, self.roughness))

    def correcting(self, s_from: float, s_to: float) -> "Kriging":
        """The rule with a roughness that grows with the square of the step's length.

        A correction estimates between known outputs. In short steps these are reliable up to a high order, while in long steps
        most of what changes is new, and the newest output should count most.
        """
        length = math.log(s_from / s_to) if math.isfinite(s_from) else _USUAL_STEP
        return replace(self, roughness=self.roughness * min((length / _USUAL_STEP) ** 2, _MOST_ROUGH))

    def _roughness(self, s_from: float, s_to: float) -> float:
        """The roughness of a step, which is smaller in short steps, so that these keep their order."""
        if s_to == 0.0 or math.isinf(s_from) or math.isinf(s_to):
            return self.roughness
        return self.roughness * min(1.0, abs(math.log(s_from / s_to)) / _SHORT_STEP) ** 4


_Components = Callable[[np.ndarray, float], np.ndarray]


def _outputs(s: np.ndarray, sharpness: float) -> np.ndarray:
    """phi_c(s) of every component, as rows whose products are covariances; (n, components)."""
    with np.errstate(over="ignore"):
        phi = (1.0 + (s[:, None] / _SCALES) ** sharpness) ** -0.5  # 0 at s = inf
    return phi / math.sqrt(len(_SCALES))


def _eps(s: np.ndarray, sharpness: float) -> np.ndarray:
    """eps of every component: (s / c) (1 + (s / c)^p)^(-1/p), from 0 at the image to 1 in the noise; (n, components)."""
    ratio = s[:, None] / _SCALES
    return ratio * (1.0 + ratio**sharpness) ** (-1.0 / sharpness) / math.sqrt(len(_SCALES))


@lru_cache(maxsize=_KEPT)
def _value(components: _Components, s: float, sharpness: float) -> np.ndarray:
    return components(np.array([s]), sharpness)


def _at(components: _Components, nodes: Sequence[float], sharpness: float) -> np.ndarray:
    """The components at nodes, (n, components)."""
    return np.concatenate([_value(components, s, sharpness) for s in nodes])


@lru_cache(maxsize=_KEPT)
def _data_weights(
    roughness: float, sharpness: float, nodes: tuple[float, ...], s_from: float, s_to: float, eta: float
) -> tuple[float, ...]:
    if s_to == math.inf:
        return (0.0,) * len(nodes)  # nothing of the data is in x yet
    wanted, total = _data_mean(sharpness, s_from, s_to, eta)
    return _estimate(_at(_outputs, nodes, sharpness), wanted, total, roughness)


@lru_cache(maxsize=_KEPT)
def _data_mean(sharpness: float, s_from: float, s_to: float, eta: float) -> tuple[np.ndarray, float]:
    """What a step in D takes of every component, (components,), for a total of 1; and the total."""
    if s_to == 0.0:  # the integral's weight is all at the end
        return _value(_outputs, 0.0, sharpness)[0], 1.0
    # y_t is a mean over p = 1 / s, with the weight p^eta; p = sinh(w) resolves both ends
    p_from, p_to = 1.0 / s_from, 1.0 / s_to
    w, measure = between(math.asinh(p_from), math.asinh(p_to))
    density = measure * np.cosh(w) * (np.sinh(w) / p_to) ** eta
    total = 1.0 if s_from == math.inf else -math.expm1((1.0 + eta) * math.log(s_to / s_from))
    return (density / density.sum()) @ _outputs(1.0 / np.sinh(w), sharpness), total


@lru_cache(maxsize=_KEPT)
def _eps_weights(roughness: float, sharpness: float, nodes: tuple[float, ...], s_from: float, s_to: float) -> tuple[float, ...]:
    return _estimate(_at(_eps, nodes, sharpness), _eps_mean(sharpness, s_from, s_to), s_to - s_from, roughness)


@lru_cache(maxsize=_KEPT)
def _eps_mean(sharpness: float, s_from: float, s_to: float) -> np.ndarray:
    """What a step in eps takes of every component, (components,), for a total of 1."""
    w, measure = between(math.asinh(s_from / _EPS_TURN), math.asinh(s_to / _EPS_TURN))
    density = measure * np.cosh(w)
    return (density / density.sum()) @ _eps(_EPS_TURN * np.sinh(w), sharpness)


def _estimate(points: np.ndarray, wanted: np.ndarray, total: float, roughness: float) -> tuple[float, ...]:
    """Weights of sum `total` at nodes, (n, components), for `total` times a linear functional `wanted`, (components,)."""
    steps, count = points[1:] - points[0], len(points) - 1
    if not count:
        return (total,)
    covariance = steps @ steps.T + roughness  # the differences share the new part of the newest value
    diagonal = covariance.reshape(-1)[:: count + 1]
    diagonal += roughness
    diagonal += _JITTER * diagonal.sum()
    older = total * np.linalg.solve(covariance, steps @ (wanted - points[0]))
    return (total - float(older.sum()), *map(float, older))
