"""What the paper's claims are measured on: cases whose items are those of several seeds, each solved once."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks import host_samplers
from benchmarks.cases import Case, NetworkCase, grids, network_cases, standard_cases, uniform_sigma
from training import networks

# name in host_samplers.sampler -> how papers call it; without noise the host's Euler is DDIM
LABELS = {
    "euler": "DDIM",
    "heun": "Heun",
    "dpmpp_2s (eta 0)": "DPM-Solver++(2S)",
    "exp_res_2s": "RES-2S",
    "exp_res_3s": "RES-3S",
    "dpmpp_2m": "DPM-Solver++(2M)",
    "exp_res_2m": "RES-2M",
    "exp_res_3m": "RES-3M",
    "exp_res_2mc": "RES-2M + corrector",
    "exp_res": "`exp_res`",
    "deis": "DEIS",
}
HEADLINE = ("exp_res_2s", "dpmpp_2s (eta 0)")  # the RES paper's, at 9 calls: four steps of two and a last one
UNIFORM, COMMON = "uniform sigma", "logsnr_uniform"
_PER_STEP = {"heun": 2, "dpmpp_2s (eta 0)": 2, "exp_res_2s": 2, "exp_res_3s": 3}  # model calls, the last step takes one


@dataclass(frozen=True)
class Size:
    """How much a run measures.

    Attributes:
        seeds: sets of starting noise; intervals are over them.
        items, network_items: of a set.
        steps, network_steps: of the converged solutions.
        calls: at which defects are compared.
        judged, solved: items a set whose Frechet distance is measured, and of them those with a converged solution.
        judged_calls, noisy_calls: for Frechet distances, without and with noise in the sampler.
        held: draws of the data that samples are compared with.
        fine: steps of trajectories.
        slope_steps: grids on which orders are measured.
        sizes: of the noise in a noisy network.
    """

    seeds: int = 5
    items: int = 48
    network_items: int = 12
    steps: int = 200
    network_steps: int = 75
    calls: tuple[int, ...] = (9, 15)
    judged: int = 400
    solved: int = 100
    judged_calls: tuple[int, ...] = (5, 7, 9, 13, 21, 50)
    noisy_calls: tuple[int, ...] = (9, 15, 25)
    held: int = 20_000
    fine: int = 200
    slope_steps: tuple[int, ...] = (8, 16, 32, 64, 128)
    sizes: tuple[float, ...] = (0.01, 0.1)


QUICK = Size(2, 8, 2, 40, 20, (9,), 40, 8, (5, 9, 15), (9,), 2000, 40, (16, 32), (0.1,))


class Bench:
    """The cases, by name. The items of all seeds are one batch, seed after seed, in which an item does not see the others.

    Args:
        size: how much to measure.
    """

    def __init__(self, size: Size):
        self.size = size
        parts = (
            standard_cases(size.seeds * size.items, converging=size.steps),
            network_cases(size.seeds * size.network_items, converging=size.network_steps),
        )
        self._cases: dict[str, Case] = {case.name: case for part in parts for case in part}
        for case in self._cases.values():
            items = case.batch // size.seeds
            case.noise = torch.cat([replace(case, batch=items, seed=seed).noise for seed in range(size.seeds)])
        self._defects: dict[tuple, list[float]] = {}

    @property
    def names(self) -> list[str]:
        return list(self._cases)

    def case(self, name: str) -> Case:
        """With the items of all seeds."""
        return self._cases[name]

    def judged(self, name: str) -> list[Case]:
        """The same with enough items for a Frechet distance; without converged solutions."""
        return [replace(self._cases[name], batch=self.size.judged, seed=seed) for seed in range(self.size.seeds)]

    def defects(self, name: str, grid: str, calls: int, sampler: str) -> list[float]:
        """Median of the items, one a seed."""
        key = (name, grid, calls, sampler)
        if key not in self._defects:
            self._defects[key] = self.defect(name, grid, calls, sampler)
        return self._defects[key]

    def defect(self, name: str, grid: str, calls: int, method: str, sampler=None) -> list[float]:
        """Likewise of any SAMPLER with as many calls a step as the method, see `at_calls`."""
        case = self._cases[name]
        return self.medians(case.defect(at_calls(case, method, grid_of(case, grid), calls, sampler)))

    def medians(self, values: torch.Tensor) -> list[float]:
        """Of one number an item, one a seed."""
        return values.reshape(self.size.seeds, -1).double().median(dim=1).values.tolist()


def steps_of(name: str, calls: int) -> int:
    """The most steps that so many calls allow a method of LABELS."""
    return (calls - 1) // _PER_STEP.get(name, 1) + 1


def at_calls(case: Case, name: str, grid, calls: int, sampler=None) -> torch.Tensor:
    """Samples with the most steps that so many calls allow: like `cases.at_most`, in one run.

    Args:
        case: the model.
        name: of a method in LABELS.
        grid: a function from a step count to SIGMAS.
        calls: of the model, at most.
        sampler: a SAMPLER with as many calls a step as the method; None for the method's own.

    Raises:
        ValueError: more calls were counted at the model.
    """
    samples, made = case.sample(sampler or host_samplers.sampler(name), grid(steps_of(name, calls)))
    if made > calls:
        raise ValueError(f"calls must be enough for {steps_of(name, calls)} steps of {name}, which made {made}, got {calls}.")
    return samples


def good_grids(case: Case) -> list[str]:
    """Grids whose last step is short; of networks, which cost more, the one that every kind of model has."""
    return [COMMON] if isinstance(case, NetworkCase) else [name for name in grids(case) if name not in ("simple", UNIFORM)]


def grid_of(case: Case, name: str):
    """A function from a step count to SIGMAS; the grid uniform in sigma for flow models too."""
    return uniform_sigma(case) if name == UNIFORM else grids(case)[name]


def pixels(case: Case, latents: torch.Tensor) -> np.ndarray:
    """(batch, 64) digits, in float64; what a network sees is reduced to 8x8 by least squares."""
    flat = latents.flatten(1).double()
    if not isinstance(case, NetworkCase):
        return flat.numpy()
    network = networks.NETWORKS[case.network]
    enlarging = networks.to_latent(torch.eye(64), network).flatten(1).double()
    return (flat @ torch.linalg.pinv(enlarging)).numpy()
