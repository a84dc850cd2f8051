"""How the steps of a grid are spread over logSNR.

With u from 0 (noise) to 1 (image) and lambda, half the logSNR, from lambda_0 to lambda_1:

uniform       lambda = lambda_0 + u (lambda_1 - lambda_0)
power         with u^power in the place of u; below 1 the fine steps are near the image
edm_rho       e^(-lambda / rho) uniform in u: the EDM grid (arXiv 2206.00364, eq. 5) in s = sigma / alpha
arctan        (1 - weight) of uniform and weight of a grid with arctan(s / turn) uniform in u, which may start at s = inf. Weight
              1 and turn 1 are Align Your Steps' optimum for Gaussian data (arXiv 2404.14507), the host's kl_optimal on eps models
cosine        (1 - cos(pi u)) / 2 in the place of u: fine steps at both ends
dense_middle  u + density sin(2 pi u) / (2 pi) in the place of u: steps 1 - density as long in the middle
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Parameter(NamedTuple):
    """Of a spacing: its default and its range."""

    default: float
    low: float
    high: float


class Spacing(NamedTuple):
    """A shape of grid.

    Attributes:
        lam: function (u, ends, **parameters) -> lambda at u in (0, 1].
        parameters: by name.
    """

    lam: Callable[..., np.ndarray]
    parameters: dict[str, Parameter]


class Ends(NamedTuple):
    """Of a grid, in lambda.

    Attributes:
        start: its first sigma; -inf for one without signal.
        first: where its finite part begins: `start`, if that is finite.
        last: its last sigma above 0.
    """

    start: float
    first: float
    last: float


def _uniform(u: np.ndarray, ends: Ends) -> np.ndarray:
    return ends.first + u * (ends.last - ends.first)


def _power(u: np.ndarray, ends: Ends, power: float) -> np.ndarray:
    return _uniform(u**power, ends)


def _edm_rho(u: np.ndarray, ends: Ends, rho: float) -> np.ndarray:
    return -rho * np.log((1.0 - u) * math.exp(-ends.first / rho) + u * math.exp(-ends.last / rho))


def _arctan(u: np.ndarray, ends: Ends, weight: float, turn: float) -> np.ndarray:
    from_angle, to_angle = (
        math.pi / 2 if lam == -math.inf else math.atan(math.exp(-lam) / turn) for lam in (ends.start, ends.last)
    )
    return (1.0 - weight) * _uniform(u, ends) - weight * np.log(turn * np.tan((1.0 - u) * from_angle + u * to_angle))


def _cosine(u: np.ndarray, ends: Ends) -> np.ndarray:
    return _uniform((1.0 - np.cos(np.pi * u)) / 2.0, ends)


def _dense_middle(u: np.ndarray, ends: Ends, density: float) -> np.ndarray:
    return _uniform(u + density * np.sin(2.0 * np.pi * u) / (2.0 * np.pi), ends)


# The defaults of arctan were chosen by exp_res on the development cases: weights of 0.3 to 0.5 and turns of 1 to 2 measure
# alike, weight 1 far worse. docs/worlds.md has the defaults on other data.
SPACINGS = {
    "arctan": Spacing(_arctan, {"weight": Parameter(0.3, 0.0, 1.0), "turn": Parameter(2.0, 0.1, 10.0)}),
    "uniform": Spacing(_uniform, {}),
    "power": Spacing(_power, {"power": Parameter(0.9, 0.25, 4.0)}),
    "edm_rho": Spacing(_edm_rho, {"rho": Parameter(7.0, 1.0, 100.0)}),
    "cosine": Spacing(_cosine, {}),
    "dense_middle": Spacing(_dense_middle, {"density": Parameter(0.5, 0.0, 0.95)}),
}


def spaced(name: str, u: np.ndarray, ends: Ends, parameters: dict[str, float]) -> np.ndarray:
    """lambda at u by a spacing of SPACINGS.

    Raises:
        ValueError: an unknown spacing, or a parameter it does not have or out of its range.
    """
    if name not in SPACINGS:
        raise ValueError(f"spacing must be one of {', '.join(map(repr, SPACINGS))}, got {name!r}.")
    spacing = SPACINGS[name]
    values = {key: parameter.default for key, parameter in spacing.parameters.items()}
    for key, value in parameters.items():
        if key not in values:
            raise ValueError(f"spacing {name!r} has no {key}; it has {', '.join(values) or 'no parameters'}.")
        _, low, high = spacing.parameters[key]
        if not low <= value <= high:
            raise ValueError(f"{key} of spacing {name!r} must be between {low:g} and {high:g}, got {value:g}.")
        values[key] = value
    return spacing.lam(u, ends, **values)
