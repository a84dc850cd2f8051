"""Time grids built in logSNR, for any model.

A grid is made in lambda (half the log-SNR) and mapped back to the model's sigma. With u = i / (n - 1) from
0 to 1 and lambda running from lambda_0 (noise) to lambda_1 (data):

uniform    lambda = lambda_0 + u (lambda_1 - lambda_0)
power      lambda = lambda_0 + u^p (lambda_1 - lambda_0); p < 1 puts the fine steps at the data end
edm_rho    e^(-lambda / rho) uniform in u: the EDM grid (arXiv 2206.00364, eq. 5) in sigma / alpha; p is rho
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from .time_maps import FLOW, TimeMap

SPACINGS = ("uniform", "power", "edm_rho")
DEFAULT_EXPONENT = {"uniform": 1.0, "power": 0.9, "edm_rho": 7.0}

# Where a flow grid's finite part lies, as lambda relative to the lambda of the model's middle sigma (so that
# a model's shift moves the grid with it). Measured on the digits by `benchmarks/flow_interior.py`: the best
# interval is [-2.5, 4.0], and [-2.5, 4.5] is within 5 % of it and leaves room for data with finer detail.
# At shift 3, a usual one, the middle lies at -1.1, which makes the numbers below.
FLOW_INTERIOR = (-1.4, 5.6)


class SigmaRange(NamedTuple):
    """What a schedule needs to know of a model, in its own sigma."""

    sigma_min: float
    sigma_max: float
    sigma_middle: float


def logsnr_grid(
    steps: int, sigma_range: SigmaRange, time: TimeMap, spacing: str = "uniform", exponent: float | None = None
) -> torch.Tensor:
    """A descending grid of `steps` steps that ends at 0.

    Where sigma_max has no signal at all (flow at sigma = 1, lambda = -inf) the grid starts there and goes on
    from a finite logSNR.

    Args:
        steps: number of steps, >= 1.
        sigma_range: the model's sigmas.
        time: the model's time map, `VE` or `FLOW`.
        spacing: one of SPACINGS.
        exponent: p or rho, > 0; None for the default of the spacing. Ignored by "uniform".

    Returns:
        float32 tensor of shape (steps + 1,).

    Raises:
        ValueError: naming the input that is out of range.
    """
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}.")
    if spacing not in SPACINGS:
        raise ValueError(f"spacing must be one of {', '.join(map(repr, SPACINGS))}, got {spacing!r}.")
    exponent = DEFAULT_EXPONENT[spacing] if exponent is None else exponent
    if not (0.0 < exponent < math.inf):
        raise ValueError(f"exponent must be a finite number above 0, got {exponent}.")
    first, last = _lambda_range(sigma_range, time)
    u = np.linspace(0.0, 1.0, steps)
    if spacing == "edm_rho":
        lam = -exponent * np.log((1.0 - u) * math.exp(-first / exponent) + u * math.exp(-last / exponent))
    else:
        lam = first + (last - first) * (u**exponent if spacing == "power" else u)
    sigmas = [sigma_range.sigma_max, *(time.sigma(float(value)) for value in lam[1:]), 0.0]
    return torch.tensor(sigmas, dtype=torch.float32)


def _lambda_range(sigma_range: SigmaRange, time: TimeMap) -> tuple[float, float]:
    sigma_min, sigma_max, sigma_middle = sigma_range
    if not 0.0 < sigma_min < sigma_max < math.inf:
        raise ValueError(f"a model's sigmas must satisfy 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}.")
    last = time.lam(sigma_min)
    if time is not FLOW:
        return time.lam(sigma_max), last
    middle = time.lam(sigma_middle)
    first = max(time.lam(sigma_max), middle + FLOW_INTERIOR[0])
    return first, max(min(last, middle + FLOW_INTERIOR[1]), first)


def denoise_tail(build, steps: int, denoise: float) -> torch.Tensor:
    """The last `steps` steps of a grid of int(steps / denoise), as the host's BasicScheduler does.

    Args:
        build: function from a step count to a grid.
        steps: steps to take, >= 1.
        denoise: fraction of the schedule to run, 0 to 1; 0 gives an empty grid.

    Raises:
        ValueError: steps < 1 or denoise outside [0, 1].
    """
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}.")
    if not 0.0 <= denoise <= 1.0:
        raise ValueError(f"denoise must be between 0 and 1, got {denoise}.")
    if denoise == 0.0:
        return torch.empty(0)
    return build(int(steps / denoise))[-(steps + 1) :]
