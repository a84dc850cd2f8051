"""The reference compared with exact solutions, and its message if it does not converge."""

import math

import pytest
import torch

from samplers import sample_exp_res_3mc
from samplers.lab.reference import NotConverged, agreement, converge, reference_floor, reference_grid
from samplers.schedules import SigmaRange
from samplers.time_maps import FLOW, VE

_STD = 0.5
_RANGE = SigmaRange(0.03, 14.6)


def _gaussian(x, sigma):
    return x * _STD**2 / (_STD**2 + sigma.reshape(-1, 1) ** 2)


def test_it_is_the_exact_solution():
    x = 14.6 * torch.randn(8, 5, dtype=torch.float64)

    def solve(steps):
        return sample_exp_res_3mc(_gaussian, x, reference_grid(steps, 14.6, reference_floor(_RANGE, VE), VE), disable=True)

    result = converge(solve, tolerance=1e-5)
    # Gaussian data at sigma 0: x keeps its distance from the mean in standard deviations
    assert torch.allclose(result.samples, x * _STD / math.hypot(_STD, 14.6), rtol=5e-5)
    assert result.agreement <= 1e-5 and result.calls == 2 * result.steps - 48


@pytest.mark.parametrize("time, start, sigma_range", [(VE, 14.6, _RANGE), (VE, 1e5, _RANGE), (FLOW, 1.0, SigmaRange(0.003, 1.0))])
def test_the_grid_falls_evenly_in_logsnr(time, start, sigma_range):
    floor = reference_floor(sigma_range, time)
    grid = reference_grid(20, start, floor, time)
    lam = torch.tensor([time.lam(float(sigma)) for sigma in grid[1:-1]], dtype=torch.float64)
    assert len(grid) == 21 and grid[0] == start and grid[-1] == 0.0 and (grid.diff() < 0.0).all()
    assert torch.allclose(lam.diff(), lam.diff()[0].expand(18), rtol=1e-3)
    assert float(grid[-2]) == pytest.approx(floor, rel=1e-6) and floor < sigma_range.sigma_min


@pytest.mark.parametrize("items, kept", [(1, 1), (3, 3), (4, 3), (8, 7), (10, 9), (19, 18), (20, 18)])
def test_one_item_of_ten_need_not_agree_and_one_of_four(items, kept):
    """Items 0, 1, ... are 1, 2, ... apart, so the largest distance that counts equals the number of items that count."""
    result = agreement(torch.arange(1.0, items + 1.0))
    assert result.most == kept and result.worst == items and result.left_out == tuple(range(items - 1, kept - 1, -1))


def test_the_item_that_parts_is_named():
    def solve(steps):
        samples = torch.ones(5, 3)
        samples[3] *= steps
        return samples

    assert converge(solve, tolerance=1e-6).parted == (3,)
    assert converge(lambda steps: torch.ones(5, 3), tolerance=1e-6).parted == ()


def test_the_finest_level_is_given_where_the_cap_comes_first():
    """The levels differ by 5e-3, then 3e-3, then 1e-3, as on a rough network."""
    levels = {48: 1.0, 96: 1.005, 192: 1.008, 384: 1.0091}

    def solve(steps):
        return torch.full((20, 3), levels[steps], dtype=torch.float64)

    result = converge(solve, tolerance=1e-3, cap=400)
    assert not result.converged and result.steps == 384 and result.calls == 720
    assert result.agreement == pytest.approx(1.1e-3, rel=0.02) and result.floor == pytest.approx(3.3e-3, rel=0.02)
    assert converge(solve, tolerance=4e-3, cap=400).converged


def test_refused():
    """What is not finite is no reference, and options out of range are refused before the first run."""
    with pytest.raises(NotConverged, match="NaN or infinity in 96 or 192 steps"):
        converge(lambda steps: torch.full((20, 3), math.nan), cap=200)
    for options, match in (({"tolerance": 0.0}, "tolerance"), ({"cap": 50}, "reference_calls must be 96")):
        with pytest.raises(ValueError, match=match):
            converge(lambda steps: pytest.fail("sampled"), **options)
