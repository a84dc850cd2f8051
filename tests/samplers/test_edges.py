"""Every registered sampler gives a finite result at the limits of its inputs, or an error before the first call.

The limits are few steps, the largest sigmas, repeated sigmas, shapes, precisions, models that give NaN, and items of zeros.
"""

import math

import numpy as np
import pytest
import torch
from exact import CountingModel

from samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS
from samplers.options import NOISES
from samplers.time_maps import FLOW, VE

EVERY = {**SAMPLERS, **ADAPTIVE_SAMPLERS}
STOCHASTIC = [name for name in EVERY if EVERY[name].stochastic]
GRIDS = {
    "one step": (VE, [14.6, 0.0]),
    "one step, ending above 0": (VE, [14.6, 5.0]),
    "one step, flow": (FLOW, [1.0, 0.0]),
    "one step, flow, ending above 0": (FLOW, [1.0, 0.5]),
    "two steps": (VE, [14.6, 1.0, 0.0]),
    "two steps, flow": (FLOW, [1.0, 0.75, 0.0]),
    "two long steps": (VE, [4518.0, 0.002, 0.0]),
    "many steps": (VE, [*np.geomspace(14.6, 0.03, 7), 0.0]),
    "from sigma 4518": (VE, [*np.geomspace(4518.0, 0.002, 9), 0.0]),
    "flow from sigma 1": (FLOW, [*np.linspace(1.0, 0.1, 9), 0.0]),
    "flow, dense at sigma 1": (FLOW, [1.0, 1.0 - 1e-7, 0.99999, 0.9999, 0.99375, 0.9, 0.5, 0.0]),
}
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.fixture(params=EVERY)
def name(request):
    """Every registered sampler."""
    return request.param


def drawn(*shape, dtype=torch.float64):
    """Numbers that are exact in every precision, so that an item's noise, which depends on its bytes, is the same in all."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).bfloat16().to(dtype)


def by_element(x, sigma):
    """A denoiser that treats every element separately, with operations that round equally in any batch."""
    sigma = sigma.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
    return x / (1.0 + sigma) / (1.0 + sigma) + (x / (1.0 + sigma)).clamp(-1.0, 1.0) * 0.5


def sample(name, model, x, sigmas, time=VE, **options):
    """Sample; with CFG++ the unconditional output is half of the guided one."""
    sampler = EVERY[name]
    if time is FLOW:
        time = sampler.flow_time
    both = lambda x, sigma: (output := model(x, sigma), output / 2)  # noqa: E731
    sigmas = torch.tensor(sigmas, dtype=torch.float64)
    extra_args = {"seed": 3} if sampler.stochastic else None
    given = both if sampler.cfg_pp else model
    if extra_args:
        return sampler.sample(lambda x, sigma, seed: given(x, sigma), x, sigmas, extra_args, disable=True, time=time, **options)
    return sampler.sample(given, x, sigmas, disable=True, time=time, **options)


@pytest.mark.parametrize("grid", GRIDS)
def test_few_steps_and_far_starts_are_finite_and_hold_the_data(name, grid):
    """If every output is the same picture, a run to sigma 0 gives this picture with steps of any length."""
    time, sigmas = GRIDS[grid]
    x, picture = drawn(2, 3, 4) * sigmas[0], drawn(3, 4)
    for noise in NOISES if EVERY[name].stochastic else (None,):
        options = {"noise": noise} if noise else {}
        assert sample(name, by_element, x, sigmas, time, **options).isfinite().all()
        if sigmas[-1] == 0.0 and not EVERY[name].cfg_pp:
            result = sample(name, lambda x, sigma: picture.expand_as(x), x, sigmas, time, **options)
            torch.testing.assert_close(result, picture.expand_as(x), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("time", [VE, FLOW], ids=lambda time: time.name)
def test_one_step_to_zero_is_the_guided_output(name, time):
    x = drawn(2, 3, 4)
    assert torch.equal(sample(name, lambda x, sigma: 0.25 * x, x, [1.0, 0.0], time), 0.25 * x)


def test_repeated_sigmas_change_nothing(name):
    """They cost no call either, also on rising grids."""
    rises = not EVERY[name].stochastic and name not in ADAPTIVE_SAMPLERS
    for sigmas in (GRIDS["many steps"][1], np.geomspace(0.03, 14.6, 6).tolist())[: 1 + rises]:
        x, model, again = drawn(2, 3, 4) * sigmas[0], CountingModel(by_element), CountingModel(by_element)
        once = sample(name, model, x, sigmas)
        assert torch.equal(sample(name, again, x, [sigma for sigma in sigmas for _ in range(3)]), once)
        assert [float(sigma[0]) for sigma in again.sigmas] == [float(sigma[0]) for sigma in model.sigmas]
    for sigmas in ([], [5.0], [14.6, 14.6, 14.6]):
        assert sample(name, None, x, sigmas) is x, "no step, no call"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(4, 2, 3), (16, 3, 2, 5), (1, 4097), (3,)], ids=str)
def test_an_item_among_64_is_the_same_as_by_itself_or_among_2(name, shape, dtype):
    """It is equal bit for bit; with the adaptive sampler, which has one grid per batch, nearly."""
    sigmas = GRIDS["many steps"][1]
    x = drawn(64, *shape, dtype=dtype) * sigmas[0]
    together, alone, second = (sample(name, by_element, part, sigmas) for part in (x, x[5:6], x[4:6]))
    assert together.shape == x.shape and alone.shape == (1, *shape)
    if name in ADAPTIVE_SAMPLERS:
        assert together.isfinite().all() and (together[5] - alone[0]).abs().max() < (0.05 if dtype.itemsize > 2 else 0.5)
    else:
        assert torch.equal(together[5], alone[0]) and torch.equal(second[1], alone[0])


@pytest.mark.parametrize("grid", ["many steps", "from sigma 4518", "flow from sigma 1"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_precision_gives_the_same_up_to_rounding(name, dtype, grid):
    """The model gets the precision of the latent, and the result has it; the state and its sigmas are at least float32."""
    time, sigmas = GRIDS[grid]
    x, start = drawn(2, 3, 16), 2.0 ** round(math.log2(sigmas[0]))  # a power of 2, so that every precision starts the same
    wide, states = torch.promote_types(dtype, torch.float32), []

    def model(x, sigma):
        assert x.dtype == dtype and sigma.dtype == wide
        return by_element(x, sigma)

    result = sample(name, model, (start * x).to(dtype), sigmas, time, callback=lambda info: states.append(info["x"].dtype))
    assert result.dtype == dtype and result.isfinite().all() and set(states) == {wide}
    exact = sample(name, by_element, start * x, sigmas, time)
    error = (result.double() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert error < 30.0 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("grid", ["many steps", "from sigma 4518", "flow from sigma 1", "two steps"])
def test_an_item_of_zeros_is_finite(name, grid, dtype):
    """The item is the only one or in a batch, or the model always gives zeros; nothing is divided by 0."""
    time, sigmas = GRIDS[grid]
    x = drawn(3, 4, 5, dtype=dtype)
    x[1] = 0.0
    for latent in (x, x[1:2]):
        for model in (by_element, lambda x, sigma: torch.zeros_like(x)):
            result = sample(name, model, latent, sigmas, time)
            assert result.isfinite().all() and result.dtype == dtype
            if not EVERY[name].stochastic:
                assert (result[-2 if len(latent) > 1 else 0] == 0.0).all()


REFUSED = {
    "no number": (VE, [14.6, math.nan, 0.0], r"sigmas\[1\] is nan"),
    "infinity": (VE, [math.inf, 1.0, 0.0], r"sigmas\[0\] is inf"),
    "negative": (VE, [14.6, 1.0, -1.0], r"sigmas\[2\] is -1"),
    "unsorted": (VE, [14.6, 1.0, 2.0, 0.0], r"sigmas\[2\] is 2, above sigmas\[1\] = 1; SIGMAS must fall throughout"),
    "unsorted, rising": (VE, [0.1, 0.5, 0.4, 2.0], r"sigmas\[2\] is 0.4, below sigmas\[1\] = 0.5; SIGMAS must rise throughout"),
    "too long a step": (VE, [1e-9, 0.5], r"sigmas\[1\] is 0.5, more than a million times sigmas\[0\] = 1e-09"),
    "too small": (VE, [10.0, 1e-31, 0.0], r"sigmas\[1\] is 1e-31, which float32 cannot distinguish from 0"),
    "from zero": (VE, [0.0, 0.0], r"sigmas\[0\] is 0, but more sigmas follow"),
    "noise of another model": (FLOW, [14.6, 1.0, 0.0], r"sigmas\[0\] is 14.6, but a flow model ends at sigma 1"),
    "from the image itself": (VE, [0.0, 1.0, 14.6], r"sigmas rise|sigmas\[0\] is 0, but more sigmas.*direction 'invert' of RES"),
    "two axes": (VE, [[14.6, 1.0, 0.0]], r"sigmas must be one-dimensional, got shape \(1, 3\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_grid_is_refused_by_name_before_the_first_call(name, case):
    time, sigmas, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        sample(name, None, drawn(2, 3, 4), sigmas, time)


@pytest.mark.parametrize("name", [*STOCHASTIC, *ADAPTIVE_SAMPLERS])
def test_a_grid_that_rises_is_refused_by_name(name):
    with pytest.raises(ValueError, match="sigmas rise from 0.03 to 14.6"):
        sample(name, None, drawn(2, 3, 4), [0.03, 1.0, 14.6])
