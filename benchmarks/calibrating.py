"""Cases on which solvers are calibrated, and calibrations with their costs."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from embedded.digits import digits
from embedded.mixture import GaussianMixture
from samplers.lab.calibration.calibrate import Calibration
from samplers.lab.calibration.results import Calibrated, Cost, Settings
from samplers.lab.reference import reference_floor
from samplers.schedules import SigmaRange
from samplers.time_maps import FLOW, VE
from training import networks

from . import host_samplers
from .cases import Case, MixtureCase, NetworkCase, grids

FIT_SEED = 31000
Maker = Callable[..., Case]  # takes batch and seed, and optionally cfg and enlarged


def digits_case(kind: str, batch: int, seed: int, cfg: float = 5.0, enlarged: int = 1) -> Case:
    """The digits, with repeated pixels for another resolution."""
    data = digits(dtype=torch.float64)
    means = data.means.reshape(-1, 8, 8).repeat_interleave(enlarged, 1).repeat_interleave(enlarged, 2).flatten(1)
    mixture = GaussianMixture(means, data.std, data.labels)
    return MixtureCase(f"digits {kind} CFG {cfg:g}", (1, 8 * enlarged, 8 * enlarged), kind, cfg, batch, seed, mixture=mixture)


def network_case(name: str, batch: int, seed: int, cfg: float = 4.0, enlarged: int = 1) -> Case:
    """A network; another resolution is a larger latent than it was trained on."""
    network = networks.NETWORKS[name]
    channels, height, width = network.shape
    shape = (channels, height * enlarged, width * enlarged)
    return NetworkCase(f"{name} CFG {cfg:g}", shape, network.kind, cfg, batch, seed, converging=100, network=name)


class Outcome(NamedTuple):
    """A calibration of a case, with its model calls and its announced cost."""

    case: Case
    calibrated: Calibrated
    calls: int
    cost: Cost


def as_sampler(sampler):
    """A SAMPLER, from a SAMPLER or from a function."""
    import comfy.samplers

    return sampler if isinstance(sampler, comfy.samplers.Sampler) else comfy.samplers.KSAMPLER(sampler)


def time_of(case: Case):
    """The case's time map."""
    return FLOW if case.kind == "flow" else VE


def calibrate(make: Maker, grid: str, calls: int, settings: Settings) -> Outcome:
    """Calibrate as the node does, with all pilots in one batch and with the node's rivals."""
    case, batch, made = make(1, FIT_SEED), settings.pilots, 0
    cases: dict[int, Case] = {}

    def problem(sampler, sigmas, seed):
        nonlocal made
        if seed not in cases:
            cases[seed] = make(batch, seed)
        samples, calls = cases[seed].sample(as_sampler(sampler), sigmas)
        made += calls
        return samples

    sampling = case.model_sampling
    floor = reference_floor(SigmaRange(float(sampling.sigma_min), float(sampling.sigma_max)), time_of(case))
    rivals = host_samplers.pack("lab_calibrate").rivals()
    calibration = Calibration(problem, grids(case)[grid](calls), time_of(case), floor, FIT_SEED, batch, settings, rivals)
    return Outcome(case, calibration.run(), made, calibration.cost)
