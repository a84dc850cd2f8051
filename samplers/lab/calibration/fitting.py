"""Fitting the scalars of a plan, step by step, to where a reference trajectory goes: ridge least squares, robustly weighted.

A step of an analytic plan ends at some combination of the states and denoised outputs so far. From pilots that are run along, the
fit adds to it the combination of

    x_i - alpha_i D_i,  D_i,  and the backward differences of D at i, of order 1, 2, ...

that brings it nearest to the reference at the end of the step. The next step starts from where the fitted one ended, so that it
also makes up for what was left over. All of it is linear: a fitted plan is a plan like any other, and with a ridge without end it
is the analytic one.

Under guidance a few pilots end at another image than their reference, and least squares would let them rule the fit. Items are
therefore weighted 1 / (1 + (e / c)^2) by their own residual e, c a multiple of the median, and the fit is repeated: that leads to
a minimum of the mean of log(1 + (e / c)^2). `benchmarks/calibrated.py` measures what it is worth.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from ...plan import Plan, Stage
from ...time_maps import TimeMap

# Residuals above this multiple of the median count less and less, and this often the weights follow the residuals.
_OUTLYING, _ROUNDS = 1.5, 8

# x's term among the {model call: weight} of a regressor.
_STATE = -1


class Fitting(NamedTuple):
    """What is chosen rather than fitted.

    Attributes:
        ridge: strength of the pull towards the analytic plan, 0 or more, in units of the regressors' mean squares; inf is the
            analytic plan itself.
        history: denoised outputs that a step may use, 1 or more.
        robust: whether outlying items are weighted down.
    """

    ridge: float
    history: int = 6
    robust: bool = True


class Fitted(NamedTuple):
    """A plan and where it brought the pilots.

    Attributes:
        plan: of the base's calls.
        end: of the pilots, (items, ...), float64.
    """

    plan: Plan
    end: torch.Tensor


def fit(
    base: Plan,
    denoise: Callable[[torch.Tensor, Stage], torch.Tensor],
    x: torch.Tensor,
    targets: Sequence[torch.Tensor],
    time: TimeMap,
    how: Fitting,
) -> Fitted:
    """The base's plan with the scalars that bring the pilots to the targets.

    Args:
        base: an analytic plan of one call a step, without noise.
        denoise: the denoised outputs of all pilots at a stage; called once for each.
        x: the pilots at the first call, (items, ...).
        targets: for every stage where the reference is after it, shaped like x.
        time: the time map of the model.
        how: what is chosen.

    Raises:
        ValueError: a base that cannot be fitted.
        FloatingPointError: the pilots came to hold NaN or infinity.
    """
    check_base(base)
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
            raise FloatingPointError(f"the pilots came to hold NaN or infinity at step {stage.step}, sigma {stage.sigma:g}.")
        fitted = stage
        if math.isfinite(how.ridge):
            terms = regressors(call, time.alpha(stage.sigma), how.history)
            values = torch.stack([_combined(term, x, outputs).flatten(1) for term in terms])
            c = ridge_fit(values, (target.double() - end).flatten(1), how.ridge, how.robust)
            fitted = _with(stage, terms, c.tolist())
            end = end + torch.einsum("k,kid->id", c, values).reshape(x.shape)
        stages.append(fitted)
        x = end
    return Fitted(replace(base, method=f"{base.method}, calibrated", stages=tuple(stages)), x)


def check_base(base: Plan) -> None:
    """Raise a ValueError for a plan with noise, CFG++, more than numbers or several calls a step."""
    plain = all(type(stage) is Stage and stage.closes_step and not stage.noise for stage in base.stages)
    if base.draws_noise or base.cfg_pp or not plain:
        raise ValueError(f"{base.method} cannot be calibrated: only deterministic methods of one call a step can.")


def regressors(call: int, alpha: float, history: int) -> list[dict[int, float]]:
    """What a step's end may be moved along, as weights of denoised outputs by call, and of x by _STATE."""
    terms: list[dict[int, float]] = [{_STATE: 1.0, call: -alpha}]
    for order in range(min(history, call + 1)):
        terms.append({call - j: float((-1) ** j * math.comb(order, j)) for j in range(order + 1)})
    return terms


def ridge_fit(values: torch.Tensor, residual: torch.Tensor, ridge: float, robust: bool = True) -> torch.Tensor:
    """The c for which sum_k c_k values_k is nearest to the residual, in the mean over items.

    Args:
        values: (regressors, items, numbers of an item), float64.
        residual: (items, numbers of an item).
        ridge: times the squares of the c, each in units of its regressor's root mean square.
        robust: weight outlying items down.

    Returns:
        (regressors,).
    """
    weights = torch.ones(len(residual), dtype=values.dtype)
    c = torch.zeros(len(values), dtype=values.dtype)
    for _ in range(1 + _ROUNDS * robust):
        total = weights.sum() * residual.shape[1]
        # a regressor that vanishes, as differences of equal outputs do, gets no share
        size = (torch.einsum("kid,kid,i->k", values, values, weights) / total).sqrt()
        scaled = values / torch.where(size > 0.0, size, torch.inf)[:, None, None]
        gram = torch.einsum("kid,lid,i->kl", scaled, scaled, weights) / total
        aim = torch.einsum("kid,id,i->k", scaled, residual, weights) / total
        # eigenvalues that are roundings are no directions
        eigenvalues, vectors = torch.linalg.eigh(gram)
        known = eigenvalues > 1e-12 * eigenvalues[-1]
        inverse = torch.where(known, 1.0 / torch.where(known, eigenvalues + ridge, 1.0), 0.0)
        c = vectors @ (inverse * (vectors.T @ aim)) / torch.where(size > 0.0, size, torch.inf)
        if robust:
            left = (residual - torch.einsum("k,kid->id", c, values)).norm(dim=1)
            scale = _OUTLYING * left.median()
            weights = 1.0 / (1.0 + (left / scale) ** 2) if scale > 0.0 else (left == 0.0).to(values.dtype)
    return c


def _combined(term: dict[int, float], x: torch.Tensor, outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    terms = (weight * (x if call == _STATE else outputs[call]) for call, weight in term.items())
    return sum(terms, torch.zeros_like(x))


def _with(stage: Stage, terms: Sequence[dict[int, float]], coefficients: Sequence[float]) -> Stage:
    """The stage with multiples of regressors added."""
    weights = dict(stage.weights)
    scale = stage.scale
    for term, coefficient in zip(terms, coefficients):
        for call, weight in term.items():
            if call == _STATE:
                scale += coefficient * weight
            else:
                weights[call] = weights.get(call, 0.0) + coefficient * weight
    return replace(stage, scale=scale, weights=tuple(sorted(weights.items())))
