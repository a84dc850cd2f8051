"""Calibrates a solver: fits on pilots along a reference, a choice on selection seeds, and a measurement on test seeds."""

import contextlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import torch

from ...calibration_file import MAX_CALLS
from ...grid import read_sigmas
from ...loop import run
from ...multistep import multistep_plan
from ...plan import Plan, Stage
from ...signature import Denoiser, ExtraArgs, Sigmas
from ...time_maps import TimeMap
from ..distances import spread
from ..reference import NotConverged
from .fitting import BASES, TRIALS, Fitted, Fitting, GridCurve, Trajectory, bases, fine_grid, fit, joined, recorded
from .results import CAREFUL, HISTORIES, LEAST, RIDGES, Calibrated, Cost, Errors, Settings, Settled, clearly_less, distances

# Solutions with a larger relative difference have nothing in common.
_NO_SOLUTION = 0.5
_ANALYTIC, _PROBE = Fitting(math.inf), Fitting(RIDGES[1], HISTORIES[0])
_ERROR = attrgetter("error")


class _Candidate(NamedTuple):
    """A plan with its base and the settings of its fit, and its distances on the selection seeds."""

    plan: Plan
    base: str
    fitting: Fitting | None
    distances: torch.Tensor

    @property
    def error(self) -> float:
        return Errors.of(self.distances).log_mean


class Calibration:
    """One calibration of a falling grid on a model with the time map VE or FLOW.

    Args:
        problem: problem(sampler, sigmas, seed) -> samples, (batch, ...), of a model with its prompts and a latent from the noise
            of a seed, by a function of (model, x, sigmas, extra_args, callback, disable) or by a rival.
        floor: sigma from which the reference steps to 0, the lowest sigma that the model can distinguish.
        seed: the first of the seeds.
        rivals: samplers of one call per step, by name, for comparison on the test seeds.
        fatal: exceptions of a rival that end the calibration; others leave the rival out.
    """

    def __init__(
        self,
        problem: Callable[[Any, torch.Tensor, int], torch.Tensor],
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
        self._steps = len(self._sigmas) - 1
        if self._steps < 2 or self._sigmas[0] <= self._sigmas[-1]:
            raise ValueError(f"sigmas must fall and have two steps or more to calibrate on, got {self._sigmas.tolist()!s:.60}.")
        if self._steps > MAX_CALLS:
            raise ValueError(f"sigmas have {self._steps} steps; {MAX_CALLS} are the most that a calibration can hold.")
        self._seeds = settings.seeds(seed, batch)
        self._bases = bases(self._sigmas, time)  # checks the grid
        if any(len(plan.stages) < self._steps for plan in self._bases.values()):
            raise ValueError(f"sigmas repeat an entry, up to rounding, in {self._steps} steps; build them with fewer steps.")
        self._levels = settings.references(self._steps)
        self._level, self._probes = 1, 0

    @property
    def cost(self) -> Cost:
        """The smallest and largest number of model calls; a candidate that diverges or an invalid grid saves some more."""
        levels = self._settings.levels
        # two levels may be too coarse to fit to; otherwise the base is kept after the fits
        least = self._calls(2, 0, fits=levels > 2, chosen=False)
        return Cost(least, self._calls(levels, 2 * (levels - 2)))

    @property
    def expected(self) -> int:
        """All model calls, if a fit is chosen and the reference needs no further level."""
        return self._calls(max(self._level, 2), self._probes)

    def _calls(self, levels: int, probes: int, fits: bool = True, chosen: bool = True) -> int:
        """All model calls, with or without fits, and with or without a fit to test."""
        settings, (pilot, selection, test) = self._settings, map(len, self._seeds)
        references = [len(self._fine(steps)) - 1 for steps in self._levels[:levels]]
        runs = (len(BASES) + probes) * pilot + (1 + settings.thorough) * selection + (1 + chosen + len(self._rivals)) * test
        if fits:
            runs += (len(settings.ridges) * (1 + settings.thorough) + settings.thorough) * (pilot + selection)
        if fits and settings.move_grid:
            runs += (TRIALS + 1) * pilot + selection
        return runs * self._steps + sum(references) * pilot + references[-1] * (selection + test)

    def run(self) -> Calibrated:
        """Choose a plan and test it, with the errors of `choose`."""
        result = self.choose()
        self.test(result)
        return result

    def choose(self) -> Calibrated:
        """Fit and select a plan; it has no errors on test seeds yet.

        Raises:
            NotConverged: the last two levels of the reference have nothing in common.
            FloatingPointError: a run gives NaN or infinity.
        """
        trajectory, names, reference = self._reference()
        ends = self._ends(self._seeds.selection)

        def measured(plan: Plan, sigmas: torch.Tensor = self._sigmas) -> torch.Tensor:
            return self._distances(partial(run, plan), sigmas, self._seeds.selection, ends)

        names = names[: 1 + self._settings.thorough]
        analytic = [_Candidate(self._bases[name], name, None, measured(self._bases[name])) for name in names]
        base = chosen = min(analytic, key=_ERROR)
        grid = None
        if not reference.coarse:  # otherwise there is nothing to fit to
            best = self._best_fit(names, trajectory, measured)
            if best is not None and clearly_less(best.distances, base.distances, self._settings.noise):
                chosen = best
            if self._settings.move_grid:
                chosen, grid = self._move_grid(chosen, trajectory, measured)
        sigmas = self._sigmas if grid is None else grid
        return Calibrated(
            sigmas, chosen.plan, base.base, chosen.base, chosen.fitting, self._seeds, reference, grid is not None,
            {"base": Errors.of(base.distances), "calibrated": Errors.of(chosen.distances)},
        )  # fmt: skip

    def _best_fit(
        self, names: Sequence[str], trajectory: Trajectory, measured: Callable[[Plan], torch.Tensor]
    ) -> _Candidate | None:
        """The candidate with the least error on the selection seeds: first by base and ridge, then by history."""
        candidates: list[_Candidate] = []

        def attempt(name: str, options: Fitting) -> None:
            with contextlib.suppress(FloatingPointError):  # error of a fit that diverges
                plan = self._fitted(self._bases[name], self._sigmas, trajectory, options).plan
                candidates.append(_Candidate(plan, name, options, measured(plan)))

        for name in names:
            for ridge in self._settings.ridges:
                attempt(name, Fitting(ridge, HISTORIES[0]))
        best = min(candidates, key=_ERROR, default=None)
        if self._settings.thorough and best is not None and best.fitting is not None:
            attempt(best.base, best.fitting._replace(history=HISTORIES[1]))
        return min(candidates, key=_ERROR, default=None)

    def _move_grid(
        self, chosen: _Candidate, trajectory: Trajectory, measured: Callable[..., torch.Tensor]
    ) -> tuple[_Candidate, torch.Tensor | None]:
        """A fit on a grid that was found on the pilots, if it wins on the selection seeds; otherwise `chosen` and None."""
        options = chosen.fitting or Fitting(RIDGES[-1])

        def fitted(grid: list[float]) -> Fitted:
            sigmas = torch.tensor(grid, dtype=torch.float32)
            return self._fitted(BASES[chosen.base](sigmas, time=self._time), sigmas, trajectory, options)

        def pilot_error(grid: list[float]) -> float:
            try:
                return Errors.of(distances(fitted(grid).end, trajectory.end)).log_mean
            except FloatingPointError:
                return math.inf

        grid = GridCurve(self._sigmas, self._time, self._floor).search(pilot_error)
        if grid is None:
            return chosen, None
        sigmas, plan = torch.tensor(grid, dtype=torch.float32), fitted(grid).plan
        own = _Candidate(plan, chosen.base, options, measured(plan, sigmas))
        return (own, sigmas) if clearly_less(own.distances, chosen.distances, self._settings.noise) else (chosen, None)

    def test(self, result: Calibrated) -> None:
        """Add the errors of a chosen plan and of the rivals on the test seeds."""
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
        result.test["calibrated"] = result.test["base"]
        if not result.kept:
            result.test["calibrated"] = Errors.of(self._distances(partial(run, result.plan), result.sigmas, seeds, ends))

    def _reference(self) -> tuple[Trajectory, list[str], Settled]:
        """The pilots' solution with as many steps as the fit needs, the names of the bases, the best first, and its quality."""
        self._level = 1
        solved = self._pilots()
        ends = {name: self._analytic_end(plan, solved) for name, plan in self._bases.items()}
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
        return solved, names, settled

    def _settled(self, before: Trajectory, solved: Trajectory, base: str, error: float) -> Settled:
        """The quality of the present level, by the level before and the best base's median error."""
        change = spread(distances(before.end, solved.end)).median
        share = change / max(error, LEAST)
        if share <= self._settings.share:
            why = "agrees"
        elif self._level == len(self._levels):
            why = "cap"
        else:
            why = "no gain" if share < 1.0 and not self._changes_the_fit(self._bases[base], before, solved) else ""
        return Settled(self._levels[self._level - 1], change, share, why)

    def _analytic_end(self, base: Plan, trajectory: Trajectory) -> torch.Tensor:
        """The pilots' results by a base; infinite if it diverges."""
        try:
            return self._fitted(base, self._sigmas, trajectory, _ANALYTIC).end
        except FloatingPointError:
            return torch.full_like(trajectory.end, math.inf)

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
        solved: list[Trajectory] = []

        def sample(
            model: Denoiser, x: torch.Tensor, sigmas: Sigmas, extra_args: ExtraArgs = None, *_: Any, **__: Any
        ) -> torch.Tensor:
            solved.append(recorded(plan, model, x, fine, extra_args, wanted))
            return solved[0].end.to(x, copy=True)  # ComfyUI continues with it in place

        samples = self._problem(sample, fine, seed)
        return solved[0], samples

    def _ends(self, seeds: Sequence[int]) -> torch.Tensor:
        """The reference's samples of some seeds."""
        return torch.cat([self._solve(seed, ())[1] for seed in seeds])

    def _distances(self, sampler: Any, sigmas: torch.Tensor, seeds: Sequence[int], ends: torch.Tensor) -> torch.Tensor:
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
