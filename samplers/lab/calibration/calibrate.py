"""Calibrates a solver: fits on pilots along a reference, a choice on selection seeds, and a measurement on test seeds."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch

from ...grid import read_sigmas
from ...loop import run
from ...multistep import multistep_plan
from ...plan import Plan, Stage
from ...signature import Denoiser, ExtraArgs, Sigmas
from ...time_maps import TimeMap
from ..reference import NotConverged
from .calibration_file import MAX_CALLS
from .fitting import PLANNERS, Fitted, Fitting, Recorder, Trajectory, bases, fine_grid, fit, joined
from .grid_search import GridCurve, search
from .results import (
    CAREFUL,
    HISTORIES,
    LEAST,
    RIDGES,
    Calibrated,
    Cost,
    Errors,
    Settings,
    Settled,
    calls,
    clearly_less,
    distances,
    split_seeds,
)

# Solutions with a larger relative difference have nothing in common.
_NO_SOLUTION = 0.5
_ANALYTIC, _PROBE = Fitting(math.inf), Fitting(RIDGES[1], HISTORIES[0])

Function = Callable[..., torch.Tensor]  # of (model, x, sigmas, extra_args, callback, disable)


class Problem(Protocol):
    """A model with its prompts and a latent, which samples from the noise of a seed."""

    def __call__(self, function: Any, sigmas: torch.Tensor, seed: int) -> torch.Tensor:
        """Samples, (items, ...), by a Function or another sampler."""


class Calibration:
    """One calibration.

    Args:
        problem: the model to sample.
        sigmas: the grid, falling.
        time: the time map of the model, VE or FLOW.
        floor: sigma from which the reference steps to 0, the lowest sigma that the model can distinguish.
        seed: the first of the seeds.
        batch: number of items that the problem samples for a seed.
        settings: the settings of the calibration.
        rivals: samplers of one call per step, by name, for comparison on the test seeds.
        fatal: exceptions of a rival that end the calibration; others leave the rival out.
    """

    def __init__(
        self,
        problem: Problem,
        sigmas: Sigmas,
        time: TimeMap,
        floor: float,
        seed: int,
        batch: int,
        settings: Settings = CAREFUL,
        rivals: Mapping[str, Any] | None = None,
        fatal: tuple[type[BaseException], ...] = (),
    ):
        self._problem, self._time, self._floor, self._settings = problem, time, floor, settings
        self._rivals, self._fatal = rivals or {}, fatal
        self._sigmas = torch.tensor(read_sigmas(sigmas), dtype=torch.float32)
        if len(self._sigmas) < 3 or self._sigmas[0] <= self._sigmas[-1]:
            raise ValueError(f"sigmas must fall and have two steps or more to calibrate on, got {self._sigmas.tolist()!s:.60}.")
        if len(self._sigmas) - 1 > MAX_CALLS:
            raise ValueError(f"sigmas have {len(self._sigmas) - 1} steps; {MAX_CALLS} are the most that a calibration can hold.")
        self._seeds = split_seeds(seed, settings, batch)
        self._bases = bases(self._sigmas, time)  # checks the grid
        self._levels = settings.references(len(self._sigmas) - 1)
        self._level, self._probes = 1, 0

    @property
    def cost(self) -> Cost:
        """The smallest and largest number of model calls, each of a whole batch."""
        levels = self._settings.levels
        return Cost(self._calls(2, 0), self._calls(levels, 2 * (levels - 2)))

    @property
    def expected(self) -> int:
        """All model calls, if the reference needs no further level."""
        return self._calls(max(self._level, 2), self._probes)

    def _calls(self, levels: int, probes: int) -> int:
        references = [len(self._fine(steps)) - 1 for steps in self._levels[:levels]]
        return calls(self._settings, self._seeds, len(self._sigmas) - 1, references, probes, len(self._rivals))

    def run(self) -> Calibrated:
        """Run the whole calibration.

        Raises:
            NotConverged: the last two levels of the reference have nothing in common.
            FloatingPointError: a run gives NaN or infinity.
        """
        trajectory, names, reference = self._reference()
        ends = self._ends(self._seeds.selection)

        def measured(plan: Plan, sigmas: torch.Tensor = self._sigmas) -> torch.Tensor:
            return self._distances(partial(run, plan), sigmas, self._seeds.selection, ends)

        fitted = list(names)[: 1 + self._settings.thorough]
        analytic = {name: measured(self._bases[name]) for name in fitted}
        base = min(analytic, key=lambda name: Errors.of(analytic[name]).log_mean)
        result = Calibrated(self._sigmas, self._bases[base], base, base, None, self._seeds, reference, pilots=names)
        result.selection = {"base": Errors.of(analytic[base]), "calibrated": Errors.of(analytic[base])}
        if reference.coarse:  # nothing to fit to
            self._test(result)
            return result
        best, chosen = self._best_fit(fitted, trajectory, measured), analytic[base]
        if best is not None and clearly_less(best.distances, analytic[base], self._settings.noise):
            result.plan, result.base, result.fitting, chosen = best.plan, best.base, best.fitting, best.distances
            result.selection["calibrated"] = Errors.of(chosen)
        if self._settings.move_grid:
            self._move_grid(result, trajectory, measured, chosen)
        self._test(result)
        return result

    def _best_fit(
        self, names: Sequence[str], trajectory: Trajectory, measured: Callable[[Plan], torch.Tensor]
    ) -> "_Candidate | None":
        """The candidate with the least error on the selection seeds: first by base and ridge, then by history."""
        candidates: list[_Candidate] = []

        def best() -> _Candidate:
            return min(candidates, key=lambda candidate: Errors.of(candidate.distances).log_mean)

        def attempt(name: str, ridge: float, history: int) -> None:
            options = Fitting(ridge, history, self._settings.robust)
            try:
                plan = self._fitted(self._bases[name], self._sigmas, trajectory, options).plan
            except FloatingPointError:  # error of a fit that diverges
                return
            candidates.append(_Candidate(plan, name, options, measured(plan)))

        for name in names:
            for ridge in self._settings.ridges:
                attempt(name, ridge, HISTORIES[0])
        if candidates and self._settings.thorough:
            attempt(best().base, best().fitting.ridge, HISTORIES[1])
        return best() if candidates else None

    def _move_grid(
        self, result: Calibrated, trajectory: Trajectory, measured: Callable[..., torch.Tensor], chosen: torch.Tensor
    ) -> None:
        """Search for a grid on the pilots; it is kept if it wins on the selection seeds against the errors `chosen`."""
        curve, options = GridCurve(self._sigmas, self._time, self._floor), result.fitting or Fitting(RIDGES[-1])
        if not curve.movable:
            return

        def fitted(grid: list[float]) -> Fitted:
            sigmas = torch.tensor(grid, dtype=torch.float32)
            return self._fitted(PLANNERS[result.base](sigmas, time=self._time), sigmas, trajectory, options)

        def pilot_error(grid: list[float]) -> float:
            try:
                return Errors.of(distances(fitted(grid).end, trajectory.end)).log_mean
            except FloatingPointError:
                return math.inf

        grid = search(curve, pilot_error, pilot_error(read_sigmas(self._sigmas)))
        if grid is None:
            return
        sigmas, plan = torch.tensor(grid, dtype=torch.float32), fitted(grid).plan
        own = measured(plan, sigmas)
        if clearly_less(own, chosen, self._settings.noise):
            result.sigmas, result.plan, result.fitting, result.grid_changed = sigmas, plan, options, True
            result.selection["calibrated"] = Errors.of(own)

    def _test(self, result: Calibrated) -> None:
        seeds = self._seeds.test
        if not seeds:
            return
        ends = self._ends(seeds)
        result.test["base"] = Errors.of(self._distances(partial(run, self._bases[result.analytic]), self._sigmas, seeds, ends))
        for name, rival in self._rivals.items():
            try:
                result.test[name] = Errors.of(self._distances(rival, self._sigmas, seeds, ends))
            except self._fatal:
                raise
            except Exception as error:  # code of another pack may raise anything
                logging.getLogger(__name__).warning("%s is left out of the comparison: %s", name, error)
        plan = partial(run, result.plan)
        result.test["calibrated"] = (
            result.test["base"] if result.kept else Errors.of(self._distances(plan, result.sigmas, seeds, ends))
        )

    def _reference(self) -> tuple[Trajectory, dict[str, Errors], Settled]:
        """The pilots' solution with as many steps as the fit needs, the errors of the bases, the least first, and its quality.

        Raises:
            NotConverged: see `run`.
        """
        self._level = 1
        solved = self._pilots()
        ends = self._analytic_ends(solved)
        while True:
            before, self._level = solved, self._level + 1
            solved = self._pilots()
            errors = {name: Errors.of(distances(end, solved.end)) for name, end in ends.items()}
            names = sorted(errors, key=lambda name: errors[name].log_mean)
            settled = self._settled(before, solved, names[0], errors[names[0]].median)
            if settled.why:
                break
        if not settled.last_change < _NO_SOLUTION:
            raise NotConverged(
                f"the reference still moves by {settled.last_change:.1e} (median, relative) at {settled.steps} steps, so there "
                "is no solution to calibrate to. Less guidance or SIGMAS that start lower help; a model that adds noise of its "
                "own cannot be calibrated."
            )
        return solved, {name: errors[name] for name in names}, settled

    def _settled(self, before: Trajectory, solved: Trajectory, base: str, error: float) -> Settled:
        """The quality of the present level, by the level before and the best base's median error."""
        change = float(distances(before.end, solved.end).quantile(0.5))
        share = change / max(error, LEAST)
        if share <= self._settings.share:
            why = "agrees"
        elif self._level == len(self._levels):
            why = "cap"
        else:
            why = "no gain" if share < 1.0 and not self._changes_the_fit(self._bases[base], before, solved) else ""
        return Settled(self._levels[self._level - 1], change, share, why)

    def _analytic_ends(self, trajectory: Trajectory) -> dict[str, torch.Tensor]:
        """The pilots' results by every base; infinite if a base diverges."""
        ends = {}
        for name, plan in self._bases.items():
            try:
                ends[name] = self._fitted(plan, self._sigmas, trajectory, _ANALYTIC).end
            except FloatingPointError:
                ends[name] = torch.full_like(trajectory.end, math.inf)
        return ends

    def _changes_the_fit(self, base: Plan, coarse: Trajectory, fine: Trajectory) -> bool:
        """Whether a fit to the finer solution is closer to it than a fit to the coarser one, by more than the standard error."""
        self._probes += 2
        try:
            ends = [self._fitted(base, self._sigmas, trajectory, _PROBE).end for trajectory in (coarse, fine)]
        except FloatingPointError:
            return True
        return clearly_less(distances(ends[1], fine.end), distances(ends[0], fine.end))

    def _fine(self, steps: int) -> list[float]:
        return fine_grid(self._sigmas.tolist(), self._time, self._floor, steps)

    def _pilots(self) -> Trajectory:
        wanted = None if self._settings.move_grid else self._sigmas
        return joined([self._solve(seed, wanted)[0] for seed in self._seeds.pilot])

    def _solve(self, seed: int, wanted: Sigmas | None) -> tuple[Trajectory, torch.Tensor]:
        """A seed's reference at the present level, by RES-3M with corrector, kept at `wanted` (None: everywhere); its samples."""
        fine = torch.tensor(self._fine(self._levels[self._level - 1]), dtype=torch.float32)
        plan = multistep_plan(fine, 3, self._time, corrector=True)
        recorder = Recorder(wanted)
        ends: list[torch.Tensor] = []

        def sample(
            model: Denoiser, x: torch.Tensor, sigmas: Sigmas, extra_args: ExtraArgs = None, *_: Any, **__: Any
        ) -> torch.Tensor:
            ends.append(run(plan, model, x, fine, extra_args, recorder, True))
            return ends[0].clone()  # ComfyUI continues with it in place

        samples = self._problem(sample, fine, seed)
        return recorder.trajectory(ends[0].float(), float(fine[-1])), samples

    def _ends(self, seeds: Sequence[int]) -> torch.Tensor:
        """The reference's samples of some seeds."""
        return torch.cat([self._solve(seed, ())[1] for seed in seeds])

    def _distances(self, sampler: Function, sigmas: torch.Tensor, seeds: Sequence[int], ends: torch.Tensor) -> torch.Tensor:
        try:
            samples = torch.cat([self._problem(sampler, sigmas, seed) for seed in seeds])
        except FloatingPointError:
            return torch.full((len(ends),), math.inf)
        return distances(samples, ends)

    def _fitted(self, base: Plan, sigmas: torch.Tensor, trajectory: Trajectory, options: Fitting) -> Fitted:
        """The base fitted to the pilots, all of which advance together."""

        def denoise(x: torch.Tensor, stage: Stage) -> torch.Tensor:
            chunks = x.chunk(len(self._seeds.pilot))  # equal, as a batch each
            return torch.cat([self._ask(chunk, stage.sigma, sigmas, seed) for chunk, seed in zip(chunks, self._seeds.pilot)])

        values = read_sigmas(sigmas)
        targets = [trajectory.at(values[stage.step + 1]) for stage in base.stages]
        return fit(base, denoise, trajectory.at(values[0]), targets, self._time, options)

    def _ask(self, x: torch.Tensor, sigma: float, sigmas: torch.Tensor, seed: int) -> torch.Tensor:
        """The model's output for a batch of pilots, through ComfyUI's sampling."""
        answers: list[torch.Tensor] = []

        def ask(
            model: Denoiser, start: torch.Tensor, sigmas: Sigmas, extra_args: ExtraArgs = None, *_: Any, **__: Any
        ) -> torch.Tensor:
            answer = model(x.to(start), torch.full((len(x),), sigma, dtype=torch.float32).to(start.device), **(extra_args or {}))
            answers.append(answer.detach().float().cpu())
            return start

        self._problem(ask, sigmas, seed)
        return answers[0]


class _Candidate(NamedTuple):
    """A fit that was made, and its distances on the selection seeds."""

    plan: Plan
    base: str
    fitting: Fitting
    distances: torch.Tensor
