"""The ranges of sigma of typical models, for SIGMAS without a model and for pictures before a run."""

import numpy as np

from .schedules import SigmaRange
from .spacings import timestep_places
from .time_maps import FLOW, VE, TimeMap

_KNOWN_TIMESTEPS = 65  # monotone cubic interpolation of these places is exact to a tenth of a timestep


def range_of_table(sigmas: np.ndarray, time: TimeMap, shift: float = 1.0) -> SigmaRange:
    """The range of a model of the kind VE or FLOW whose timesteps have these sigmas, (timesteps,), rising and above 0."""
    known = np.exp(np.interp(timestep_places(_KNOWN_TIMESTEPS), np.linspace(0.0, 1.0, len(sigmas)), np.log(sigmas)))
    levels = tuple(FLOW.sigma(time.lam(sigma)) for sigma in known.tolist())
    return SigmaRange(float(sigmas[0]), float(sigmas[-1]), levels, shift)


def stable_diffusion() -> SigmaRange:
    """Stable Diffusion 1.5 and SDXL: variances linear in their square root from 0.00085 to 0.012 over 1000 timesteps."""
    kept = np.cumprod(1.0 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    return range_of_table(np.sqrt((1.0 - kept) / kept), VE)


def edm(sigma_min: float, sigma_max: float) -> SigmaRange:
    """EDM models, whose timesteps the host spaces equally in log sigma."""
    return range_of_table(np.geomspace(sigma_min, sigma_max, 1000), VE)


def flow(shift: float) -> SigmaRange:
    """Rectified flow: sigma = shift t / (1 + (shift - 1) t) at 1000 equal t."""
    t = np.arange(1, 1001) / 1000.0
    return range_of_table(shift * t / (1.0 + (shift - 1.0) * t), FLOW, shift)
