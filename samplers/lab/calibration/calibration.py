"""Calibrating a solver: pilots along a reference, candidates judged on selection seeds, the winner measured on test seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

import torch

from ...gddim.isotropic import gddim_plan
from ...grid import read_sigmas
from ...loop import run
from ...multistep import multistep_plan, rule_plan
from ...plan import Plan, Stage
from ...res import EXP_RES, SOLVERS, Planner
from ...signature import Callback, Denoiser, ExtraArgs, Sigmas
from ...single_step import single_step_plan
from ...tableaus import res_3s
from ...time_maps import FLOW, FLOW_LOG_SIGMA, TimeMap
from ..distances import relative_distance
from ..reference import NotConverged
from .budget import BASES, BASES_FITTED, HISTORIES, RIDGES, Seeds, Settings, split_seeds
from .file import MAX_CALLS
from .fitting import Fitted, Fitting, fit
from .search import GridCurve, search
from .trajectory import Recorder, Trajectory, fine_grid, joined

# Relative distances below are rounding, those above are all lost; their logarithms say nothing.
_LEAST, _MOST = 1e-7, 1e3


Function = Callable[..., torch.Tensor]  # of (model, x, sigmas, extra_args, callback, disable)


class Problem(Protocol):
    """A model with its prompts and a latent, that samples from the noise of a seed."""

    def __call__(self, function: Function, sigmas: torch.Tensor, seed: int) -> torch.Tensor:
        """Samples, (items, ...), by the function or another sampler of its own."""


def bases(sigmas: Sigmas, time: TimeMap) -> dict[str, Plan]:
    """The analytic plans, by name; that of exp_res is its first rule, as a fit has weights of its own and leaves no choice."""
    of_one_call: dict[str, Planner] = {
        **SOLVERS,
        "exp_res": partial(rule_plan, rule=EXP_RES[0]),
        "exp_res_1m": partial(multistep_plan, order=1),
        "exp_gddim": gddim_plan,
    }
    return {name: of_one_call[name](sigmas, time=time) for name in BASES}


_DEFAULTS = Settings()


class Errors(NamedTuple):
    """Relative distances to the reference, over items."""

    median: float
    log_mean: float  # exp of the mean log

    @classmethod
    def of(cls, distances: torch.Tensor) -> "Errors":
        """Of distances of items, (items,)."""
        return cls(float(distances.quantile(0.5)), float(_logs(distances).mean().exp()))


def clearly_less(distances: torch.Tensor, others: torch.Tensor) -> bool:
    """Whether the mean log of distances is below that of others, item by item, by more than its standard error."""
    difference = _logs(distances) - _logs(others)
    return float(difference.mean()) < -float(difference.std()) / math.sqrt(len(difference))


def _logs(distances: torch.Tensor) -> torch.Tensor:
    return distances.clamp(_LEAST, _MOST).log()


def distances(samples: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Relative, per item; infinite where a sample is not finite."""
    return relative_distance(samples, reference).nan_to_num(nan=math.inf)


@dataclass
class Calibrated:
    """What a calibration found.

    Attributes:
        sigmas: the grid, moved or as given.
        plan: on it.
        base, how: what the plan was made from; `how` is None where the analytic plan was better.
        selection: errors on selection seeds, by name: of the bases and of the plan.
        test: errors on test seeds: of "base" (on the given grid) and "calibrated", and of the methods compared with.
        seeds: used.
        reference: steps of it, and how far it was from one of half as many.
        moved: whether the grid was.
    """

    sigmas: torch.Tensor
    plan: Plan
    base: str
    how: Fitting | None
    seeds: Seeds
    reference: tuple[int, float]
    moved: bool = False
    selection: dict[str, Errors] = field(default_factory=dict)
    test: dict[str, Errors] = field(default_factory=dict)


def function_of(plan: Plan) -> Function:
    """A plan as a k-diffusion sampler."""

    def sample(
        model: Denoiser,
        x: torch.Tensor,
        sigmas: Sigmas,
        extra_args: ExtraArgs = None,
        callback: Callback = None,
        disable: bool | None = None,
    ) -> torch.Tensor:
        return run(plan, model, x, sigmas, extra_args, callback, True)

    return sample


class Calibration:
    """One calibration, step by step.

    Args:
        problem: what is sampled.
        sigmas: the grid, falling.
        time: the time map of the model, VE or FLOW.
        floor: sigma from which the reference steps to 0, as low as the model can tell sigmas apart.
        seed: the first of the seeds.
        batch: items the problem gives for a seed.
        settings: how much is spent.
    """

    def __init__(
        self,
        problem: Problem,
        sigmas: Sigmas,
        time: TimeMap,
        floor: float,
        seed: int,
        batch: int,
        settings: Settings = _DEFAULTS,
    ):
        self._problem, self._time, self._floor, self._settings = problem, time, floor, settings
        self._sigmas = torch.tensor(read_sigmas(sigmas), dtype=torch.float32)
        if len(self._sigmas) < 3 or self._sigmas[0] <= self._sigmas[-1]:
            raise ValueError(f"sigmas must fall and have two steps or more to calibrate on, got {self._sigmas.tolist()!s:.60}.")
        if len(self._sigmas) - 1 > MAX_CALLS:
            raise ValueError(f"sigmas have {len(self._sigmas) - 1} steps; {MAX_CALLS} are the most that a calibration can hold.")
        self._seeds = split_seeds(seed, settings, batch)
        self._bases = bases(self._sigmas, time)  # checks the grid
        self._steps = settings.first

    @property
    def level(self) -> int:
        """Steps of the reference so far; at least one doubling is to come, or has been."""
        return max(self._steps, 2 * self._settings.first)

    def run(self, others: dict[str, Function] | None = None) -> Calibrated:
        """All of it.

        Args:
            others: samplers that the problem takes, by name, to compare with on test seeds.

        Raises:
            NotConverged: the reference does not settle within the cap.
            FloatingPointError: a run came to hold NaN or infinity.
        """
        trajectory, agreed = self._reference()
        ends = self._ends(self._seeds.selection)

        def measured(plan: Plan, sigmas: torch.Tensor = self._sigmas) -> torch.Tensor:
            return self._distances(function_of(plan), sigmas, self._seeds.selection, ends)

        analytic = {name: measured(plan) for name, plan in self._bases.items()}
        selection = {name: Errors.of(distances) for name, distances in analytic.items()}
        by_error = sorted(selection, key=lambda name: selection[name].log_mean)
        base = by_error[0]
        found = Calibrated(self._sigmas, self._bases[base], base, None, self._seeds, (self._steps, agreed), selection=selection)
        least = selection["calibrated"] = selection[base]
        chosen = analytic[base]
        for name in by_error[:BASES_FITTED]:
            for how in (Fitting(ridge, history, self._settings.robust) for history in HISTORIES for ridge in RIDGES):
                try:
                    plan = self._fitted(self._bases[name], self._sigmas, trajectory, how).plan
                except FloatingPointError:  # of a fit that runs away
                    continue
                result = measured(plan)
                if Errors.of(result).log_mean < least.log_mean:
                    least = Errors.of(result)
                    if clearly_less(result, analytic[base]):
                        found.plan, found.base, found.how, selection["calibrated"] = plan, name, how, least
                        chosen = result
        if self._settings.move_grid:
            self._move_grid(found, trajectory, measured, chosen)
        self._test(found, base, others or {})
        return found

    def _move_grid(
        self, found: Calibrated, trajectory: Trajectory, measured: Callable[..., torch.Tensor], chosen: torch.Tensor
    ) -> None:
        """Search on the pilots, with what was chosen; kept if it wins on the selection seeds, where that has errors `chosen`."""
        curve, how = GridCurve(self._sigmas, self._time, self._floor), found.how or Fitting(RIDGES[-1])
        if not curve.movable:
            return

        def fitted(grid: list[float]) -> Fitted:
            sigmas = torch.tensor(grid, dtype=torch.float32)
            return self._fitted(bases(sigmas, self._time)[found.base], sigmas, trajectory, how)

        def pilot_error(grid: list[float]) -> float:
            try:
                return Errors.of(distances(fitted(grid).end, trajectory.end)).log_mean
            except FloatingPointError:
                return math.inf

        grid = search(curve, pilot_error, pilot_error(read_sigmas(self._sigmas)))
        if grid is None:
            return
        sigmas, plan = torch.tensor(grid, dtype=torch.float32), fitted(grid).plan
        moved = measured(plan, sigmas)
        if clearly_less(moved, chosen):
            found.sigmas, found.plan, found.how, found.moved = sigmas, plan, how, True
            found.selection["calibrated"] = Errors.of(moved)

    def _test(self, found: Calibrated, base: str, others: dict[str, Function]) -> None:
        seeds = self._seeds.test
        if not seeds:
            return
        ends = self._ends(seeds)
        methods = {"base": function_of(self._bases[base]), **others}
        found.test = {name: Errors.of(self._distances(method, self._sigmas, seeds, ends)) for name, method in methods.items()}
        found.test["calibrated"] = Errors.of(self._distances(function_of(found.plan), found.sigmas, seeds, ends))

    def _reference(self) -> tuple[Trajectory, float]:
        """Of the pilots, on as many steps as it takes; and how far their samples were from the ones on half as many."""
        settings, self._steps = self._settings, self._settings.first
        wanted = None if settings.move_grid else self._sigmas
        before = None
        while True:
            solved = [self._solve(seed, wanted) for seed in self._seeds.pilot]
            samples = torch.cat([end for _, end in solved])
            moved = math.inf if before is None else float(distances(samples, before).quantile(0.5))
            if moved <= settings.tolerance:
                return joined([trajectory for trajectory, _ in solved]), moved
            if 2 * self._steps > settings.cap:
                raise NotConverged(
                    f"the reference still moves by {moved:.1e} (median, relative) at {self._steps} steps, above the tolerance "
                    f"of {settings.tolerance:g}, so there is nothing to calibrate to. Less guidance or SIGMAS that start lower "
                    "help; a model that adds noise of its own cannot be calibrated."
                )
            before, self._steps = samples, 2 * self._steps

    def _solve(self, seed: int, wanted: Sigmas | None) -> tuple[Trajectory, torch.Tensor]:
        """The reference of a seed, on the present number of steps, kept at `wanted` (None: everywhere); and its samples."""
        fine = torch.tensor(fine_grid(self._sigmas.tolist(), self._time, self._floor, self._steps), dtype=torch.float32)
        plan = single_step_plan(fine, res_3s(), FLOW_LOG_SIGMA if self._time.is_like(FLOW) else self._time)
        recorder = Recorder(wanted)
        ends: list[torch.Tensor] = []

        def sample(
            model: Denoiser,
            x: torch.Tensor,
            sigmas: Sigmas,
            extra_args: ExtraArgs = None,
            callback: Callback = None,
            disable: bool | None = None,
        ) -> torch.Tensor:
            ends.append(run(plan, model, x, fine, extra_args, recorder, True))
            return ends[0].clone()  # the host goes on with it in place

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

    def _fitted(self, base: Plan, sigmas: torch.Tensor, trajectory: Trajectory, how: Fitting) -> Fitted:
        """The base fitted to the pilots, all of them in step."""

        def denoise(x: torch.Tensor, stage: Stage) -> torch.Tensor:
            chunks = x.chunk(len(self._seeds.pilot))  # equal, as a batch each
            return torch.cat([self._ask(chunk, stage.sigma, sigmas, seed) for chunk, seed in zip(chunks, self._seeds.pilot)])

        values = read_sigmas(sigmas)
        targets = [trajectory.at(values[stage.step + 1]) for stage in base.stages]
        return fit(base, denoise, trajectory.at(values[0]), targets, self._time, how)

    def _ask(self, x: torch.Tensor, sigma: float, sigmas: torch.Tensor, seed: int) -> torch.Tensor:
        """The model's answer for a batch of pilots, through the whole of the host's sampling."""
        answers: list[torch.Tensor] = []

        def ask(
            model: Denoiser,
            start: torch.Tensor,
            sigmas: Sigmas,
            extra_args: ExtraArgs = None,
            callback: Callback = None,
            disable: bool | None = None,
        ) -> torch.Tensor:
            answer = model(x.to(start), torch.full((len(x),), sigma, dtype=torch.float32).to(start.device), **(extra_args or {}))
            answers.append(answer.detach().float().cpu())
            return start

        self._problem(ask, sigmas, seed)
        return answers[0]
