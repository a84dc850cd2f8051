"""A model that returns NaN or infinity gives an error with step and sigma, without waiting for the device."""

import math
from functools import partial

import pytest
import torch
from exact import CountingModel

from samplers.catalogue import ADAPTIVE_SAMPLERS, METHODS
from samplers.loop import run
from samplers.single_step import single_step_plan
from samplers.tableaus import res_3s

SIGMAS = torch.tensor([10.0, 3.0, 1.0, 0.5, 0.0])


def _model(bad, below: float, pair: bool):
    """A model that halves x, and is `bad` in one element of one item from some sigma on."""

    def denoise(x, sigma):
        output = x / 2
        if float(sigma[0]) <= below:
            output[-1, 0] = bad
        return (output, output) if pair else output

    return CountingModel(denoise)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("below, step", [(10.0, 1), (1.0, 3), (0.5, 4)])
@pytest.mark.parametrize("name", [*METHODS, *ADAPTIVE_SAMPLERS])
def test_names_the_step_and_the_sigma_at_once_on_the_cpu(name, below, step, bad):
    sampler = (METHODS | ADAPTIVE_SAMPLERS)[name]
    model = _model(bad, below, sampler.cfg_pp)
    where = r"holds NaN or infinity after the model call at sigma (\S+) in step (\d+)\. Most often"
    with pytest.raises(FloatingPointError, match=where) as caught:
        sampler.sample(model, torch.ones(3, 2), SIGMAS, disable=True)
    last = float(model.sigmas[-1][0])
    assert last <= below and all(float(sigma[0]) > below for sigma in model.sigmas[:-1]), "the first bad call is the last one"
    if name not in ADAPTIVE_SAMPLERS:  # which have a grid of their own
        # the call may belong to a stage between this sigma and the one before
        named = str(caught.value)
        assert f"at sigma {last:g} in step {step}" in named or (last < below and f"in step {step - 1}" in named)


def test_a_latent_that_is_bad_to_begin_with():
    x = torch.tensor([[1.0, math.nan]])
    with pytest.raises(FloatingPointError, match="at sigma 10 in step 1. .* At the first call the latent given may hold it"):
        METHODS["exp_res"].sample(lambda x, sigma: torch.zeros_like(x), x, SIGMAS, disable=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16, torch.float64])
def test_large_numbers_are_no_infinity(dtype):
    x = torch.full((2, 1000), 6e4, dtype=dtype)
    for name in ("exp_res", "exp_res_2m"):
        assert METHODS[name].sample(lambda x, sigma: x, x, SIGMAS, disable=True).isfinite().all()


class _SlowDevice:
    """Copies arrive `lag` copies late, as from a GPU with work queued; reading a value waits for all of them."""

    def __init__(self, monkeypatch, lag: int):
        self.lag, self.queue, self.waits = lag, [], 0
        copy_, cpu = torch.Tensor.copy_, torch.Tensor.cpu
        monkeypatch.setattr(torch.Tensor, "copy_", lambda *args, non_blocking=False: self.enqueue(partial(copy_, *args)))
        monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: self.wait(partial(cpu, tensor)))

    def enqueue(self, copy):
        self.queue.append(copy)
        self.work(self.lag)

    def work(self, left):
        while len(self.queue) > left:
            self.queue.pop(0)()

    def wait(self, read):
        self.waits += 1
        self.work(0)
        return read()


@pytest.mark.parametrize("lag", [0, 1, 3, 100])
def test_on_a_slow_device_the_error_comes_late_and_names_the_same_place(monkeypatch, lag):
    sigmas = torch.linspace(10.0, 1.0, 11)
    model = _model(math.nan, float(sigmas[4]), False)
    plan = single_step_plan(sigmas, res_3s())
    device = _SlowDevice(monkeypatch, lag)
    with pytest.raises(FloatingPointError, match=r"at sigma 6\.4 in step 5\."):
        run(plan, model, torch.ones(2, 2), sigmas, disable=True)
    first_bad = 1 + next(i for i, sigma in enumerate(model.sigmas) if float(sigma[0]) <= float(sigmas[4]))
    assert len(model.sigmas) == min(first_bad + lag, plan.calls)
    assert device.waits == (first_bad + lag > plan.calls), "it waits only at the end"


def test_a_good_run_waits_once_at_the_end(monkeypatch):
    device = _SlowDevice(monkeypatch, 100)
    waits_at_calls = []

    def model(x, sigma):
        waits_at_calls.append(device.waits)
        return x / 2

    METHODS["exp_res"].sample(model, torch.ones(2, 2), SIGMAS, disable=True)
    before = waits_at_calls[0]  # the grid is read
    assert set(waits_at_calls) == {before} and device.waits == before + 1
