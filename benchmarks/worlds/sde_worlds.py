"""SDE samplers in the same worlds: the distance between the distributions of samples and of the data.

An SDE has no single solution to compare with, but its samples should follow the right distribution. Without guidance this is the
distribution of the data. With guidance it is the distribution of a run of 120 steps of ComfyUI's `seeds_3`. The error is the
sliced Wasserstein distance between the samples and three sets of draws, relative to the spread of the draws along the same
directions, as the quadratic mean over 128 directions. Different sets of draws also have a distance from each other, whose square
is subtracted. What is left says nothing if it is smaller than half of the draws' own distance, so smaller errors count as this
half.
"""

import itertools
import math
import statistics
import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch

from samplers.lab.distances import sliced_distance
from samplers.lab.fingerprint import fingerprint
from samplers.lab.store import Store

from .. import pages
from . import exact_worlds
from .bench import Bench, sampled
from .scores import Row, rows_of
from .world_cases import Case, from_noise

CALLS = (10, 20, 30)
# ComfyUI's samplers that add noise; a registered name stands for its defaults.
THEIRS = (
    "euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde",
    "er_sde", "seeds_2", "seeds_3", "exp_heun_2_x0_sde", "sa_solver", "res_multistep_ancestral",
)  # fmt: skip
OURS = ("exp_res_sde", "exp_res_2m_sde", "exp_res_3s_sde", "exp_gddim_sde")
REFERENCE, STEPS, SETS = "seeds_3", 120, 3
_FINE = {"eps": "karras", "flow": "logsnr_uniform"}
_MOST = 1e3  # larger values, and runs that ended in NaN, count as this


class Draws(NamedTuple):
    """Independent sets of samples of the right distribution, each like the case's noise, and their mean square distance."""

    sets: list[torch.Tensor]
    distance: float


class Distributions(Bench):
    """Measures distances to the right distribution."""

    theirs, baseline = THEIRS, "euler_ancestral"

    def __init__(self, store: Store | None = None):
        super().__init__(store)
        self._draws: dict[str, Draws] = {}

    def draws(self, case: Case) -> Draws:
        """What samples of a case are compared with; made once."""
        if case.key not in self._draws:
            seeds = [case.seed + 1 + number for number in range(SETS)]
            if case.guidance == 1.0:
                sets = [case.denoiser.draw_any(case.batch, torch.Generator().manual_seed(seed)) for seed in seeds]
            else:
                sets = [self._stored(case, seed) for seed in seeds]
            self._draws[case.key] = Draws(sets, _mean_square(itertools.combinations(sets, 2)))
        return self._draws[case.key]

    def _stored(self, case: Case, seed: int) -> torch.Tensor:
        sigmas = case.grid(_FINE[case.kind], STEPS)
        key = fingerprint("draws", REFERENCE, case.key, sigmas, seed)
        if record := self._store.get(key, tensors={"draws": None}, finite=True):
            return record.tensors["draws"]
        draws, _ = sampled(REFERENCE, replace(case, seed=seed), sigmas, seed)
        self._store.put(key, {"case": case.name}, {"draws": draws})
        return draws

    def definition(self, case: Case) -> str:
        """Made of the draws and of what `error` says about a probe, so that another definition finds no stored results."""
        draws = self.draws(case)
        return fingerprint(draws.sets, draws.distance, self.error(case.noise, draws))

    def error(self, samples: torch.Tensor, draws: Draws) -> float:
        """How far samples are from the distribution of the draws, beyond the distance of the sets from each other."""
        beyond = _mean_square((samples, one) for one in draws.sets) - draws.distance
        return math.sqrt(max(beyond, draws.distance / 4))

    def judge(self, name: str, case: Case, scheduler: str, calls: int) -> float:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="torchsde")  # its noise interval may end one rounding error too early
                run = self.run(name, case, scheduler, calls)
        except FloatingPointError:  # our samplers raise this on NaN
            return self.error(torch.full_like(case.noise, _MOST), self.draws(case))
        if run is None:
            return math.nan
        return self.error(run[0].clamp(-_MOST, _MOST).nan_to_num(_MOST), self.draws(case))


def _mean_square(pairs: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
    return statistics.fmean(float(sliced_distance(a, b).square().mean()) for a, b in pairs)


def cases(seed: int) -> list[Case]:
    """Cases with many items, on the usual grids of the kind of model; digits and ring also on ours."""
    result = []
    for label, world, kind, shift, guidance, batch, grids in (
        ("photo", exact_worlds.photo, "eps", 1, 1, 192, ("karras", "simple")),
        ("photo", exact_worlds.photo, "eps", 1, 4, 96, ("karras", "simple")),
        ("photo", exact_worlds.photo, "eps", 1, 7, 96, ("karras", "simple")),
        ("photo", exact_worlds.photo, "flow", 3, 1, 192, ("simple",)),
        ("photo", exact_worlds.photo, "flow", 3, 4, 96, ("simple", "beta")),
        ("latent 64", partial(exact_worlds.latent, 64), "eps", 1, 1, 48, ("karras",)),
        ("latent 64", partial(exact_worlds.latent, 64), "flow", 3, 1, 48, ("simple",)),
        ("digits", exact_worlds.digit_mixture, "eps", 1, 1, 512, ("karras", "logsnr_arctan")),
        ("digits", exact_worlds.digit_mixture, "eps", 1, 5, 512, ("karras", "simple")),
        ("digits", exact_worlds.digit_mixture, "flow", 3, 4, 512, ("simple", "beta")),
        ("ring", exact_worlds.ring, "eps", 1, 1, 1024, ("karras", "logsnr_arctan")),
    ):
        world_name = label.split()[0]
        result.append(from_noise(world_name, world, kind, guidance, batch, shift, label, grids=grids, calls=CALLS, seed=seed))
    return result


def rows(seed: int, words: tuple[str, ...] = (), calls: tuple[int, ...] = CALLS, bench: Bench | None = None) -> list[Row]:
    """The rows of our SDE samplers and of all of ComfyUI's, in all worlds or in those whose names contain one of the words."""
    bench, result = bench or Distributions(), []
    for case in cases(seed):
        if words and case.world not in words:
            continue
        case.calls = calls
        for scheduler in case.grids:
            result += rows_of(bench, case, scheduler, (*OURS, *bench.theirs))
        pages.say(f"{case.name} done, as a distribution")
    return result
