"""Matrices as weights of a plan."""

import numpy as np
import pytest
import torch

from samplers.loop import run
from samplers.operators import Block, Diagonal, moved
from samplers.plan import Plan, Stage
from samplers.time_maps import VE

MATRIX = np.array([[0.3, -1.0], [2.0, 0.7]])


def _x(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_block_mixes_groups_of_channels(channels):
    x = _x(4, 2 * channels, 3, 5)
    expected = torch.cat([0.3 * x[:, :channels] - x[:, channels:], 2.0 * x[:, :channels] + 0.7 * x[:, channels:]], dim=1)
    torch.testing.assert_close(Block(MATRIX).times(x), expected)
    result = y = _x(4, 2 * channels, 3, 5, seed=1)
    before = y.clone()
    Block(MATRIX).add_to(result, x)
    torch.testing.assert_close(result, before + expected)


def test_a_diagonal_scales_frequencies():
    factors, x, y = np.arange(6.0).reshape(2, 3), _x(4, 5, 2, 3), _x(4, 5, 2, 3, seed=1)
    torch.testing.assert_close(Diagonal(factors).times(x), x * torch.from_numpy(factors))
    expected = y + x * torch.from_numpy(factors)
    Diagonal(factors).add_to(y, x)
    torch.testing.assert_close(y, expected)


def test_numbers_must_be_finite():
    with pytest.raises(ArithmeticError, match="non-finite"):
        Block(np.array([[1.0, np.nan], [0.0, 1.0]]))


def test_moved_takes_the_state_s_dtype():
    there = moved([Block(MATRIX), Block(2 * MATRIX)], torch.zeros(1, 2))
    assert [type(op) for op in there] == [Block, Block] and there[1].matrix.dtype == torch.float32
    torch.testing.assert_close(there[1].matrix.double(), torch.from_numpy(2 * MATRIX))
    assert moved([], torch.zeros(1)) == []


def test_the_loop_runs_them():
    """A plan of matrices, with noise, without a write to a tensor that was given away."""
    half = Block(0.5 * MATRIX)
    stages = (
        Stage(0, 1.0, 1.0, Block(MATRIX), ((0, half),), True, noise=(Block(np.eye(2)),), segment=(1.0, 0.5)),
        Stage(1, 0.5, 1.0, half, ((1, Block(MATRIX)), (0, half)), True),
    )
    plan, x, noise = Plan("blocks", VE, 2, stages, clock="t"), _x(3, 2, 4), _x(3, 2, 4, seed=2)
    sigmas = torch.tensor([1.0, 0.5, 0.1], dtype=torch.float64)
    seen = []

    def model(u, t):
        seen.append((u, u.clone()))
        return u.sin()

    end = run(plan, model, x, sigmas, disable=True, noise_sampler=lambda a, b: noise)
    a, b = torch.from_numpy(MATRIX), torch.from_numpy(0.5 * MATRIX)
    middle = a @ x + b @ x.sin() + noise
    torch.testing.assert_close(end, b @ middle + a @ middle.sin() + b @ x.sin())
    assert all(torch.equal(given, then) for given, then in seen)
    assert "[+0.300000000 -1.000000000 +2.000000000 +0.700000000]" in str(plan)


def test_nan_is_named_by_the_plan_s_clock():
    plan = Plan("blocks", VE, 1, (Stage(0, 0.7, 1.0, Block(MATRIX), ((0, Block(MATRIX)),), True),), clock="t")
    with pytest.raises(FloatingPointError, match="after the model call at t 0.7 in step 1"):
        run(plan, lambda u, t: u * torch.nan, _x(1, 2, 3), torch.tensor([0.7, 0.0]), disable=True)
