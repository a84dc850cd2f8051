"""Plans whose factors are matrices."""

import numpy as np
import pytest
import torch
from process_examples import VP

from samplers.loop import run
from samplers.plan import Plan, Stage
from samplers.processes.blurring import Blurring
from samplers.processes.cld import CLD
from samplers.processes.operators import MatrixStage, on, process_stage
from samplers.processes.process_sampler import run_on
from samplers.time_maps import VE

MATRIX = np.array([[0.3, -1.0], [2.0, 0.7]])
EMPTY = Stage(0, 1.0, 1.0, 0.0, (), True)


def _x(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _plan():
    """Two steps of CLD: one with noise, and one with an earlier output and an earlier state."""
    noisy = Stage(0, 1.0, 1.0, 0.0, (), True, segment=(1.0, 0.5))
    first = process_stage(CLD(), noisy, {0: 0.5 * MATRIX}, {}, MATRIX, [np.eye(2)])
    second = process_stage(CLD(), Stage(1, 0.5, 1.0, 0.0, (), True), {1: MATRIX, 0: 0.5 * MATRIX}, {0: MATRIX}, 0.5 * MATRIX)
    return Plan("blocks", VE, 2, (first, second))


def _updated(sde, matrix, anchor, output):
    """matrix @ anchor + 2 matrix @ output, by a stage."""
    return process_stage(sde, EMPTY, {0: 2.0 * matrix}, {}, matrix).update(anchor, {0: output}, {}, [], output)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_block_mixes_groups_of_channels(channels):
    x, y = _x(4, 2 * channels, 3, 5), _x(4, 2 * channels, 3, 5, seed=1)

    def expected(x):
        return torch.cat([0.3 * x[:, :channels] - x[:, channels:], 2.0 * x[:, :channels] + 0.7 * x[:, channels:]], dim=1)

    torch.testing.assert_close(_updated(CLD(), MATRIX, x, y), expected(x) + 2.0 * expected(y))


def test_a_diagonal_scales_frequencies():
    factors, x, y = np.arange(6.0).reshape(2, 3), _x(4, 5, 2, 3), _x(4, 5, 2, 3, seed=1)
    updated = _updated(Blurring(2, 3), factors[..., None, None], x, y)
    torch.testing.assert_close(updated, torch.from_numpy(factors) * (x + 2.0 * y))


def test_the_numbers_of_a_stage_are_those_of_the_first_number_of_a_block():
    """They must be finite. Where a block is one number, a stage holds only numbers."""
    first, second = _plan().stages
    assert (second.scale, second.weights, second.states) == (0.15, ((1, 0.3), (0, 0.15)), ((0, 0.3),)) and first.noise == (1.0,)
    plain = process_stage(VP(), EMPTY, {0: np.array([[2.0]])}, {}, np.array([[3.0]]))
    assert type(plain) is Stage and (plain.scale, plain.weights) == (3.0, ((0, 2.0),))
    image = process_stage(Blurring(1, 2), EMPTY, {}, {}, np.array([[[[3.0]], [[4.0]]]]))
    assert image.scale == 3.0 and image.diagonal and image.matrices[0].tolist() == [[3.0, 4.0]]
    with pytest.raises(ArithmeticError, match="non-finite"):
        process_stage(CLD(), EMPTY, {0: np.array([[1.0, np.nan], [0.0, 1.0]])}, {}, MATRIX)


def test_a_plan_takes_the_state_s_dtype():
    plan = on(_plan(), torch.float32, torch.device("cpu"))
    for stage, original in zip(plan.stages, _plan().stages):
        scale = stage.matrices[0]
        assert isinstance(stage, MatrixStage) and scale.dtype == torch.float32
        torch.testing.assert_close(scale.double(), original.matrices[0])
    plain = Plan("numbers", VE, 1, (EMPTY,))
    assert on(plain, torch.float32, torch.device("cpu")) is plain


def test_the_loop_runs_them():
    """A plan of matrices with noise runs, and no tensor that the model was given is written to."""
    plan, x, noise = _plan(), _x(3, 2, 4), _x(3, 2, 4, seed=2)
    sigmas = torch.tensor([1.0, 0.5, 0.1], dtype=torch.float64)
    seen = []

    def model(u, t):
        seen.append((u, u.clone()))
        return u.sin()

    end = run_on(plan, model, x, sigmas, disable=True, noise_sampler=lambda a, b: noise)
    a, b = torch.from_numpy(MATRIX), torch.from_numpy(0.5 * MATRIX)
    middle = a @ x + b @ x.sin() + noise
    torch.testing.assert_close(end, b @ middle + a @ middle.sin() + b @ x.sin() + a @ x)
    assert all(torch.equal(given, then) for given, then in seen)
    assert torch.equal(run(plan, model, x, sigmas, disable=True, noise_sampler=lambda a, b: noise), end), "the core's loop"
    assert "[+0.300000000 -1.000000000 +2.000000000 +0.700000000]" in str(plan)
