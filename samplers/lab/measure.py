"""Errors of samplers and schedules at equal model calls, against the converged solution of the same ODE from the same noise."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch

from ..schedules import SigmaRange
from ..time_maps import TimeMap
from .distances import DIRECTIONS, Spread, relative_distance, sliced_distance, spread
from .fingerprint import fingerprint
from .reference import CAP, TOLERANCE, Reference, converge, reference_floor, reference_grid
from .steps import most_steps
from .store import Record, Store

MAX_BUDGET = 10_000
MAX_CELLS = 20_000  # a hundred samplers on twenty schedulers at ten budgets
# First sigmas that differ by less are equal up to rounding. Others belong to another problem, with its own reference.
_SAME_START = 1e-5
_TRIAL_STEPS = 12


class Entry(NamedTuple):
    """A sampler to measure, and its name."""

    name: str
    sampler: Any


class Schedule(NamedTuple):
    """A schedule to measure: its name, and steps -> SIGMAS that end at 0, with a ValueError if there is no such grid."""

    name: str
    grid: Callable[[int], torch.Tensor]


class DryRun(NamedTuple):
    """The model calls of a dry run on a grid, and whether the sampler draws noise."""

    calls: int
    stochastic: bool


class Runner(Protocol):
    """What is sampled, such as `nodes.lab_subject.Subject`."""

    fingerprint: str  # hash of everything that a result depends on, except the sampler, the grid and the seed
    seed: int  # of the noise
    shape: Sequence[int]  # of the samples, (batch, ...)

    def run(self, sampler: Any, sigmas: torch.Tensor) -> Any:
        """Sample; the result has samples, calls (of the model) and seconds."""

    def dry(self, sampler: Any, sigmas: torch.Tensor) -> DryRun:
        """Run the sampler on a formula instead of the model."""


@dataclass(frozen=True)
class PlannedCell:
    """A cell to measure."""

    entry: Entry
    schedule: str
    budget: int  # model calls allowed; 0 for a sampler that chooses its own steps
    sigmas: torch.Tensor  # the grid with the most steps that fit
    calls: int  # model calls by the dry run
    stochastic: bool
    key: str  # of its result in the store; two budgets in which the same steps fit share it


class Cell(NamedTuple):
    """A measured pair at a budget."""

    sampler: str
    schedule: str
    budget: int
    steps: int
    calls: int  # counted at the model
    start: float  # the first sigma
    stochastic: bool  # whether `distances` are between distributions, along random directions, or of items
    distances: torch.Tensor  # relative, to the reference, float64
    first: torch.Tensor  # the first item's result, (channels, ...)
    sigmas: torch.Tensor
    seconds: float  # duration of the run

    @property
    def spread(self) -> Spread:
        """Median and quartiles of the distances."""
        return spread(self.distances)

    @property
    def median(self) -> float:
        """Median distance."""
        return self.spread.median

    @property
    def pair(self) -> str:
        """Sampler and schedule, for tables."""
        return f"{self.sampler} + {self.schedule}"

    @property
    def column(self) -> int:
        """The budget, or the calls of a sampler that chooses its own steps, for tables."""
        return self.budget or self.calls


class Measurement:
    """Plans cells, solves the reference once for every start, and measures.

    The reference sampler is of third order with one model call per step; tolerance and cap are those of `converge`. `fatal` are
    exceptions that end the measurement; others end a cell and leave a note. If `fresh`, what is in the store is measured again.
    """

    def __init__(
        self,
        runner: Runner,
        reference_sampler: Any,
        time: TimeMap,
        sigma_range: SigmaRange,
        store: Store,
        tolerance: float = TOLERANCE,
        cap: int = CAP,
        fatal: tuple[type[BaseException], ...] = (),
        fresh: bool = False,
    ):
        self._runner, self._reference_sampler, self._time, self._sigma_range = runner, reference_sampler, time, sigma_range
        self._store, self._tolerance, self._cap, self._fatal, self._fresh = store, tolerance, cap, fatal, fresh
        self._subject = fingerprint(runner.fingerprint, runner.seed)
        self._dry: dict[tuple[str, str, int], int] = {}
        self.references: dict[float, Reference] = {}  # by first sigma
        self.notes: list[str] = []  # descriptions of what could not be measured, and why

    def plan(self, entries: Sequence[Entry], schedules: Sequence[Schedule], budgets: Sequence[int]) -> list[PlannedCell]:
        """Plan the cells: for every pair and budget the most steps that fit, found without the model.

        Raises:
            ValueError: a budget is not a whole number of 1 or more, or nothing can be measured; the message says why.
        """
        for budget in budgets:
            if not 1 <= budget <= MAX_BUDGET:
                raise ValueError(f"budgets must be whole numbers from 1 to {MAX_BUDGET}, got {budget}.")
        count = len(entries) * len(schedules) * len(budgets)
        if count > MAX_CELLS:
            raise ValueError(
                f"{len(entries)} samplers, {len(schedules)} schedulers and {len(budgets)} budgets are {count} cells to measure; "
                f"{MAX_CELLS} are the most. Name fewer of them."
            )
        cells: dict[tuple[str, str, int, str], PlannedCell] = {}
        for entry in entries:
            try:
                stochastic, adaptive = self._traits(entry, schedules[0].grid(_TRIAL_STEPS))
            except self._fatal:
                raise
            except Exception as error:  # code of another pack may raise anything
                self._note(f"{entry.name} cannot run: {short(error)}")
                continue
            if stochastic and self._runner.shape[0] < 2:
                self._note(f"{entry.name} draws noise, and one item has no distribution; take a batch of 32 or more")
                continue
            for schedule, budget in itertools.product(schedules, budgets[-1:] if adaptive else budgets):
                if plan := self._fit(entry, stochastic, adaptive, schedule, budget):
                    cells[entry.name, schedule.name, plan.budget, plan.key] = plan
        if not cells:
            raise ValueError(
                "nothing can be measured: " + "; ".join(self.notes or ["there are no samplers or no schedulers"]) + "."
            )
        if all(plan.stochastic for plan in cells.values()):
            reasons = "".join(f" {note}." for note in self.notes)
            raise ValueError(f"samplers has no ODE sampler, so there is no best pair; add one, such as exp_res.{reasons}")
        return sorted(cells.values(), key=lambda plan: plan.calls)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _traits(self, entry: Entry, sigmas: torch.Tensor) -> tuple[bool, bool]:
        """Whether a sampler draws noise, and whether it chooses its own steps and uses only the ends of the grid."""
        dry = self._runner.dry(entry.sampler, sigmas)
        try:
            ends = self._runner.dry(entry.sampler, sigmas[[0, -2, -1]]).calls
        except self._fatal:
            raise
        except Exception:  # the sampler needs more steps, so it follows the grid
            ends = 0
        return dry.stochastic, dry.calls == ends

    def _fit(self, entry: Entry, stochastic: bool, adaptive: bool, schedule: Schedule, budget: int) -> PlannedCell | None:
        """The cell with the most steps that fit; None and a note if there is none."""
        tried = budget

        def calls_of(steps: int) -> int:
            nonlocal tried
            tried = steps
            calls = self._calls(entry, schedule, schedule.grid(steps))
            return 0 if adaptive else calls

        try:
            steps = most_steps(calls_of, budget)
        except self._fatal:
            raise
        except Exception as error:  # code of another pack may raise anything
            self._note(f"{entry.name} on {schedule.name} cannot run in {tried} steps: {short(error)}")
            return None
        if not steps:
            self._note(f"{entry.name} on {schedule.name} needs more than {budget} model calls for a single step")
            return None
        sigmas = schedule.grid(steps)
        key = fingerprint(self._subject, entry.sampler, sigmas, self._tolerance, self._cap)
        calls = self._calls(entry, schedule, sigmas)
        return PlannedCell(entry, schedule.name, 0 if adaptive else budget, sigmas, calls, stochastic, key)

    def _calls(self, entry: Entry, schedule: Schedule, sigmas: torch.Tensor) -> int:
        known = entry.name, schedule.name, len(sigmas)
        if known not in self._dry:
            self._dry[known] = self._runner.dry(entry.sampler, sigmas).calls
        return self._dry[known]

    def remaining(self, planned: Sequence[PlannedCell]) -> int:
        """Model calls of the cells that are not in the store, without the references."""
        once = {plan.key: plan for plan in planned}.values()
        return sum(plan.calls for plan in once if self._record(plan) is None)

    def reference(self, start: float) -> Reference:
        """The reference from a first sigma, solved once by `converge`, which raises NotConverged."""
        for known, reference in self.references.items():
            if same_start(start, known):
                return reference
        self.references[start] = converge(lambda steps: self._solve(start, steps), self._tolerance, cap=self._cap)
        return self.references[start]

    def _solve(self, start: float, steps: int) -> torch.Tensor:
        """A level of the reference; all levels are kept, because they are the longest runs."""
        sigmas = reference_grid(steps, start, reference_floor(self._sigma_range, self._time), self._time)
        key = fingerprint("reference", self._subject, self._reference_sampler, sigmas)
        if not self._fresh and (record := self._store.get(key, tensors={"samples": self._runner.shape}, finite=True)):
            return record.tensors["samples"]
        samples = self._runner.run(self._reference_sampler, sigmas).samples
        self._store.put(key, {"steps": steps}, {"samples": samples})
        return samples

    def cells(self, planned: Sequence[PlannedCell]) -> Iterator[Cell]:
        """Measure all cells; each is stored before the next one starts. A cell that fails leaves a note.

        Raises:
            NotConverged: a reference is not finite, before any cell.
        """
        for plan in planned:
            self.reference(float(plan.sigmas[0]))
        done: dict[str, Cell] = {}
        for plan in planned:
            cell = done.get(plan.key) or self._from_store(plan) or self._measured(plan)
            if cell is not None:
                done[plan.key] = cell
                yield cell._replace(sampler=plan.entry.name, schedule=plan.schedule, budget=plan.budget)

    def _measured(self, plan: PlannedCell) -> Cell | None:
        """A cell that is measured and stored now; None and a note if it fails."""
        try:
            run = self._runner.run(plan.entry.sampler, plan.sigmas)
            distance = sliced_distance if plan.stochastic else relative_distance
            distances = distance(run.samples, self.reference(float(plan.sigmas[0])).samples)
        except self._fatal:
            raise
        except Exception as error:  # code of another pack may raise anything
            self._note(f"{plan.entry.name} on {plan.schedule} failed at {plan.calls} calls: {short(error)}")
            return None
        cell = _cell(plan, run.calls, run.seconds, distances, run.samples[0].clone())
        facts = {"calls": cell.calls, "seconds": cell.seconds, "stochastic": cell.stochastic}
        self._store.put(plan.key, facts, {"distances": cell.distances, "first": cell.first})
        return cell

    def _from_store(self, plan: PlannedCell) -> Cell | None:
        if (record := self._record(plan)) is None:
            return None
        facts, tensors = record
        return _cell(plan, facts["calls"], facts["seconds"], tensors["distances"], tensors["first"])

    def _record(self, plan: PlannedCell) -> Record | None:
        """The stored result of a cell; None if there is none, or it is to be measured again."""
        if self._fresh:
            return None
        shapes = {"distances": (DIRECTIONS if plan.stochastic else self._runner.shape[0],), "first": self._runner.shape[1:]}
        return self._store.get(plan.key, {"calls": int, "seconds": float}, shapes)


def _cell(plan: PlannedCell, calls: int, seconds: float, distances: torch.Tensor, first: torch.Tensor) -> Cell:
    which = plan.entry.name, plan.schedule, plan.budget, len(plan.sigmas) - 1
    return Cell(*which, calls, float(plan.sigmas[0]), plan.stochastic, distances, first, plan.sigmas, seconds)


def short(error: Exception) -> str:
    """The message of an error in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def same_start(one: float, other: float) -> bool:
    """Whether schedules with these first sigmas solve one ODE from one start."""
    return abs(one - other) <= _SAME_START * max(one, other)
