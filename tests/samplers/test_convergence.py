"""Convergence order on exact mixtures, and the case in which every step is exact.

Errors are per item and judged by quantiles: trajectories can jump basins.
"""

import pytest
import torch
from exact import DETERMINISTIC, GRIDS, PLANNERS, REFERENCE, converged, denoiser, grid

from samplers.loop import run
from samplers.time_maps import FLOW, VE

# method -> slope it must reach
METHODS = {"2S": 1.9, "2M": 1.9, "3S(1/2,1)": 2.85, "3S": 2.85, "3S(.4,.75)": 2.85, "3M, 3S start": 2.85}
CASES = [(name, VE) for name in GRIDS] + [(name, FLOW) for name, (flow, _) in GRIDS.items() if flow]
_COARSE, _FINE = 160, 320


def _errors(name, time, method, n):
    x, exact = converged(name)
    sigmas = grid(name, n)
    result = run(PLANNERS[method](sigmas, time=time), denoiser(GRIDS[name][0]), x, sigmas, disable=True)
    return (result - exact).norm(dim=1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name, time", CASES, ids=lambda v: getattr(v, "name", v))
def test_slope(name, time, method):
    coarse = _errors(name, time, method, _COARSE)
    fine = _errors(name, time, method, _FINE)
    slopes = torch.log2(coarse / fine)
    assert slopes.median() >= METHODS[method]
    assert slopes.quantile(0.1) >= METHODS[method] - 0.5


@pytest.mark.parametrize("name", GRIDS)
def test_reference_is_100_times_better(name):
    """The reference's own error, by its order as shown above, is below 1 % of the measured errors."""
    _, exact = converged(name)
    half = _errors(name, VE, "3S", REFERENCE // 2)  # about 7 times the reference's error
    assert half.median() / 7 < 0.01 * _errors(name, VE, "3S", _FINE).median()


def test_low_order_start_of_third_order_is_second_order():
    """Third order needs a single-step start."""
    coarse, fine = (_errors("ve, uniform in lambda", VE, "3M", n) for n in (_COARSE, _FINE))
    assert 1.8 < torch.log2(coarse / fine).median() < 2.5


@pytest.mark.parametrize("grid_name, time", CASES, ids=lambda v: getattr(v, "name", v))
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_constant_denoiser_on_any_grid(name, grid_name, time):
    """For data at one point D is constant, so steps of any size are exact."""
    constant = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for steps, tolerance in ((9, 1e-12), (1, 1e-13)):
        sigmas = grid(grid_name, steps)
        result = DETERMINISTIC[name].sample(lambda x, sigma: constant, x, sigmas, disable=True, time=time)
        # (x - D) / sigma is constant along dx/dsigma = (x - D) / sigma
        expected = constant + (x - constant) * (sigmas[-1] / sigmas[0])
        torch.testing.assert_close(result, expected, rtol=tolerance, atol=tolerance)
