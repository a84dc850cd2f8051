"""Fits the scalars of a plan, step by step, to a reference trajectory by robust ridge least squares, and moves its grid.

A step of an analytic plan ends at a combination of the states and denoised outputs so far. From pilots that are sampled step by
step, the fit adds to it the combination of

    x_i - alpha_i D_i,  D_i,  and the backward differences of D at i, of order 1, 2, ...

that brings it closest to the reference at the end of the step. The next step starts from the end of the fitted step, so that it
also corrects the remaining error. Everything is linear, so a fitted plan is an ordinary plan, and with an infinite ridge it is
the analytic plan.

Under guidance a few pilots end at another image than their reference, and would dominate least squares. Items are therefore
weighted by 1 / (1 + (e / c)^2), with their residual e and a multiple c of the median, and the fit is repeated, which minimises
the mean of log(1 + (e / c)^2). `benchmarks/calibrated.py` measures the result.
"""

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from ...catalogue import EXP_RES
from ...gddim_rule import gddim_plan
from ...grid import MIN_STEP, read_sigmas
from ...interpolation import IN_RHO, InAlpha, InLambda, lagrange
from ...loop import run
from ...multistep import END_MIN_GAP, multistep_plan, rule_plan
from ...plan import Plan, Stage
from ...rule import Rule
from ...signature import Denoiser, ExtraArgs, Sigmas
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


# The planners of the analytic methods that can be fitted: without noise, and with one call per step.
BASES: dict[str, Callable[..., Plan]] = {
    "exp_res_rule_0": partial(rule_plan, rule=EXP_RES[0]),
    "exp_res_2mc": partial(multistep_plan, order=2, corrector=True),
    "exp_res_1m": partial(multistep_plan, order=1),
    "exp_gddim": gddim_plan,
    "dpmpp_2m": partial(rule_plan, rule=Rule("DPM-Solver++ 2M", 2, AtMidpoint())),
    # eps by a polynomial in rho: DEIS, and with equal steps ipndm
    "deis_3": partial(rule_plan, rule=Rule("DEIS 3", 3, IN_RHO, 1.0, IN_RHO.min_gap, last=Rule("", 2, IN_RHO, 1.0, END_MIN_GAP))),
    # D by a polynomial in sigma / alpha: er_sde without noise
    "er_ode_3": partial(rule_plan, rule=Rule("ER-ODE 3", 3, InAlpha(_AS_SIGMA, 1.0))),
}


def bases(sigmas: Sigmas, time: TimeMap) -> dict[str, Plan]:
    """The analytic plans on a grid, by name; a ValueError if it cannot be sampled on."""
    return {name: planner(sigmas, time=time) for name, planner in BASES.items()}


# The lambda that stands for pure noise of a flow model, where lambda is -inf.
NEAR_NOISE = -7.0


def fine_grid(sigmas: Sequence[float], time: TimeMap, floor: float, steps: int) -> list[float]:
    """A falling grid of float32 numbers that contains every sigma of another one and is nearly uniform in logSNR in between.

    A grid to 0 takes its last step from `floor` if that is below the last sigma above 0. The grid has a few more steps than
    `steps`, because it meets every given sigma.
    """
    points = [s for s in sigmas if s > 0.0]
    if sigmas[-1] == 0.0 and floor < points[-1] * (1.0 - MIN_STEP):
        points.append(float(np.float32(floor)))
    lam = [max(time.lam(s), NEAR_NOISE) for s in points]
    most = (lam[-1] - lam[0]) / steps
    fine = [points[0]]
    for start, end, sigma in zip(lam, lam[1:], points[1:]):
        parts = max(math.ceil((end - start) / most - 1e-9), 1)
        between = [float(np.float32(time.sigma(start + (end - start) * k / parts))) for k in range(1, parts)]
        fine += [s for s in between if sigma < s < fine[-1]] + [sigma]
    return fine + [0.0] * (sigmas[-1] == 0.0)


@dataclass
class Trajectory:
    """A solution of the ODE for some items at falling sigmas."""

    sigmas: list[float]  # at which it is known, without the end
    x: list[torch.Tensor]  # states at these sigmas, (items, ...) each
    denoised: list[torch.Tensor]  # outputs at these sigmas
    end: torch.Tensor  # the state at the end
    last: float  # sigma of the end

    def at(self, sigma: float) -> torch.Tensor:
        """The state at a sigma, between known ones by the cubic with slopes (x - D) / sigma; a ValueError outside of them."""
        if sigma == self.last:
            return self.end
        right = bisect.bisect_left([-s for s in self.sigmas], -sigma)
        if right < len(self.sigmas) and self.sigmas[right] == sigma:
            return self.x[right]
        if not 0 < right < len(self.sigmas):
            raise ValueError(f"sigma {sigma:g} is not on the trajectory, from {self.sigmas[0]:g} to {self.sigmas[-1]:g}.")
        s0, s1 = self.sigmas[right - 1 : right + 1]
        x0, x1 = (x.double() for x in self.x[right - 1 : right + 1])
        d0, d1 = self.denoised[right - 1 : right + 1]
        u, h = (sigma - s0) / (s1 - s0), s1 - s0
        slope0, slope1 = (x0 - d0) / s0, (x1 - d1) / s1
        at_ends = (1.0 + 2.0 * u) * (1.0 - u) ** 2 * x0 + u**2 * (3.0 - 2.0 * u) * x1
        return at_ends + h * u * (1.0 - u) * ((1.0 - u) * slope0 - u * slope1)


def joined(parts: Sequence[Trajectory]) -> Trajectory:
    """One trajectory with the items of several over the same sigmas."""
    x, denoised = ([torch.cat(tensors) for tensors in zip(*(getattr(p, name) for p in parts))] for name in ("x", "denoised"))
    return Trajectory(parts[0].sigmas, x, denoised, torch.cat([p.end for p in parts]), parts[0].last)


def recorded(
    plan: Plan, model: Denoiser, x: torch.Tensor, sigmas: Sigmas, extra_args: ExtraArgs, wanted: Sigmas | None = None
) -> Trajectory:
    """Sample by a plan with one call per step, and keep the states at some sigmas, or at all of them if `wanted` is None."""
    kept = None if wanted is None else set(read_sigmas(wanted))
    result = Trajectory([], [], [], x, float(sigmas[-1]))

    def keep(info: dict[str, Any]) -> None:
        sigma = float(info["sigma"])
        if kept is None or sigma in kept:
            result.sigmas.append(sigma)
            result.x.append(info["x"].detach().float().cpu().clone())
            result.denoised.append(info["denoised"].detach().float().cpu().clone())

    result.end = run(plan, model, x, sigmas, extra_args, keep, True).detach().float().cpu()
    return result


# Residuals above this multiple of the median get less weight, and the weights are computed this many times.
_OUTLYING, _ROUNDS = 1.5, 8

# The key of x in the {model call: weight} of a regressor.
_STATE = -1


class Fitting(NamedTuple):
    """The settings of a fit."""

    # strength of the pull towards the analytic plan, in units of the regressors' mean squares; inf gives the analytic plan
    ridge: float
    history: int = 6  # denoised outputs that a step may use, 1 or more


class Fitted(NamedTuple):
    """A fitted plan, and the pilots' final states, (items, ...), float64."""

    plan: Plan
    end: torch.Tensor


def fit(
    base: Plan,
    denoise: Callable[[torch.Tensor, Stage], torch.Tensor],
    x: torch.Tensor,
    targets: Sequence[torch.Tensor],
    time: TimeMap,
    options: Fitting,
) -> Fitted:
    """The base's plan with the scalars that bring the pilots x, (items, ...), to the targets.

    The base has one call per step and no noise. `denoise` gives the outputs of all pilots at a stage and is called once for
    each. The targets, shaped like x, are the reference after every stage. A FloatingPointError says that the pilots contain NaN
    or infinity.
    """
    x = x.double()
    states: list[torch.Tensor] = []
    outputs: list[torch.Tensor] = []
    stages = []
    for call, (stage, target) in enumerate(zip(base.stages, targets)):
        states.append(x)
        outputs.append(denoise(x, stage).double())
        nothing = torch.zeros_like(x)
        end = stage.scale * x + sum((weight * outputs[j] for j, weight in stage.weights), nothing)
        end = end + sum((weight * states[j] for j, weight in stage.states), nothing)
        if not end.isfinite().all():
            raise FloatingPointError(f"the pilots contain NaN or infinity at step {stage.step}, sigma {stage.sigma:g}.")
        fitted = stage
        if math.isfinite(options.ridge):
            terms = regressors(call, time.alpha(stage.sigma), options.history)
            known = {_STATE: x, **dict(enumerate(outputs))}
            combined = [sum((weight * known[key] for key, weight in term.items()), nothing) for term in terms]
            values = torch.stack(combined).flatten(2)
            c = robust_fit(values, (target.double() - end).flatten(1), options.ridge)
            fitted = _with(stage, terms, c.tolist())
            end = end + torch.einsum("k,kid->id", c, values).reshape(x.shape)
        stages.append(fitted)
        x = end
    return Fitted(replace(base, method=f"{base.method}, calibrated", stages=tuple(stages)), x)


def regressors(call: int, alpha: float, history: int) -> list[dict[int, float]]:
    """The regressors of a step, as weights of denoised outputs by call, and of x by _STATE."""
    orders = range(min(history, call + 1))
    differences = [{call - j: float((-1) ** j * math.comb(order, j)) for j in range(order + 1)} for order in orders]
    return [{_STATE: 1.0, call: -alpha}, *differences]


def robust_fit(values: torch.Tensor, residual: torch.Tensor, ridge: float) -> torch.Tensor:
    """`ridge_fit` with less weight for outlying items."""
    weights = torch.ones(len(residual), dtype=values.dtype)
    for _ in range(_ROUNDS):
        c = ridge_fit(values, residual, ridge, weights)
        left = (residual - torch.einsum("k,kid->id", c, values)).norm(dim=1)
        scale = _OUTLYING * left.median()
        weights = 1.0 / (1.0 + (left / scale) ** 2) if scale > 0.0 else (left == 0.0).to(values.dtype)
    return ridge_fit(values, residual, ridge, weights)


def ridge_fit(values: torch.Tensor, residual: torch.Tensor, ridge: float, weights: torch.Tensor) -> torch.Tensor:
    """The c, (regressors,), for which sum_k c_k values_k is nearest to the residual, in the mean over weighted items.

    Values are (regressors, items, numbers of an item), float64. The ridge is the factor of the squares of the c, each in units
    of its regressor's root mean square.
    """
    total = weights.sum() * residual.shape[1]
    # a regressor that vanishes, such as a difference of equal outputs, gets no share
    size = (torch.einsum("kid,kid,i->k", values, values, weights) / total).sqrt()
    size = torch.where(size > 0.0, size, torch.inf)
    scaled = values / size[:, None, None]
    gram = torch.einsum("kid,lid,i->kl", scaled, scaled, weights) / total
    aim = torch.einsum("kid,id,i->k", scaled, residual, weights) / total
    # eigenvalues that are only rounding are left out
    eigenvalues, vectors = torch.linalg.eigh(gram)
    known = eigenvalues > 1e-12 * eigenvalues[-1]
    inverse = torch.where(known, 1.0 / torch.where(known, eigenvalues + ridge, 1.0), 0.0)
    return vectors @ (inverse * (vectors.T @ aim)) / size


def _with(stage: Stage, terms: Sequence[dict[int, float]], coefficients: Sequence[float]) -> Stage:
    """The stage with multiples of regressors added."""
    weights = {_STATE: stage.scale, **dict(stage.weights)}
    for term, coefficient in zip(terms, coefficients):
        for call, weight in term.items():
            weights[call] = weights.get(call, 0.0) + coefficient * weight
    scale = weights.pop(_STATE)
    return replace(stage, scale=scale, weights=tuple(sorted(weights.items())))


KNOTS = 5
# Rounds of the search; each round tries every distance between knots longer and shorter by a factor that shrinks.
_FACTORS = (1.5, 1.25, 1.12, 1.06)
TRIALS = 1 + 2 * (KNOTS - 1) * len(_FACTORS)  # the first one is the given grid


class GridCurve:
    """Grids with the number of steps, the first sigma and the end of a given grid, as monotone curves through five knots.

    The knots are values of logSNR, evenly over the steps to the last sigma above 0, which may move as well but not below the
    floor. The curve is added to the given grid's logSNR, so that the knots of the grid itself give exactly the grid.
    """

    def __init__(self, sigmas: Sigmas, time: TimeMap, floor: float):
        self._values, self._time, self._floor = read_sigmas(sigmas), time, floor
        self._to_zero = self._values[-1] == 0.0
        self._lam = np.array([max(time.lam(s), NEAR_NOISE) for s in self._values if s > 0.0])
        self._places, self._knots = np.linspace(0.0, 1.0, len(self._lam)), np.linspace(0.0, 1.0, KNOTS)
        self.distances = np.diff(np.interp(self._knots, self._places, self._lam))  # between the knots of the given grid

    def grid(self, distances: np.ndarray) -> list[float] | None:
        """SIGMAS, float32 numbers, for distances between the knots; None if they do not fall or are below the floor.

        If the given SIGMAS end above 0, the distances are scaled so that the last knot stays.
        """
        from scipy.interpolate import PchipInterpolator  # noqa: PLC0415 (slow to import)

        if not self._to_zero:
            distances = distances * self.distances.sum() / distances.sum()
        moved = np.concatenate([[0.0], np.cumsum(distances - self.distances)])
        lam = self._lam + PchipInterpolator(self._knots, moved)(self._places)
        sigmas = [self._values[0], *(float(np.float32(self._time.sigma(value))) for value in lam[1:])]
        if self._to_zero:
            sigmas.append(0.0)
        else:
            sigmas[-1] = self._values[-1]
        falls = all(a > b * (1.0 + 1e-4) for a, b in zip(sigmas, sigmas[1:]))
        return sigmas if falls and min(s for s in sigmas if s > 0.0) >= self._floor * (1.0 - 1e-6) else None

    def search(self, error: Callable[[list[float]], float]) -> list[float] | None:
        """The grid of least error by a pattern search over the distances, in at most TRIALS trials; None for no better one."""
        if len(self._lam) < 3:  # too few steps for a curve to matter
            return None
        best, best_grid, distances = error(self._values), None, self.distances
        for factor in _FACTORS:
            for index in range(KNOTS - 1):
                for by in (factor, 1.0 / factor):
                    trial = distances.copy()
                    trial[index] *= by
                    grid = self.grid(trial)
                    if grid is not None and (value := error(grid)) < best:
                        best, best_grid, distances = value, grid, trial
                        break  # the other way is back
        return best_grid
