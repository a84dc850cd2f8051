"""Spacings: how the steps of a grid are spread over logSNR.

With u from 0 (noise) to 1 (image) and lambda, half the logSNR, from lambda_0 to lambda_1:

logit         lambda = lambda_m + stretch log(u / (1 - u)), of which the part between the ends is taken. On flow models sigma /
              alpha is shift ((1 - u) / u)^stretch: the host's `simple` with stretch 1; larger ones reach further both ways
uniform       lambda = lambda_0 + u (lambda_1 - lambda_0)
power         with u^power instead of u; below 1 the fine steps are near the image
edm_rho       e^(-lambda / rho) uniform in u: the EDM grid (arXiv 2206.00364, eq. 5) in s = sigma / alpha
arctan        (1 - weight) of uniform and weight of a grid with arctan(s / turn) uniform in u, which may start at s = inf. Weight
              1 and turn 1 are Align Your Steps' optimum for Gaussian data (arXiv 2404.14507), the host's kl_optimal on eps models
beta          quantiles of the beta distribution of the model's timesteps, the host's `beta` (arXiv 2407.12173)
tangent       two arcs of arctan that meet at a level, in w = sigma / (alpha + sigma), which is sigma on flow models

In logit, beta and tangent u = i / steps, so that u = 1 is sigma 0. In the others u = 1 is the last sigma above 0.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .time_maps import FLOW


class Parameter(NamedTuple):
    """A parameter of a spacing: its default and its range. A default of 0 outside of the range leaves it to the kind of model."""

    default: float
    low: float
    high: float


class Spacing(NamedTuple):
    """A shape of grid: its function of u and the ends, and its parameters by name."""

    lam: Callable[..., np.ndarray]  # (u, ends, **parameters) -> lambda at u in (0, 1]
    parameters: dict[str, Parameter]
    to_zero: bool = False  # whether u = 1 is sigma 0; `ends.last` is then inf, unless the ends are given


class Ends(NamedTuple):
    """The ends of a grid, in lambda."""

    start: float  # the first sigma; -inf for a sigma without signal
    first: float  # where the finite part begins, which is `start` if that is finite
    last: float  # the last sigma above 0; inf if the spacing determines it
    # limits for such a spacing: the largest sigma that float32 distinguishes from pure noise, and an eps model's smallest sigma
    limits: tuple[float, float] = (-math.inf, math.inf)
    middle: float = 0.0  # the middle of logit, and its stretch if that is left to the kind of model
    stretch: float = 1.0
    timesteps: tuple[float, ...] = ()  # the model's timesteps, see `model_kinds.py`; only beta reads them


def _logit(u: np.ndarray, ends: Ends, stretch: float) -> np.ndarray:
    stretch = stretch or ends.stretch

    def place(lam: float) -> float:
        return float(FLOW.sigma((ends.middle - lam) / stretch)) if math.isfinite(lam) else float(lam > 0.0)

    first, last = place(ends.start), place(ends.last)
    lowest, highest = map(place, ends.limits)
    if len(u) and first + (last - first) * u[0] < lowest:
        first = lowest
    if len(u) and first + (last - first) * u[-1] > highest:
        last = first + (highest - first) / u[-1]
    places = first + (last - first) * u
    return ends.middle + stretch * (np.log(places) - np.log1p(-places))


def _power(u: np.ndarray, ends: Ends, power: float = 1.0) -> np.ndarray:
    return ends.first + u**power * (ends.last - ends.first)


def _edm_rho(u: np.ndarray, ends: Ends, rho: float) -> np.ndarray:
    return -rho * np.log((1.0 - u) * math.exp(-ends.first / rho) + u * math.exp(-ends.last / rho))


def _arctan(u: np.ndarray, ends: Ends, weight: float, turn: float) -> np.ndarray:
    from_angle, to_angle = (
        math.pi / 2 if lam == -math.inf else math.atan(math.exp(-lam) / turn) for lam in (ends.start, ends.last)
    )
    return (1.0 - weight) * _power(u, ends) - weight * np.log(turn * np.tan((1.0 - u) * from_angle + u * to_angle))


def _beta(u: np.ndarray, ends: Ends, alpha: float, beta: float) -> np.ndarray:
    from scipy.interpolate import PchipInterpolator  # noqa: PLC0415 (slow to import)
    from scipy.special import betaincinv  # noqa: PLC0415

    if not ends.timesteps:
        raise ValueError("spacing 'beta' needs the model's timesteps, which are not known here; choose another spacing.")
    levels = np.array(ends.timesteps)
    level = PchipInterpolator(timestep_places(len(levels)), levels)

    def share(lam: float) -> float:
        wanted = FLOW.sigma(lam)
        if levels[0] < wanted < levels[-1]:
            return float(level.solve(wanted, extrapolate=False)[0])
        return float(wanted >= levels[-1])

    if FLOW.sigma(ends.last) < levels[0] * (1.0 - 1e-6) and ends.last < math.inf:
        limit = 2.0 * float(_lam_of_level(levels[0]))
        raise ValueError(
            f"end_logsnr must be at most {limit:.4g} for the spacing 'beta', the model's last timestep; choose another."
        )
    first, last = share(ends.start), share(ends.last)
    return _lam_of_level(level(last + (first - last) * betaincinv(alpha, beta, 1.0 - u)))


def timestep_places(count: int) -> np.ndarray:
    """Fractions of a model's timesteps whose sigmas are kept: Chebyshev points, dense at both ends like beta's quantiles."""
    return (1.0 - np.cos(np.pi * np.arange(count) / (count - 1))) / 2.0


def _tangent(u: np.ndarray, ends: Ends, pivot: float, slope: float, middle: float) -> np.ndarray:
    steps = len(u) + 1  # u leaves out the first sigma
    count = steps + 2
    turn = min(max(2, int(count * pivot)), steps)  # points of the first arc
    steepness = slope * 40.0 / count

    def arc(x: np.ndarray, center: int, last: int) -> np.ndarray:
        angle = np.arctan(steepness * (center - x))
        from_angle, to_angle = np.arctan(steepness * (center - np.array([0.0, last])))
        return (angle - to_angle) / (from_angle - to_angle)

    x = u * steps
    upper = middle + (1.0 - middle) * arc(x, turn, turn - 1)
    lower = middle * arc(x - (turn - 1), 0, steps - (turn - 1))
    first, last = FLOW.sigma(ends.start), FLOW.sigma(ends.last)
    return _lam_of_level(last + (first - last) * np.where(x <= turn - 1, upper, lower))


def _lam_of_level(level: np.ndarray) -> np.ndarray:
    """lambda where sigma / (alpha + sigma) is `level`."""
    return np.log1p(-level) - np.log(level)


SPACINGS = {
    "logit": Spacing(_logit, {"stretch": Parameter(0.0, 0.75, 4.0)}, to_zero=True),
    "arctan": Spacing(_arctan, {"weight": Parameter(0.3, 0.0, 1.0), "turn": Parameter(2.0, 0.1, 10.0)}),
    "uniform": Spacing(_power, {}),
    "power": Spacing(_power, {"power": Parameter(0.9, 0.25, 4.0)}),
    "edm_rho": Spacing(_edm_rho, {"rho": Parameter(7.0, 1.0, 100.0)}),
    "beta": Spacing(_beta, {"alpha": Parameter(0.6, 0.3, 5.0), "beta": Parameter(0.6, 0.3, 5.0)}, to_zero=True),
    "tangent": Spacing(
        _tangent,
        {"pivot": Parameter(0.6, 0.1, 0.9), "slope": Parameter(0.2, 0.01, 2.0), "middle": Parameter(0.5, 0.05, 0.95)},
        to_zero=True,
    ),
}
# Those that are not moved by a model's shift: beta has it in the model's timesteps, and tangent is defined in sigma.
SHIFTED = frozenset({"beta", "tangent"})


def spaced(name: str, u: np.ndarray, ends: Ends, parameters: dict[str, float]) -> np.ndarray:
    """lambda at u by a spacing of SPACINGS; a ValueError for an unknown spacing or parameter, or one out of its range."""
    if name not in SPACINGS:
        raise ValueError(f"spacing must be one of {', '.join(map(repr, SPACINGS))}, got {name!r}.")
    spacing = SPACINGS[name]
    values = {key: parameter.default for key, parameter in spacing.parameters.items()}
    for key, value in parameters.items():
        if key not in values:
            raise ValueError(f"spacing {name!r} has no {key}; it has {', '.join(values) or 'no parameters'}.")
        default, low, high = spacing.parameters[key]
        if value != default and not low <= value <= high:
            recommended = "" if low <= default else f", or {default:g} for the recommended value"
            raise ValueError(f"{key} of spacing {name!r} must be between {low:g} and {high:g}{recommended}, got {value:g}.")
        values[key] = value
    return spacing.lam(u, ends, **values)
