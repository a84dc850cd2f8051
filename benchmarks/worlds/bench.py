"""Runs samplers on cases at equal calls, and stores results that do not change."""

import itertools
import math
from collections.abc import Iterable
from functools import cache

import torch

from samplers.lab.distances import spread
from samplers.lab.fingerprint import fingerprint
from samplers.lab.measure import same_start
from samplers.lab.steps import most_steps
from samplers.lab.store import Store

from .. import host_samplers, pages
from ..host_samplers import Denoiser
from . import exact_worlds
from .world_cases import CALLS, Case, from_noise

MOST = 9.0  # larger errors, and errors of runs that ended in NaN, count as this
LEAST = 3.0  # errors below this multiple of the error of a solution that missed its tolerance count as this multiple
STORE = pages.OUTPUT / "worlds"


def sampled(name: str, case: Case, sigmas: torch.Tensor, seed: int = 1) -> tuple[torch.Tensor, int]:
    """Latents, and the number of model calls; the seed is that of an SDE sampler's noise."""
    model = Denoiser(lambda x, sigma: case.denoised(x, float(sigma.reshape(-1)[0])).to(x.dtype), case.model_sampling)
    return _call(name, model, case.start(float(sigmas[0])), sigmas, seed), model.calls


def _call(name: str, model: Denoiser, x: torch.Tensor, sigmas: torch.Tensor, seed: int = 1) -> torch.Tensor:
    sampler = _sampler(name)
    options = {"extra_args": {"seed": seed, "model_options": {}}, "callback": None, "disable": True}
    return sampler.sampler_function(model, x, sigmas.clone(), **options, **sampler.extra_options)  # some write into the sigmas


_sampler = cache(host_samplers.sampler)


@cache
def steps_for(name: str, kind: str, calls: int) -> int:
    """The most steps of a sampler that fit the calls, counted on a free model; 0 if fewer than two fit."""
    case = Case("", "", kind, 1.0, 1, lambda: None)

    def calls_of(steps):
        model = Denoiser(lambda x, sigma: torch.zeros_like(x), case.model_sampling)
        _call(name, model, torch.ones(1, 1, 1, 1), case.grid("simple", steps))
        return model.calls

    return most_steps(calls_of, calls, least=2)


@cache
def behaviour(name: str) -> str:
    """Digest of what a sampler does: its results on small models, with and without guidance, from noise and from an image."""
    settings = itertools.product(("eps", "flow"), (1.0, 7.0), (1.0, 0.3))
    probes = [from_noise("", exact_worlds.ring, kind, guidance, 2, denoise=denoise) for kind, guidance, denoise in settings]
    runs = ((case, case.grid(scheduler, steps)) for case in probes for scheduler in case.grids[::4] for steps in (2, 6, 20))
    return fingerprint(*(sampled(name, case, sigmas)[0] for case, sigmas in runs))


class Bench:
    """Measures errors; solutions and errors are stored on disk, addressed by content.

    Args:
        store: where results are stored; None for output/worlds.

    Attributes:
        theirs: names of ComfyUI's samplers.
        baseline: the sampler with which all others are also compared.
        missed: case -> by how much its worst solution missed its tolerance, for measured cases with such a solution.
    """

    theirs, baseline = tuple(host_samplers.DETERMINISTIC), "euler"

    def __init__(self, store: Store | None = None):
        self._store = store or Store(STORE)
        self._solutions: dict[str, list[tuple[float, torch.Tensor, float]]] = {}
        self.missed: dict[str, float] = {}

    def solution(self, case: Case, start: float) -> tuple[torch.Tensor | None, float]:
        """The solution from a start, and the distance of its two finest levels if it exceeds the tolerance, else 0.

        None for cases in which the ODE's solution is not the right result.
        """
        if not case.has_solution:
            return None, 0.0
        known = self._solutions.setdefault(case.key, [])
        for sigma, *result in known:
            if same_start(start, sigma):
                return result
        key = fingerprint("solution", case.key, start)
        if record := self._store.get(key, tensors={"solution": None}, finite=True):
            result = record.tensors["solution"], record.facts.get("missed", 0.0)
        else:
            solved = case.solution(start)
            result = solved.samples, 0.0 if solved.converged else solved.agreement
            self._store.put(key, {"case": case.name, "missed": result[1]}, {"solution": result[0]})
        known.append((start, *result))
        return result

    def run(self, name: str, case: Case, scheduler: str, calls: int) -> tuple[torch.Tensor, float] | None:
        """Samples of the run with the most steps that fit, and its first sigma; None if no run fits."""
        steps = steps_for(name, case.kind, calls)
        if not steps:
            return None
        sigmas = case.grid(scheduler, steps)
        samples, made = sampled(name, case, sigmas)
        if made > calls:
            raise ValueError(f"{name} made {made} calls in {steps} steps of {scheduler}, but {calls} were allowed.")
        return samples, float(sigmas[0])

    def definition(self, case: Case) -> str:
        """What tells this kind of error from others in the key of stored results."""
        return "host"

    def judge(self, name: str, case: Case, scheduler: str, calls: int) -> float:
        """Median relative error of a sampler; NaN if too few steps fit."""
        try:
            run = self.run(name, case, scheduler, calls)
        except FloatingPointError:  # our samplers raise this on NaN
            return MOST
        if run is None:
            return math.nan
        samples, start = run
        solution, missed = self.solution(case, start)
        if missed:
            self.missed[case.name] = max(missed, self.missed.get(case.name, 0.0))
        return min(max(spread(case.error(samples, solution)).median, LEAST * missed), MOST)

    def errors(self, case: Case, scheduler: str, names: Iterable[str]) -> dict[tuple[int, str], float]:
        """(calls, sampler) -> error; stored results of ComfyUI's and the pack's samplers are not measured again."""
        result, keys = {}, self._keys(case, scheduler, names)
        for key, some in keys.items():
            result |= self._kept(key, case, scheduler, some)
        others = [name for name in names if not any(name in some for some in keys.values())]
        return result | {(n, name): self.judge(name, case, scheduler, n) for n in case.calls_on(scheduler) for name in others}

    def missing(self, case: Case, scheduler: str, names: Iterable[str]) -> int:
        """Approximate number of model calls for results that are not on disk."""
        known = {entry for key in self._keys(case, scheduler, names) for entry in self._facts(key)["errors"]}
        return sum(n for n in case.calls_on(scheduler) for name in names if f"{n} {name}" not in known)

    def _keys(self, case: Case, scheduler: str, names: Iterable[str]) -> dict[str, list[str]]:
        """Key of a record -> samplers whose errors it has: one record for ComfyUI's samplers, and one for each of the pack's."""
        from comfyui_version import __version__

        grids = [case.grid(scheduler, steps) for steps in range(2, max(CALLS) + 1)]
        key = fingerprint(self.definition(case), __version__, torch.__version__, case.key, grids)
        ours = [name for name in names if name in host_samplers.pack("samplers").METHODS]
        return {key: [name for name in names if name in self.theirs]} | {
            fingerprint(key, behaviour(name)): [name] for name in ours if name not in self.theirs
        }

    def _facts(self, key: str) -> dict[str, dict]:
        record = self._store.get(key)
        return {"errors": {}, "missed": {}} | (record.facts if record else {})

    def _kept(self, key: str, case: Case, scheduler: str, names: list[str]) -> dict[tuple[int, str], float]:
        facts, wanted = self._facts(key), [(calls, name) for calls in case.calls_on(scheduler) for name in names]
        known, before = facts["errors"], len(facts["errors"])
        self.missed |= {name: max(missed, self.missed.get(name, 0.0)) for name, missed in facts["missed"].items()}
        for n, name in wanted:
            if f"{n} {name}" not in known:
                known[f"{n} {name}"] = self.judge(name, case, scheduler, n)
        if len(known) > before:
            missed = {name: missed for name, missed in self.missed.items() if name == case.name}
            self._store.put(key, {"case": case.name, "grid": scheduler, "errors": known, "missed": missed}, {})
        return {(n, name): known[f"{n} {name}"] for n, name in wanted}
