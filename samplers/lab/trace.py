"""Measures every step of a sampling run, from its model calls only.

A step starts where the sampler calls the model with (x_i, sigma_i) and gets D_i, and ends at sigma_e, the next grid point. With
h = lambda_e - lambda_i, and RMS over an item of the batch:

    D change        RMS(D_i - D_(i-1)) / RMS(D_i)
    local error     RMS(x_e - y) / RMS(x_e),  y = (sigma_e / sigma_i) x_i + alpha_e h (b_1 D_i + b_2 D_e)
    first order     alpha_e |h b_2| RMS(D_e - D_i) / RMS(x_e),  b_2 = phi_2(-h), b_1 = phi_1(-h) - b_2
    acceleration    in sigma:  L_sigma^2 RMS(v_i - v_(i-1)) / |sigma_i - sigma_(i-1)|,   v = dx/dsigma = (x - D) / sigma
                    in lambda: L_lambda^2 RMS(D_i - D_(i-1)) / |lambda_i - lambda_(i-1)|

The local error compares x_e, the sampler's result, with y, the same step redone with D as a line through the outputs at both
ends (the exponential trapezoid rule). "First order" is the error of a step without history or inner calls, RES-1 against y. A
multistep step whose local error is larger was made worse by its history. Both need D_e, so the last step has none, and neither
has a step whose end was raised by churn. The trapezoid rule itself has an error of h^3, which is what a sampler of higher order
shows on a smooth model. Near pure noise of a flow model both are computed in -log sigma, like RES steps.

Figure 1 of the RES paper (arXiv 2308.02157) compares the accelerations of the ODE's parameterisations: the derivative of the
quantity that a solver interpolates, which is dx/dsigma for Euler and similar samplers and D for exponential integrators. Both
are given for a time that runs from 0 to 1 over the grid, hence the squared lengths L of the part of the grid on which lambda is
finite, and in the latent's unit. On a network that is rough in sigma, such as one with raw timestep embeddings, the differences
do not converge to a derivative, and accelerations grow with the number of steps.

All numbers are medians over the batch, except the shares of rules in a sampler that chooses among rules, which are means over
the batch, so that they sum to 1. All numbers belong to the sampler's own path: with a stochastic sampler x - D contains its
noise.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from ..adaptive import rms
from ..grid import MIN_STEP
from ..plan import step_time
from ..tableaus import multistep_weights
from ..time_maps import TimeMap

_ACCELERATIONS = "acceleration_sigma", "acceleration_lambda"
COLUMNS = "step", "sigma", "lambda", "d_change", "local_error", "first_order_error", *_ACCELERATIONS, "calls", "ms_per_call"
# Sigmas with a larger relative difference are different; the host moves a flow model's first sigma by less.
_TOLERANCE = 2e-4


class Row(NamedTuple):
    """One step; the fields are COLUMNS, see the module. A number without a value is NaN."""

    step: int  # index of its start in the grid; a count for a sampler that chooses its own grid
    sigma: float  # of its first call, which is above the grid's under churn
    lam: float  # lambda there; -inf in pure noise
    d_change: float
    local_error: float
    first_order_error: float
    acceleration_sigma: float
    acceleration_lambda: float
    calls: int
    ms: float  # milliseconds per call
    shares: tuple[float, ...] = ()  # of the rules that the sampler mixed, columns rule_0, rule_1, ...; () if it did not choose

    def numbers(self) -> dict[str, float]:
        """{column: number}."""
        *measured, shares = self
        return {**dict(zip(COLUMNS, measured)), **{f"rule_{rule}": share for rule, share in enumerate(shares)}}

    def as_json(self) -> dict[str, float | None]:
        """{column: number}, with None for numbers that JSON does not have."""
        return {name: value if math.isfinite(value) else None for name, value in self.numbers().items()}

    def as_csv(self) -> dict[str, float | str]:
        """{column: number}, with empty text for a number without a value."""
        return {name: "" if math.isnan(value) else value for name, value in self.numbers().items()}


class _Call:
    """A model call; its tensors are copies, which no sampler can change."""

    def __init__(self, x: torch.Tensor, sigma: torch.Tensor, denoised: torch.Tensor, seconds: float):
        self.sigma, self.seconds = float(torch.as_tensor(sigma).flatten()[0]), seconds
        dtype = torch.promote_types(denoised.dtype, torch.float32)
        self.x, self.denoised = (tensor.to(dtype, copy=True) for tensor in (x, denoised))
        self.shares: torch.Tensor | None = None

    @property
    def velocity(self) -> torch.Tensor:
        return (self.x - self.denoised) / self.sigma

    def sizes(self, before: "_Call | None", time: TimeMap) -> np.ndarray:
        """Rows of (batch,): RMS of x and D; after another call also of the changes of D and of the velocity, and of x - y."""
        tensors = [self.x, self.denoised]
        if before is not None:
            at_start, at_end = trapezoid(time, before.sigma, self.sigma)
            end = (self.sigma / before.sigma) * before.x + at_start * before.denoised + at_end * self.denoised
            tensors += [self.denoised - before.denoised, self.velocity - before.velocity, self.x - end]
        return torch.stack([rms(tensor) for tensor in tensors]).cpu().double().numpy()  # the one transfer


class _Division:
    """A way to divide the calls into steps, and the rows it gives."""

    def __init__(self, grid: list[float], time: TimeMap):
        self._time = time
        self._lengths = _lengths(grid, time)
        self.step, self.sigma = -1, math.nan  # index of the current step, and sigma of its first call
        self._before = math.nan  # sigma of the first call of the previous step
        self._call: _Call | None = None  # the first call of the current step, and its sizes
        self._sizes = np.empty(0)
        self._seconds: list[float] = []
        self.rows: list[Row] = []  # of the steps that have ended

    def add(self, call: _Call) -> None:
        """One more call of the current step."""
        self._seconds.append(call.seconds)

    def start(self, index: int, call: _Call, end: float) -> None:
        """Start a step with a call; the current step, if any, has ended at sigma `end`."""
        sizes = call.sizes(self._call, self._time)
        self.end(sizes if abs(call.sigma - end) <= _TOLERANCE * end else None, call.sigma)
        self._before, self.step, self.sigma = self.sigma, index, call.sigma
        self._call, self._sizes, self._seconds = call, sizes, [call.seconds]

    def end(self, after: np.ndarray | None = None, sigma: float = math.nan) -> None:
        """End the current step, if any. If the next call was made at its end, `after` has the `sizes` of that call, at sigma."""
        call, sizes = self._call, self._sizes
        if call is None:
            return
        change = error = first = in_sigma = in_lambda = math.nan
        if not math.isnan(self._before):
            values = sizes[2] / sizes[1], *self._accelerations()
            change, in_sigma, in_lambda = (float(np.median(value)) for value in values)
        if after is not None:
            weight = abs(trapezoid(self._time, call.sigma, sigma)[1])
            error, first = (float(np.median(value / after[0])) for value in (after[4], weight * after[2]))
        calls = len(self._seconds)
        ms = 1e3 * sum(self._seconds) / calls
        lam = _lam(self._time, call.sigma)
        shares = () if call.shares is None else tuple(call.shares.mean(0).tolist())
        self.rows.append(Row(self.step, call.sigma, lam, change, error, first, in_sigma, in_lambda, calls, ms, shares))

    def _accelerations(self) -> tuple[np.ndarray, np.ndarray]:
        """The accelerations in sigma and in lambda, (batch,) each."""
        in_sigma, in_lambda = self._lengths
        gap, lambda_gap = abs(self.sigma - self._before), abs(_lam(self._time, self.sigma) - _lam(self._time, self._before))
        changes, velocities = self._sizes[2:4]
        if gap <= _TOLERANCE * self.sigma:
            return velocities * math.nan, changes * math.nan
        known = math.isfinite(lambda_gap)
        return in_sigma**2 * velocities / gap, changes * (in_lambda**2 / lambda_gap if known else math.nan)


class Trace:
    """The rows of a run, while it runs.

    The calls are assigned to steps as follows. A sampler reports a step to the host right after its first call, and this report
    decides. All samplers of the host and of this pack on a given grid do so, also under churn. If a sampler reports nothing, a
    step starts where it calls the model at a sigma of the grid. A sampler that skips a sigma of the grid has its own grid; then
    every sigma below all earlier sigmas starts a step.

    Args:
        grid: two or more SIGMAS, falling or rising.
        own_grid: whether the sampler is known to choose its own grid; otherwise it is found out.
        on_row: on_row(row) for every step that has ended. If a sampler turns out to have its own grid, all rows are sent once
            more.
    """

    def __init__(self, grid: list[float], time: TimeMap, own_grid: bool = False, on_row: Callable[[Row], None] | None = None):
        self._grid = grid
        self._by_sigma = _Division(grid, time)
        self._by_step = None if own_grid else _Division(grid, time)
        self._on_row = on_row
        self._reported = 0  # rows
        self._newest: _Call | None = None
        self._pending: _Call | None = None  # the newest call, until it is known whether the sampler reports a step after it
        self._named_first = False  # whether it reported a step after the first call

    @property
    def rows(self) -> list[Row]:
        """Rows of the steps that have ended."""
        return (self._by_step or self._by_sigma).rows

    @torch.no_grad()
    def call(self, x: torch.Tensor, sigma: torch.Tensor, denoised: torch.Tensor, seconds: float) -> None:
        """Record a model call of x, (batch, ...), at sigma, (batch,) or a number, its output and its duration in seconds."""
        self._settle(None)
        self._newest = self._pending = _Call(x, sigma, denoised, seconds)

    def stepped(self, index: float) -> None:
        """Record that the sampler reported a step to the host, by its index in SIGMAS; a fraction lies within the step."""
        self._settle(math.floor(index + 1e-6))

    def chose(self, shares: torch.Tensor) -> None:
        """Record the shares of rules, (batch, rules), of the newest call; they are read when the step ends."""
        if self._newest is not None:
            self._newest.shares = shares

    def finish(self) -> None:
        """Finish after the end or the interruption of the run."""
        self._settle(None)
        for division in (self._by_step, self._by_sigma):
            if division is not None:
                division.end()
        self._report()

    def _settle(self, named: int | None) -> None:
        call, self._pending = self._pending, None
        if call is None:
            return
        if self._by_sigma.step < 0 or self._beyond(call.sigma, self._by_sigma.sigma):
            self._by_sigma.start(self._by_sigma.step + 1, call, end=call.sigma)
        else:
            self._by_sigma.add(call)
        if self._by_step is not None and not self._divided_by_step(self._by_step, call, named):
            self._by_step, self._reported = None, 0
        self._report()

    def _divided_by_step(self, steps: _Division, call: _Call, named: int | None) -> bool:
        """Assign a call to a step of the grid; False if the sampler turns out to have its own grid."""
        at: int | None = None
        if steps.step < 0:
            self._named_first, at = named is not None, 0
        elif self._named_first:
            at = named if named is not None and named > steps.step else None
            if at is not None and (at >= len(self._grid) - 1 or self._beyond(call.sigma, self._grid[at])):
                return False
        else:
            at = next((i for i in range(steps.step + 1, len(self._grid)) if self._is(call.sigma, self._grid[i])), None)
            if at is None and self._beyond(call.sigma, self._grid[steps.step + 1]):
                return False
        if at is None:
            steps.add(call)
        else:
            steps.start(at, call, end=self._grid[at])
        return True

    def _is(self, sigma: float, other: float) -> bool:
        return abs(sigma - other) <= _TOLERANCE * other

    def _beyond(self, sigma: float, other: float) -> bool:
        """Whether a sigma comes after another in the direction of the grid."""
        rising = self._grid[-1] > self._grid[0]
        return not self._is(sigma, other) and (sigma > other) == rising

    def _report(self) -> None:
        for row in self.rows[self._reported :]:
            if self._on_row is not None:
                self._on_row(row)
        self._reported = len(self.rows)


def trapezoid(time: TimeMap, sigma: float, end: float) -> tuple[float, float]:
    """Weights of D at the start and at the end, above 0, of an exponential step with D linear in lambda.

    They are alpha_e h b_1 and alpha_e h b_2 in x_e = (end / sigma) x + alpha_e h (b_1 D + b_2 D_e) with b_2 = phi_2(-h), b_1 +
    b_2 = phi_1(-h), and NaN for a step without a length. Near pure noise of a flow model lambda is -log sigma, like in RES steps.
    """
    time = step_time(max(sigma, end), time)
    h = time.lam(end) - time.lam(sigma)
    if abs(h) < MIN_STEP:
        return math.nan, math.nan
    at_start, at_end = multistep_weights([0.0, 1.0], h)
    return time.alpha(end) * h * at_start, time.alpha(end) * h * at_end


def _lam(time: TimeMap, sigma: float) -> float:
    return time.lam(sigma) if sigma > 0.0 else math.inf


def _lengths(grid: list[float], time: TimeMap) -> tuple[float, float]:
    """Lengths in sigma and in lambda of the part of a grid on which lambda is finite."""
    finite = [sigma for sigma in grid if math.isfinite(_lam(time, sigma))] or [math.nan]
    return abs(finite[-1] - finite[0]), abs(time.lam(finite[-1]) - time.lam(finite[0]))


def as_table(rows: list[Row]) -> str:
    """Rows as a Markdown table with four digits."""
    columns = max((list(row.numbers()) for row in rows), key=len, default=list(COLUMNS))
    values = [[row.numbers().get(name, math.nan) for name in columns] for row in rows]
    lines = [columns, ["---:"] * len(columns), *(["" if math.isnan(v) else f"{v:.4g}" for v in row] for row in values)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
