"""Runs samplers on cases at equal calls, and keeps what does not change."""

import math
from collections.abc import Iterable
from functools import cache, lru_cache
from types import SimpleNamespace

import torch

from samplers.lab.distances import spread
from samplers.lab.fingerprint import fingerprint, folder_digest
from samplers.lab.measure import same_start
from samplers.lab.steps import most_steps
from samplers.lab.store import Store

from .. import host, pages
from .cases import Case

MOST = 9.0  # errors beyond it, and those of runs that ended in NaN, count as this
STORE = pages.OUTPUT / "worlds"


class Model:
    """What the host hands to a sampler: the denoiser, with the model's sigmas where samplers look for them.

    Attributes:
        calls: made so far.
    """

    def __init__(self, denoised, model_sampling):
        self._denoised, self.calls = denoised, 0
        inner = SimpleNamespace(model_sampling=model_sampling)
        patcher = SimpleNamespace(get_model_object=lambda name: model_sampling, model=inner, model_options={})
        self.inner_model = SimpleNamespace(
            inner_model=inner, model_patcher=patcher, model_sampling=model_sampling, model_options={}, cfg=1.0
        )

    def __call__(self, x, sigma, **kwargs):
        self.calls += 1
        return self._denoised(x, float(sigma.reshape(-1)[0])).to(x.dtype)


def sampled(name: str, case: Case, sigmas: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Latents, and how often the model was called."""
    model = Model(case.denoised, case.model_sampling)
    return _call(name, model, case.start(float(sigmas[0])), sigmas), model.calls


def _call(name: str, model: Model, x: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    sampler = _sampler(name)
    options = {"extra_args": {"seed": 1, "model_options": {}}, "callback": None, "disable": True}
    return sampler.sampler_function(model, x, sigmas.clone(), **options, **sampler.extra_options)  # some write into the sigmas


_sampler = cache(host.sampler)


@cache
def steps_for(name: str, kind: str, calls: int) -> int:
    """The most steps of a sampler that fit, counted on a model that costs nothing; 0 where fewer than two fit."""
    case = next(case for case in _trial_cases() if case.kind == kind)

    def calls_of(steps):
        model = Model(lambda x, sigma: torch.zeros_like(x), case.model_sampling)
        _call(name, model, torch.ones(1, 1, 1, 1), case.grid("simple", steps))
        return model.calls

    return most_steps(calls_of, calls, least=2)


@lru_cache(maxsize=1)
def _trial_cases() -> list[Case]:
    return [Case("", "", kind, 1.0, 1, lambda: None) for kind in ("eps", "ddpm", "flow")]


class Bench:
    """Measures errors; solutions and errors are kept on the disk, by content.

    Args:
        store: where.

    Attributes:
        theirs: names of the host's samplers.
        baseline: the one that all are compared with too.
        measured: a name for what is measured, as results are kept by it.
    """

    theirs, baseline, measured = tuple(host.DETERMINISTIC), "euler", "host"

    def __init__(self, store: Store | None = None):
        self._store = store or Store(STORE)
        self._solutions: dict[str, list[tuple[float, torch.Tensor]]] = {}

    def solution(self, case: Case, start: float) -> torch.Tensor | None:
        """The converged solution from a start; None where something else is right."""
        if not case.has_solution:
            return None
        known = self._solutions.setdefault(case.key, [])
        for sigma, solution in known:
            if same_start(start, sigma):
                return solution
        key = fingerprint("solution", case.key, start)
        record = self._store.get(key, tensors={"solution": None}, finite=True)
        solution = record.tensors["solution"] if record else case.solution(start)
        if record is None:
            self._store.put(key, {"case": case.name}, {"solution": solution})
        known.append((start, solution))
        return solution

    def run(self, name: str, case: Case, scheduler: str, calls: int) -> tuple[torch.Tensor, float] | None:
        """Samples of the run with the most steps that fit, and the sigma where it began; None where none does."""
        steps = steps_for(name, case.kind, calls)
        if not steps:
            return None
        sigmas = case.grid(scheduler, steps)
        samples, made = sampled(name, case, sigmas)
        if made > calls:
            raise ValueError(f"{name} made {made} calls in {steps} steps of {scheduler}, but {calls} were allowed.")
        return samples, float(sigmas[0])

    def judge(self, name: str, case: Case, scheduler: str, calls: int) -> float:
        """Median relative error of a sampler; NaN where too few steps fit."""
        try:
            run = self.run(name, case, scheduler, calls)
        except FloatingPointError:  # our samplers tell of NaN
            return MOST
        if run is None:
            return math.nan
        samples, start = run
        return min(spread(case.error(samples, self.solution(case, start))).median, MOST)

    def contenders(self, cell: dict[str, float]) -> dict[str, float]:
        """Errors of the samplers that the best is taken from."""
        return cell

    def errors(self, case: Case, scheduler: str, names: Iterable[str]) -> dict[tuple[int, str], float]:
        """(calls, sampler) -> error; of the host's samplers and the pack's, what is on the disk is not measured again."""
        theirs, ours = set(self.theirs), set(host.pack("registry").SAMPLERS) - set(self.theirs)
        found = self._kept(case, scheduler, [name for name in names if name in theirs])
        found |= self._kept(case, scheduler, [name for name in names if name in ours], pack_digest())
        others = [name for name in names if name not in theirs | ours]
        return found | {(n, name): self.judge(name, case, scheduler, n) for n in case.calls for name in others}

    def missing(self, case: Case, scheduler: str, names: Iterable[str]) -> int:
        """Model calls of what is not on the disk, about."""
        known = self._known(self._key(case, scheduler)) | self._known(self._key(case, scheduler, pack_digest()))
        return sum(n for n in case.calls for name in names if f"{n} {name}" not in known)

    def _key(self, case: Case, scheduler: str, *more: str) -> str:
        from comfyui_version import __version__

        grids = [case.grid(scheduler, steps) for steps in range(2, max(case.calls) + 1)]
        return fingerprint(self.measured, __version__, torch.__version__, case.key, grids, *more)

    def _known(self, key: str) -> dict[str, float]:
        record = self._store.get(key)
        return dict(record.facts["errors"]) if record else {}

    def _kept(self, case: Case, scheduler: str, names: list[str], *more: str) -> dict[tuple[int, str], float]:
        if not names:
            return {}
        key = self._key(case, scheduler, *more)
        known, wanted = self._known(key), [(calls, name) for calls in case.calls for name in names]
        new = {f"{n} {name}": self.judge(name, case, scheduler, n) for n, name in wanted if f"{n} {name}" not in known}
        if new:
            known |= new
            self._store.put(key, {"case": case.name, "grid": scheduler, "errors": known}, {})
        return {(n, name): known[f"{n} {name}"] for n, name in wanted}


@cache
def pack_digest() -> str:
    """Of the pack's samplers, whose errors are measured again when they change."""
    return folder_digest(pages.ROOT / "samplers")
