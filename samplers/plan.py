"""Plans: every number a solver needs, computed in float64 before the first model call.

A plan is a list of Stages, one per model call. After the call the state becomes

    scale * anchor + sum_j weight_j * denoised_j + sum_j state_j * x_j + sum_k noise_k * n_k

where `anchor` is the state at the beginning of the step, x_j are the states at which earlier calls were made (for methods that
interpolate eps), and n_k are the unit noises drawn in this step. With CFG++ the denoised outputs are the unconditional ones,
and guided * the newest guided output is added. Single-step and multistep methods, correctors and SDE forms differ only in these
numbers, so one loop (`loop.py`) executes them all, and printing a plan shows the whole method.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from .signature import ByCall, Sigmas
from .time_maps import VE, TimeMap


class Alternatives(NamedTuple):
    """The steps of several rules at one stage; `choice.py` weights the rules for each item by their last predictions.

    Columns are the outputs, then the states; rows are rules.

    Attributes:
        outputs: model calls whose denoised outputs are combined, newest first.
        states: model calls whose states are combined, newest first; the first is the anchor.
        steps: weights of the next step.
        redone: weights of the previous step, redone with the output at its end and carried to the end of the next step.
        before: weights of the previous step as it was, which are subtracted with the rules' previous shares.
        misses: the miss of each rule's last prediction, as weights of the `DIFFERENCES` newest differences of outputs; () if
            nothing is known yet, and the rules keep their shares.
        trend: for a step to sigma = 0, the expected change of the newest output, as such weights; () for other steps.
        reach: for that step, the largest share of its extrapolation, 0 to 1.
        opening: the rule that is used before the first comparison.
        changes: for stages with bounds or a response: per rule the previous step redone, per rule the previous step as it was,
            and per rule the extrapolation of the next step, all in D and as such weights; () for other stages.
        bounds: the shares of the newest output up to which a correction and an extrapolation are made in full.
        first_order: for such stages, the next step without extrapolation.
        response: the share of a correction in D by which the newest output moves too, 0 to 1.
    """

    outputs: tuple[int, ...]
    states: tuple[int, ...]
    steps: tuple[tuple[float, ...], ...]
    redone: tuple[tuple[float, ...], ...]
    before: tuple[tuple[float, ...], ...]
    misses: tuple[tuple[float, ...], ...] = ()
    trend: tuple[float, ...] = ()
    reach: float = 1.0
    opening: int = 0
    changes: tuple[tuple[float, ...], ...] = ()
    bounds: tuple[float, float] = (math.inf, math.inf)
    first_order: tuple[float, ...] = ()
    response: float = 0.0


@dataclass(frozen=True)
class Stage:
    """One model call and the update that follows it."""

    step: int  # index in SIGMAS of the step the call belongs to
    sigma: float  # where the model is called
    h: float  # step size in lambda of the update's step; inf for a step to sigma = 0
    scale: float  # factor of the anchor
    weights: tuple[tuple[int, float], ...]  # pairs (model call, weight) over the denoised outputs so far
    closes_step: bool  # the update gives the next grid point, which becomes the new anchor
    noise: tuple[float, ...] = ()  # factors of the unit noises drawn in this step, one more than in the previous stage
    segment: tuple[float, float] | None = None  # (sigma, sigma_next) of the newest of those noises
    guided: float = 0.0  # factor of this call's guided output, see `cfg_pp.py`; 0 without CFG++
    states: tuple[tuple[int, float], ...] = ()  # pairs (model call, weight) over the states of earlier calls
    alternatives: Alternatives | None = None  # rules to choose among in the run; the numbers above are those of the first rule

    def __post_init__(self) -> None:
        numbers = [self.scale, *(w for _, w in (*self.weights, *self.states)), *self.noise, self.guided]
        if not all(map(math.isfinite, numbers)):
            raise ArithmeticError(f"plan has a non-finite weight at step {self.step}, sigma {self.sigma:g}: {numbers}")

    def update(
        self, anchor: torch.Tensor, denoised: ByCall, states: ByCall, noises: Sequence[torch.Tensor], guided: torch.Tensor
    ) -> torch.Tensor:
        """The next state as a new tensor, by one fused multiply-add per term; outputs and states are given by model call."""
        terms = [(denoised[call], weight) for call, weight in self.weights] + list(zip(noises, self.noise))
        terms += [(states[call], weight) for call, weight in self.states]
        if self.guided:
            terms.append((guided, self.guided))
        if self.scale == 0.0 and len(terms) == 1 and terms[0][1] == 1.0:
            return terms[0][0]  # a first-order step to sigma = 0 is the denoised output itself
        state = anchor * self.scale
        for tensor, weight in terms:
            state.add_(tensor, alpha=weight)
        return state

    def table_row(self) -> str:
        """The factors, for a printed plan."""
        terms = [f"{call}: {w:+.9f}" for call, w in self.weights] + [f"x{call}: {w:+.9f}" for call, w in self.states]
        terms += [f"guided: {self.guided:+.9f}"] if self.guided else []
        return f"{self.scale:12.9f}  " + "  ".join(terms + [f"n{k}: {w:+.6f}" for k, w in enumerate(self.noise)])


def consistent(stage: Stage, alpha_from: float, alpha_to: float, alphas: Mapping[int, float] = {}) -> Stage:
    """The stage, after a check that it is exact for a constant denoiser: its factors sum to alpha_to.

    Every method of order 1 or higher is exact, also with noise and corrector. A wrong weight fails here, before any call. The
    alphas are those of the anchor, of the end of the stage, and of the states that the stage uses.
    """
    from_states = (w * alphas[call] for call, w in stage.states)
    terms = [stage.scale * alpha_from, *(w for _, w in stage.weights), *from_states]
    residual = math.fsum([-alpha_to, *terms])
    if abs(residual) > 1e-10 * (1.0 + math.fsum(map(abs, terms))):
        raise ArithmeticError(f"plan is inconsistent by {residual:.1e} at step {stage.step}, sigma {stage.sigma:g}: {stage}")
    return stage


class Renoising(NamedTuple):
    """Noise added between two steps: the state becomes scale * state + noise * n with one unit noise n.

    The scale is the ratio of the alphas, and the segment is (sigma, sigma_next) for the noise sampler, the larger first.
    """

    scale: float
    noise: float
    segment: tuple[float, float]


def renoised(stage: Stage, after: Renoising | None) -> Stage:
    """The stage that closes a step, followed by the renoising, as one update; a ValueError if the stage has its own noise."""
    if after is None:
        return stage
    if stage.noise:
        raise ValueError("s_churn must be 0 for a sampler with eta above 0; a step takes noise of one kind.")
    return replace(
        stage,
        scale=after.scale * stage.scale,
        weights=tuple((call, after.scale * weight) for call, weight in stage.weights),
        states=tuple((call, after.scale * weight) for call, weight in stage.states),
        noise=(after.noise,),
        segment=after.segment,
    )


@dataclass(frozen=True)
class Plan:
    """A solver on a grid, ready to run. `str(plan)` is a table of all its numbers."""

    method: str
    time: TimeMap  # in which the weights were made (a step from lambda = -inf is taken in VE)
    steps: int  # of the grid, repetitions included
    stages: tuple[Stage, ...]  # one per model call
    opening: Renoising | None = None  # what happens before the first call
    cfg_pp: bool = False  # whether the model must return (guided, unconditional) instead of one denoised output

    @property
    def calls(self) -> int:
        """The exact number of model calls."""
        return len(self.stages)

    @property
    def draws_noise(self) -> bool:
        """Whether the plan needs a noise sampler."""
        return self.opening is not None or any(stage.segment for stage in self.stages)

    def __str__(self) -> str:
        lines = [
            f"{self.method} in {self.time.name} time: {self.steps} steps, {self.calls} model calls",
            f"{'call':>4} {'step':>4} {'sigma':>12} {'lambda':>9} {'h':>9} {'scale':>12}  weights (call: weight)",
        ]
        if self.opening is not None:
            lines.append(f"before the first call: scale {self.opening.scale:.9f}  n0: {self.opening.noise:+.6f}")
        for index, s in enumerate(self.stages):
            lam = round(self.time.lam(s.sigma), 5) + 0.0  # no -0.00000
            row = f"{index:4d} {s.step:4d} {s.sigma:12.6g} {lam:9.5f} {s.h:9.5f} {s.table_row()}"
            lines.append(row + ("" if s.closes_step else "  (stage)"))
            lines += _rows_of_alternatives(s)
        return "\n".join(lines)


def _rows_of_alternatives(stage: Stage) -> list[str]:
    """The steps of the other rules, for a printed plan."""
    if stage.alternatives is None:
        return []
    names = [*map(str, stage.alternatives.outputs), *(f"x{call}" for call in stage.alternatives.states)]
    return [
        f"{'':11}or rule {rule}: " + "  ".join(f"{name}: {a + b:+.6f}" for name, a, b in zip(names, *row))
        for rule, row in enumerate(zip(stage.alternatives.steps, stage.alternatives.redone))
        if rule
    ]


class Noise(NamedTuple):
    """How much noise an SDE sampler adds."""

    eta: float = 0.0  # strength; 0 is the ODE, 1 the reverse SDE (DDPM at first order)
    s_noise: float = 1.0  # factor of the added noise; 1 is correct
    path: bool = False  # whether the noise is one path for every number of steps, for which eta must not depend on the steps


NO_NOISE = Noise()
# The limit of eta and s_noise. Useful values are of order 1; very large ones would overflow float32 during sampling.
MAX_STRENGTH = 100.0


class NoisePath:
    """The noise of one step as a Brownian path that its stages share, as factors of independent unit noises.

    The exponential SDE (SEEDS, arXiv 2305.14267) adds sigma sqrt(1 - e^{-2 c h eta}) n(c) at the fraction c of the step. Over a
    further piece dc the noise decays by e^{-dc h eta} and gains an independent unit noise times sqrt(1 - e^{-2 dc h eta}).
    """

    def __init__(self, sigma: float, h: float, noise: Noise, noise_scale: float):
        self._sigma, self._c, self._rate, self._size = sigma, 0.0, h * noise.eta, noise.s_noise * noise_scale
        self._factors: list[float] = []

    def to(self, c: float, sigma: float) -> tuple[tuple[float, ...], tuple[float, float] | None]:
        """A Stage's `noise` and `segment` at the fraction c, which must not fall from call to call."""
        if self._rate * self._size == 0.0:
            return (), None
        segment = None
        if c > self._c:
            exponent = (c - self._c) * self._rate
            segment = (self._sigma, sigma)
            self._factors = [f * math.exp(-exponent) for f in self._factors] + [math.sqrt(-math.expm1(-2.0 * exponent))]
            self._sigma, self._c = sigma, c
        return tuple(sigma * self._size * factor for factor in self._factors), segment


def step_count(sigmas: Sigmas) -> int:
    """Steps of a grid, repetitions included."""
    return max(len(sigmas) - 1, 0)


# Below this alpha (flow above sigma = 0.9) deterministic steps are taken in VE: steps that are short in sigma stay long in
# lambda there, which costs order, and at sigma = 1 lambda is -inf. The error of other steps did not grow.
_NEAR_NOISE = 0.1


def step_time(noisy_end: float, time: TimeMap, eta: float = 0.0) -> TimeMap:
    """The time map for a step whose larger sigma is `noisy_end`: `time`, or VE near pure noise, which is valid for every ODE."""
    return time if time.alpha(noisy_end) > (0.0 if eta else _NEAR_NOISE) else VE.scaled(time.noise_scale)
