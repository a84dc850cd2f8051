"""RES-3S with an adaptive step size.

A step is taken with RES-3S(0.4, 0.75). RES-2S, which is embedded in its first two calls, gives a second solution, and the
difference of the two estimates the local error:

    error = max over items of RMS(x_3S - x_2S) / (atol sqrt(alpha^2 + sigma^2) + rtol RMS(x_3S))

sqrt(alpha^2 + sigma^2), by the time map, is the size of noisy data of standard deviation 1, so both tolerances mean the same at
every noise level. A step with an error up to 1 is accepted, with the third-order solution. Otherwise a shorter step is tried,
which reuses the first call. The next step size follows from this error and the one before (a PI controller). One grid serves
the whole batch, so an item's result depends, within the tolerance, on the batch it is in.

Estimates from the output at the end of the step, as in first-same-as-last pairs, cost no call if the step is accepted and one
more if it is not. They had no smaller error at equal calls.
"""

import itertools
import logging
import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from .grid import GridStep, grid_steps, read_sigmas
from .loop import run
from .plan import Plan, step_time
from .signature import Callback, Denoiser, ExtraArgs, Sigmas
from .single_step import single_step_stages
from .tableaus import res_3s
from .time_maps import VE, TimeMap

RTOL, ATOL, MAX_CALLS = 0.05, 0.0078, 100  # the tolerances are those of the host's dpm_adaptive

# These nodes have the least error at equal calls, on the digits and on trained networks. Their error is well below the error of
# (1/3, 2/3), the nodes of exp_res_3s.
C2, C3 = 0.4, 0.75
_PAIR = res_3s(C2, C3)
# h is multiplied by _SAFETY error^-_INTEGRAL previous_error^_PROPORTIONAL after a step (Gustafsson's exponents; Hairer & Wanner,
# "Solving ODEs II", IV.2) and by _SAFETY error^-_ROOT after a rejected one, within _FACTORS. The estimate is of order h^3.
_ROOT = 1.0 / 3.0
_SAFETY, _INTEGRAL, _PROPORTIONAL = 0.9, 0.7 * _ROOT, 0.4 * _ROOT
_FACTORS = (0.2, 2.0)
# Step sizes in -log sigma. A step sees nothing beyond its third call, at 3/4 of the step; in steps longer than _LONGEST that is
# too much of the path. Below _SHORTEST float32 sigmas and the rounding in the error estimate would soon set the limit.
_LONGEST, _SHORTEST = 1.5, 1e-3

_OnCall = Callable[[torch.Tensor, float, torch.Tensor, torch.Tensor], None]


class AdaptiveInfo(NamedTuple):
    """What an adaptive run did."""

    sigmas: torch.Tensor  # the accepted grid, on which RES-3S(C2, C3) takes the same steps; on the CPU, in the given grid's dtype
    calls: int  # all model calls, also of rejected steps
    rejected: int  # number of steps that were tried and not taken
    worst_error: float  # the largest error accepted, in units of the tolerance; above 1 only where the calls ran out


@torch.no_grad()
def sample_exp_res_adaptive(
    model: Denoiser,
    x: torch.Tensor,
    sigmas: Sigmas,
    extra_args: ExtraArgs = None,
    callback: Callback = None,
    disable: bool | None = None,
    *,
    rtol: float = RTOL,
    atol: float = ATOL,
    max_calls: int = MAX_CALLS,
    return_info: bool = False,
    time: TimeMap = VE,
) -> torch.Tensor | tuple[torch.Tensor, AdaptiveInfo]:
    """RES-3S with step sizes chosen by an error estimate: three model calls per step, two more for a rejected one.

    Only the ends of the grid are used: the first sigma, the last one above 0, and whether a last step to 0 follows, whose
    result is the denoised output. If `max_calls` does not suffice, the remaining steps are the shortest steps that reach the
    end, regardless of their error, and a warning says from where on and by how much the tolerance is exceeded. The device is
    read once for every step that is tried.

    Args:
        model, x, sigmas, extra_args, disable: as in `loop.run`; the grid must fall.
        callback: as in `loop.run`; "i" is the step of the given grid in which sigma lies, and never falls.
        rtol: tolerance relative to the latent's RMS, > 0.
        atol: tolerance in units of data of standard deviation 1, > 0.
        max_calls: maximum number of model calls, 4 or more, because a step and the last call need 4.
        return_info: return (latent, AdaptiveInfo) instead of the latent at the last sigma.
        time: the time map of the model.

    Raises:
        ValueError: a tolerance or max_calls out of range or a grid that cannot be sampled on, before the first call.
        FloatingPointError: the latent came to hold NaN or infinity.
    """
    tolerances: dict[str, Any] = {"rtol": rtol, "atol": atol}
    for name, value in tolerances.items():
        if not (isinstance(value, Real) and 0.0 < float(value) < math.inf):
            raise ValueError(f"{name} must be a finite number above 0, got {value!r}; smaller is more accurate.")
    values = read_sigmas(sigmas)
    steps = grid_steps(values, time, rising=False)
    dtype = torch.promote_types(sigmas.dtype, torch.float32) if isinstance(sigmas, torch.Tensor) else torch.float64
    if not steps:
        info = AdaptiveInfo(torch.tensor(values, dtype=dtype), 0, 0, 0.0)
        return (x, info) if return_info else x
    start, to_zero = steps[0].sigma, steps[-1].sigma_next == 0.0
    end = steps[-1].sigma if to_zero else steps[-1].sigma_next
    least = _PAIR.stages * (start > end) + to_zero
    if not max_calls >= least:
        raise ValueError(f"max_calls must be {least} or more to reach the end of these sigmas, got {max_calls!r}.")
    with tqdm(disable=disable, unit="call") as bar:
        stepper = _Stepper(model, x.dtype, extra_args or {}, time, _shown(sigmas, values, callback, bar))
        state = x.to(torch.promote_types(x.dtype, torch.float32))
        state, grid, errors, rejected = _walk(stepper, state, start, end, (rtol, atol), max_calls - to_zero, dtype)
        if to_zero:
            state = stepper.take(GridStep(len(errors), end, 0.0), state)
    info = AdaptiveInfo(torch.tensor(grid + [0.0] * to_zero, dtype=dtype), stepper.calls, rejected, max(errors, default=0.0))
    _log(info, next((sigma for sigma, error in zip(grid, errors) if error > 1.0), None))
    return (state.to(x.dtype), info) if return_info else state.to(x.dtype)


def _walk(
    stepper: "_Stepper",
    state: torch.Tensor,
    start: float,
    end: float,
    tolerances: tuple[float, float],
    budget: int,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, list[float], list[float], int]:
    """From start to end in steps within the tolerances and the budget of calls: state, grid, errors, number of rejected steps."""
    grid, rejected = [start], 0
    errors: list[float] = []
    h, previous, known = sum(tolerances) ** _ROOT, 1.0, 0
    while grid[-1] > end:
        distance = math.log(grid[-1] / end)
        h = max(min(h, _LONGEST), _shortest(distance, budget - stepper.calls + known))
        pieces = math.ceil(distance / h - 1e-9)  # equal steps to the end, should it be near
        h = distance / pieces
        following = end if pieces == 1 else grid[-1] * math.exp(-h)
        if dtype is torch.float32:  # as in SIGMAS, so that the accepted grid gives the same steps bit for bit
            following = float(np.float32(following))
        step = GridStep(len(errors), grid[-1], following)
        new = stepper.take(step, state, known)
        error = max(stepper.error(step, new, *tolerances), 1e-8)
        # another try, with its first call known, would not be shorter: the step is taken whatever its error
        last_try = h <= _shortest(distance, budget - stepper.calls + 1) * (1.0 + 1e-9)
        if error <= 1.0 or last_try:
            state = new
            grid.append(step.sigma_next)
            errors.append(error)
            factor = _SAFETY * error**-_INTEGRAL * previous**_PROPORTIONAL
            previous, known = min(error, 1.0), 0
        else:
            rejected += 1
            factor, known = _SAFETY * error**-_ROOT, 1
        h *= min(max(factor, _FACTORS[0]), _FACTORS[1])
    return state, grid, errors, rejected


def _shortest(distance: float, calls: int) -> float:
    """The shortest step after which `calls`, less those of the step, still reach the end; inf if there is none."""
    steps = calls // _PAIR.stages
    if steps < 1:
        return math.inf
    return _SHORTEST if distance <= (steps - 1) * _LONGEST else max(distance / steps, _SHORTEST)


class _Stepper:
    """Takes single steps with `loop.run`, and counts the calls of the model."""

    def __init__(self, model: Denoiser, dtype: torch.dtype, extra_args: dict[str, Any], time: TimeMap, on_call: _OnCall):
        self._model, self._dtype, self._extra_args, self._time, self._on_call = model, dtype, extra_args, time, on_call
        self.calls = 0
        self._outputs: list[torch.Tensor] = []

    def take(self, step: GridStep, state: torch.Tensor, known: int = 0) -> torch.Tensor:
        """The state at the end of the step; the first `known` outputs are known, which is 1 if the step is tried again."""
        self._outputs = self._outputs[:known]
        stages = single_step_stages(step, _PAIR, self._time, first_call=0)
        numbers = itertools.count()

        def denoise(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            number = next(numbers)
            if number == len(self._outputs):
                self._outputs.append(self._model(x.to(self._dtype), sigma, **self._extra_args))
                self.calls += 1
                self._on_call(x, stages[number].sigma, sigma[0], self._outputs[-1])
            return self._outputs[number]

        plan = Plan(_PAIR.name, self._time, 1, tuple(stages))
        return run(plan, denoise, state, (step.sigma, step.sigma_next), disable=True)

    def error(self, step: GridStep, new: torch.Tensor, rtol: float, atol: float) -> float:
        """The error of the step just taken to `new`, in units of the tolerance; waits for the device."""
        time = step_time(step.sigma, self._time)
        alpha, h = time.alpha(step.sigma_next), time.lam(step.sigma_next) - time.lam(step.sigma)
        difference = torch.zeros_like(new)
        for output, high, low in zip(self._outputs, _PAIR.b_weights(h), _PAIR.b_low_weights(h)):
            difference.add_(output, alpha=alpha * h * (high - low))
        tolerance = rtol * rms(new) + atol * math.hypot(alpha, time.noise_scale * step.sigma_next)
        return float((rms(difference) / tolerance).max())


def rms(x: torch.Tensor) -> torch.Tensor:
    """Root mean square of every item, (batch,)."""
    items = x.reshape(len(x), -1)
    return torch.linalg.vector_norm(items, dim=1) / math.sqrt(items.shape[1])


def _shown(sigmas: Sigmas, values: list[float], callback: Callback, bar: tqdm) -> _OnCall:
    """Moves the bar, and calls the callback with the step of the given grid in which a sigma lies."""
    last = 0

    def on_call(x: torch.Tensor, sigma: float, sigma_hat: torch.Tensor, denoised: torch.Tensor) -> None:
        nonlocal last
        bar.update()
        # a step that is tried again starts further back, and the callback's step must not
        last = max(last, *(i for i in range(len(values) - 1) if i == 0 or values[i] >= sigma))
        if callback is not None:
            callback({"x": x, "i": last, "denoised": denoised, "sigma": sigmas[last], "sigma_hat": sigma_hat})

    return on_call


def _log(info: AdaptiveInfo, beyond: float | None) -> None:
    logger = logging.getLogger(__name__)
    steps = len(info.sigmas) - 1
    logger.info("exp_res_adaptive: %d model calls, %d steps, %d rejected", info.calls, steps, info.rejected)
    if beyond is not None:
        logger.warning(
            f"exp_res_adaptive: {info.calls} model calls did not suffice; from sigma {beyond:.4g} on errors up to "
            f"{info.worst_error:.3g} times the tolerance were accepted. Raise max_calls, or rtol and atol."
        )
