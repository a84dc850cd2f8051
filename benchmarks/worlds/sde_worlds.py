"""SDE samplers in the same worlds: the distance between the distributions of samples and of the data.

An SDE has no single solution to compare with, but its samples should follow the distribution of the data. The table gives the
sliced Wasserstein distance between samples and draws of the data, relative to the spread of the data along the same directions,
as the quadratic mean over 128 directions. Two sets of draws also have a distance, which is the row *draws of the data*; no
sampler can be expected to have a smaller one. All of these worlds have a formula for the denoiser and no guidance.
"""

import math
import warnings
from functools import partial

import torch

from samplers.lab.distances import sliced_distance

from .. import pages
from . import exact_worlds
from .bench import Bench
from .scores import Row, rows_of
from .world_cases import Case

CALLS = (10, 20, 30)
# ComfyUI's samplers that add noise; a registered name stands for its defaults.
THEIRS = (
    "euler_ancestral", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde",
    "er_sde", "seeds_2", "seeds_3", "exp_heun_2_x0_sde", "sa_solver", "res_multistep_ancestral",
)  # fmt: skip
OURS = ("exp_res_sde", "exp_res_2m_sde", "exp_res_3s_sde", "exp_gddim_sde")
DRAWS = "draws of the data"


class Distributions(Bench):
    """Measures distances to draws of the data."""

    theirs, baseline = (*THEIRS, DRAWS), "euler_ancestral"
    measured = "distributions"

    def distance(self, case: Case, samples: torch.Tensor) -> float:
        """The distance of samples to draws of the data; arguments as in `sliced_distance`."""
        draws = case.denoiser.draw_any(len(samples), torch.Generator().manual_seed(case.seed + 2))
        return float(sliced_distance(samples, draws).square().mean().sqrt())

    def judge(self, name: str, case: Case, scheduler: str, calls: int) -> float:
        """The distance of a sampler's samples; NaN where too few steps fit."""
        if name == DRAWS:
            return self.distance(case, case.denoiser.draw_any(case.batch, torch.Generator().manual_seed(case.seed + 3)))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="torchsde")  # its noise interval may end one rounding error too early
            run = self.run(name, case, scheduler, calls)
        if run is None:
            return math.nan
        return self.distance(case, run[0].clamp(-1e3, 1e3).nan_to_num(1e3))

    def contenders(self, cell: dict[str, float]) -> dict[str, float]:
        """All except the row of draws."""
        return {name: error for name, error in cell.items() if name != DRAWS}


def cases(seed: int) -> list[Case]:
    """Cases with many items, on the usual grid of the kind of model; digits and ring also on ours."""
    result = []
    for label, world, kind, shift, batch, grids in (
        ("photo", exact_worlds.photo, "eps", 1, 192, ("karras",)),
        ("photo", exact_worlds.photo, "flow", 3, 192, ("simple",)),
        ("latent 64", partial(exact_worlds.latent, 64), "eps", 1, 48, ("karras",)),
        ("latent 64", partial(exact_worlds.latent, 64), "flow", 3, 48, ("simple",)),
        ("digits", exact_worlds.digit_mixture, "eps", 1, 512, ("karras", "logsnr_arctan")),
        ("digits", exact_worlds.digit_mixture, "flow", 3, 512, ("beta", "logsnr_arctan")),
        ("ring", exact_worlds.ring, "eps", 1, 1024, ("karras", "logsnr_arctan")),
    ):
        result.append(Case(label.split()[0], f"{label} {kind}", kind, 1.0, batch, world, shift, grids, CALLS, seed=seed))
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
