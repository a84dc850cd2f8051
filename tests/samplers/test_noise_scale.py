"""Models whose noise has a standard deviation c other than 1: x = alpha x0 + sigma c n.

Such a model and a model of unit noise at the same sigma / alpha have the same denoised outputs and the same ODE in x / alpha,
so every sampler must give the same result on grids of the same lambda.
"""

import math

import pytest
import torch
from exact import DETERMINISTIC, MIXTURE, STOCHASTIC

from samplers import sample_res_churn
from samplers.adaptive import sample_exp_res_adaptive
from samplers.catalogue import METHODS, SOLVERS
from samplers.reshaping import split
from samplers.schedules import SigmaRange, logsnr_grid
from samplers.time_maps import FLOW, FLOW_LOG_SIGMA, VE

SCALE = 8.0
SCALED = FLOW.scaled(SCALE)
UNIT_GRID = [0.88, 0.7, 0.5, 0.3, 0.1]  # above sigma 0.9 steps are taken in another variable


def _denoised(x, sigma, time):
    sigma = float(sigma.reshape(-1)[0])
    return MIXTURE.denoise(x, sigma * time.noise_scale, time.alpha(sigma))


def _grids():
    unit = torch.tensor(UNIT_GRID, dtype=torch.float64)
    return unit, torch.tensor([SCALED.sigma(FLOW.lam(sigma)) for sigma in UNIT_GRID], dtype=torch.float64)


def _both(sample, **options):
    """x / alpha at the end, by the model of unit noise and by the model of other noise, and the largest value of the first."""
    generator = torch.Generator().manual_seed(0)
    start = MIXTURE.sample(8, generator) + FLOW.s(UNIT_GRID[0]) * torch.randn(8, 2, dtype=torch.float64, generator=generator)
    results = []
    for time, grid in zip((FLOW, SCALED), _grids()):
        x = start * time.alpha(float(grid[0]))
        end = sample(lambda x, sigma, time=time: _denoised(x, sigma, time), x, grid, disable=True, time=time, **options)
        results.append(end / time.alpha(float(grid[-1])))
    return results


def test_the_map():
    for lam in (-6.0, -1.0, 0.0, 3.0):
        sigma = SCALED.sigma(lam)
        assert SCALED.lam(sigma) == pytest.approx(lam, abs=1e-9)
        assert SCALED.s(sigma) == pytest.approx(math.exp(-lam)) == pytest.approx(SCALE * sigma / (1.0 - sigma))
    assert SCALED.lam(1.0) == -math.inf and SCALED.s(0.0) == 0.0
    assert FLOW.scaled(1.0) is FLOW and FLOW.scaled(SCALE) is SCALED and SCALED.is_like(FLOW) and not SCALED.is_like(VE)
    assert FLOW_LOG_SIGMA.scaled(SCALE).is_like(FLOW_LOG_SIGMA)


def _ones(sigma, sigma_next):
    return torch.ones(8, 2, dtype=torch.float64)


@pytest.mark.parametrize("name", [*DETERMINISTIC, *STOCHASTIC])
def test_samplers_give_the_same(name):
    """The unit noises are the same. Limits of churn are in s = noise_scale sigma / alpha, so they are at the same places."""
    unit, scaled = _both(METHODS[name].sample, **({"noise_sampler": _ones} if name in STOCHASTIC else {}))
    torch.testing.assert_close(scaled, unit, rtol=1e-9, atol=1e-9)
    if name in SOLVERS:
        options = {"solver": name, "s_tmin": 0.2, "s_tmax": 2.0, "s_churn": 1.0, "noise_sampler": _ones}
        churned, scaled = _both(sample_res_churn, **options)
        torch.testing.assert_close(scaled, churned, rtol=1e-9, atol=1e-9)
        assert (churned - unit).abs().max() > 1e-3


def test_the_adaptive_sampler_means_the_same_tolerance():
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(8, 2, dtype=torch.float64, generator=generator)
    truth, calls = [], []
    for time in (FLOW, SCALED):
        first = time.sigma(FLOW.lam(0.88))
        x = time.alpha(first) * 0.3 + time.noise_scale * first * noise
        result, info = sample_exp_res_adaptive(
            lambda x, sigma, time=time: _denoised(x, sigma, time), x, [first, time.sigma(2.0), 0.0],
            disable=True, return_info=True, time=time,
        )  # fmt: skip
        truth.append(result)
        calls.append(info.calls)
    torch.testing.assert_close(*truth, rtol=0.02, atol=0.02)
    assert abs(calls[0] - calls[1]) <= 3


def test_grids_and_their_parts_lie_at_the_same_lambda():
    model_range = SigmaRange(0.003, 1.0, shift=3.0)
    unit, scaled = (logsnr_grid(12, model_range, time, "uniform")[1:-1].tolist() for time in (FLOW, SCALED))
    assert [SCALED.lam(sigma) for sigma in scaled] == pytest.approx([FLOW.lam(sigma) for sigma in unit], abs=1e-3)
    first, second = split(_grids()[1], SCALED.sigma(0.0), SCALED)
    assert SCALED.lam(float(first[-1])) == pytest.approx(0.0, abs=1e-9) and first[-1] == second[0]
