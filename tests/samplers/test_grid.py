"""Bad grids are refused by name before the model is called."""

import math

import pytest
import torch
from exact import DETERMINISTIC, denoiser

from samplers.catalogue import METHODS
from samplers.grid import grid_steps, made_for_flow
from samplers.time_maps import FLOW, FLOW_LOG_SIGMA, VE


@pytest.mark.parametrize("time", [FLOW, FLOW_LOG_SIGMA], ids=lambda t: t.name)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_sigma_max_of_every_shift(name, time):
    """The host's float32 shift formula ends a few roundings above or below 1, which must not change the result."""
    grid = torch.tensor([1.0, 0.8, 0.5, 0.2, 0.0])
    x = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = METHODS[name].sample(denoiser(True), x, grid, disable=True, time=time)
    for first in (1 + 3e-7, 1 + 6e-8, 1 - 6e-8, 1 - 1e-6):
        near = torch.tensor([first, 0.8, 0.5, 0.2, 0.0], dtype=torch.float64)
        result = METHODS[name].sample(denoiser(True), x, near, disable=True, time=time)
        torch.testing.assert_close(result, exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("sigmas", [[1.0], [1.0, 1.0], [1.0, 1.0 - 6e-8]])
@pytest.mark.parametrize("name", METHODS)
def test_a_flow_models_grid_may_not_end_where_it_starts(name, sigmas):
    """ComfyUI divides the result by 1 - sigma, and would give infinity without an error. Split Sigmas at step 0 gives one 1."""
    with pytest.raises(ValueError, match=r"sigmas\[\d\] is .*ComfyUI divides by 1 - sigma = 0. End below 1: split SIGMAS after"):
        METHODS[name].sample(None, torch.ones(1, 2), torch.tensor(sigmas), disable=True, time=FLOW)


def test_many_tiny_steps_add_up_to_a_step():
    """Repetitions are measured from the last kept sigma, so that skipped steps add up. A list of sigmas keeps its digits."""
    sigmas = [10.0 * math.exp(-4e-7 * i) for i in range(1001)]
    steps = grid_steps(sigmas, VE)
    assert len(steps) == 333 and all(a.sigma_next == b.sigma for a, b in zip(steps, steps[1:]))
    assert math.log(steps[0].sigma / steps[-1].sigma_next) == pytest.approx(4e-4, rel=0.01)
    assert grid_steps([14.6, 0.1], VE)[0].sigma == 14.6


@pytest.mark.parametrize(
    "sigmas, time, sigma_max, doubted",
    [
        ([1.0, 0.7, 0.2, 0.0], VE, 14.6, True),
        ([1.0 - 6e-8, 0.7, 0.2, 0.0], VE, 4518.0, True),
        ([1.0, 0.7, 0.2, 0.0], FLOW, 1.0, False),
        ([1.0, 0.7, 0.2, 0.0], VE, 1.0, False),  # from image to image
        ([1.0, 0.7, 0.2], VE, 14.6, False),  # a part of some grid
        ([0.9, 0.7, 0.2, 0.0], VE, 14.6, False),
        ([1.001, 0.7, 0.2, 0.0], VE, 14.6, False),
        ([14.6, 1.0, 0.0], VE, 14.6, False),
        ([1.0, 0.0], VE, 14.6, False),
    ],
)
def test_a_whole_grid_of_a_flow_model_is_doubted_on_another(sigmas, time, sigma_max, doubted):
    """A partial denoising, which may begin nearly anywhere, gives no warning."""
    assert bool(made_for_flow(torch.tensor(sigmas), time, sigma_max)) is doubted
