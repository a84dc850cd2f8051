"""Blended, resampled and split grids: identities and errors."""

import math

import pytest
import torch

from samplers.reshaping import blend, resample, split
from samplers.schedules import SigmaRange, directed, logsnr_grid
from samplers.spacings import SPACINGS
from samplers.time_maps import FLOW, VE

MODELS = {"ve": (SigmaRange(0.0291675, 14.614642), VE), "flow": (SigmaRange(0.003, 1.0), FLOW)}


@pytest.fixture(params=MODELS)
def model(request):
    """grid(steps, spacing, rising), and the time map."""
    sigma_range, time = MODELS[request.param]

    def grid(steps, spacing="edm_rho", rising=False):
        falling = logsnr_grid(steps, sigma_range, time, spacing)
        return directed(falling, time, "invert") if rising else falling

    return grid, time


@pytest.mark.parametrize("rising", [False, True])
def test_a_grid_blended_with_itself_or_not_at_all_is_itself(model, rising):
    grid, time = model
    a, b = grid(9, "edm_rho", rising), grid(9, "uniform", rising)
    for result, expected in ((blend(a, a, 0.3, time), a), (blend(a, b, 0.0, time), a), (blend(a, b, 1.0, time), b)):
        torch.testing.assert_close(result, expected, rtol=1e-6, atol=0)


def test_a_blend_is_the_mean_in_lambda_with_the_steps_of_the_first(model):
    grid, time = model
    a, b = grid(9, "edm_rho"), grid(9, "uniform")
    mixed = blend(a, b, 0.25, time)
    for i in range(1, 9):
        means = 0.75 * time.lam(float(a[i])) + 0.25 * time.lam(float(b[i]))
        assert time.lam(float(mixed[i])) == pytest.approx(means, abs=1e-5)
    assert len(blend(grid(9), grid(20), 0.5, time)) == 10
    torch.testing.assert_close(blend(grid(9), grid(30), 1.0, time), resample(grid(30), 9, time))


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize("spacing", [spacing for spacing in SPACINGS if spacing != "beta"])  # which reads a model's timesteps
def test_resampled_to_a_multiple_it_keeps_every_sigma(model, spacing, rising):
    """A uniform grid stays uniform."""
    grid, time = model
    sigmas = grid(8, spacing, rising)
    fixed = 0 if rising else 1 + (time is FLOW)  # ends, and steps to them, that stay
    finer = resample(sigmas, 3 * (8 - fixed) + fixed, time)
    body = finer[1::3] if time is FLOW and not rising else finer[::3]
    kept = sigmas[1:-1] if time is FLOW and not rising else sigmas if rising else sigmas[:-1]
    torch.testing.assert_close(body[: len(kept)], kept, rtol=1e-5, atol=0)
    torch.testing.assert_close(resample(finer, 8, time), sigmas, rtol=1e-5, atol=0)
    order = finer.diff()
    assert (order > 0).all() if rising else (order < 0).all()
    if spacing == "uniform" and time is VE and not rising:
        torch.testing.assert_close(resample(sigmas, 23, time), grid(23, spacing, rising), rtol=1e-5, atol=0)


@pytest.mark.parametrize("rising", [False, True])
def test_the_parts_are_the_whole(model, rising):
    grid, time = model
    sigmas = grid(9, "edm_rho", rising)
    for i in range(2, 8):
        first, second = split(sigmas, float(sigmas[i]) * 1.0001, time)
        assert torch.equal(torch.cat([first, second[1:]]), sigmas) and first[-1] == second[0] == sigmas[i]


def test_the_split_is_at_the_nearest_in_lambda():
    """Wan 2.2's switch in few steps may lie next to an end that has no lambda."""
    sigmas = torch.tensor([16.0, 4.0, 1.0, 0.25, 0.0])
    assert split(sigmas, 2.1, VE)[1][0] == 4.0 and split(sigmas, 1.9, VE)[1][0] == 1.0
    sigmas = torch.tensor([1.0, 0.8, 0.5, 0.0])
    for sigma, at in ((0.875, 0.8), (0.999, 0.8), (0.3, 0.5), (1e-3, 0.5)):
        first, second = split(sigmas, sigma, FLOW)
        assert float(first[-1]) == float(second[0]) == pytest.approx(at)
        assert torch.equal(torch.cat([first, second[1:]]), sigmas)


GRID = torch.tensor([10.0, 3.0, 1.0, 0.0])


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: blend(GRID, GRID, 1.5, VE), "weight must be between 0 and 1, got 1.5"),
        (lambda: blend(GRID, GRID, math.nan, VE), "weight must be between 0 and 1, got nan"),
        (lambda: blend(GRID, GRID[:-1], 0.5, VE), "sigmas_a ends at sigma 0 and sigmas_b does not"),
        (lambda: blend(torch.tensor([0.9, 0.0]), torch.tensor([1.0, 0.5, 0.0]), 0.5, FLOW), "sigmas_b starts at sigma 1 and"),
        (lambda: blend(GRID[:-1], GRID[:-1].flip(0), 0.5, VE), "must both fall or both rise"),
        (lambda: blend(GRID, GRID[:1], 0.5, VE), "sigmas_b must have two sigmas or more, got 1"),
        (lambda: resample(torch.tensor([10.0, math.nan, 0.0]), 5, VE), r"sigmas: sigmas\[1\] is nan"),
        (lambda: resample(torch.tensor([10.0, 10.0, 0.0]), 5, VE), "sigmas must not repeat a sigma"),
        (
            lambda: resample(torch.tensor([1.0, 0.9999, 0.0]), 10000, FLOW),
            "the new curve repeats sigma .* at 10000 steps; take fewer",
        ),
        (lambda: resample(GRID, 1, VE), "steps must be 2 or more for these sigmas, got 1"),
        (lambda: split(GRID, 20.0, VE), "the split is at sigma 20, which leaves one part .* from 3 to 1"),
        (lambda: split(GRID, 9.9, VE), "leaves one part without a step"),
        (lambda: split(GRID, 0.0, VE), "leaves one part without a step"),
        (lambda: split(GRID[:-1], 1.0, VE), "leaves one part without a step"),
        (lambda: split(GRID[[0, 3]], 5.0, VE), "sigmas have a single step, from 10 to 0, which cannot be split"),
        (lambda: split(GRID[:2], 5.0, VE), "sigmas have a single step"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
