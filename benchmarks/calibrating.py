"""Calibrations of cases, with their costs."""

from collections.abc import Callable
from typing import NamedTuple

from samplers.lab.calibration.calibrate import Calibration
from samplers.lab.calibration.results import Calibrated, Cost, Settings
from samplers.lab.reference import reference_floor
from samplers.schedules import SigmaRange

from . import host_samplers
from .cases import Case

FIT_SEED = 31000
Maker = Callable[..., Case]  # takes batch and seed, and optionally cfg and enlarged


class Outcome(NamedTuple):
    """A calibration of a case, with its model calls and its announced cost."""

    case: Case
    calibrated: Calibrated
    calls: int
    cost: Cost

    def error(self, name: str = "calibrated") -> float:
        """The median error of a sampler on the test items; "base" is the analytic one."""
        return self.calibrated.test[name].median

    @property
    def best_other(self) -> str:
        """The rival that did best on the test items."""
        return min((name for name in self.calibrated.test if name not in ("base", "calibrated")), key=self.error)


def as_sampler(sampler):
    """A SAMPLER, from a SAMPLER or from a function."""
    import comfy.samplers

    return sampler if isinstance(sampler, comfy.samplers.Sampler) else comfy.samplers.KSAMPLER(sampler)


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
    floor = reference_floor(SigmaRange(float(sampling.sigma_min), float(sampling.sigma_max)), case.time)
    rivals = host_samplers.pack("lab_calibrate").rivals()
    calibration = Calibration(problem, case.grid(grid, calls), case.time, floor, FIT_SEED, batch, settings, rivals)
    return Outcome(case, calibration.run(), made, calibration.cost)
