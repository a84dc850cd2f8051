"""Adaptive step sizes: the error follows the tolerance, and the report is correct."""

import logging
import math

import numpy as np
import pytest
import torch
from exact import CountingModel

from embedded.digits import digits
from samplers import sample_exp_res_3s
from samplers.adaptive import C2, C3, sample_exp_res_adaptive
from samplers.catalogue import ADAPTIVE_SAMPLERS, METHODS
from samplers.time_maps import FLOW_LOG_SIGMA, VE
from testbed.operations import count_operations

ENDS = {VE: [14.6, 0.03], FLOW_LOG_SIGMA: [1.0, 0.011]}
TIMES = pytest.mark.parametrize("time", ENDS, ids=lambda time: time.name)


def _denoiser(time, width=0.1, cfg=1.0, batch=8, dtype=torch.float64):
    """The exact denoiser of the digits, guided to one digit per item."""
    mixture = digits(width, dtype)
    weights = torch.nn.functional.one_hot(torch.arange(batch) % 10, 10).to(dtype)

    def denoise(x, sigma):
        alpha = 1.0 if time is VE else 1.0 - sigma
        plain = mixture.denoise(x, sigma, alpha)
        return plain if cfg == 1.0 else plain + cfg * (mixture.denoise(x, sigma, alpha, weights) - plain)

    return denoise


def _noise(time, batch=8, dtype=torch.float64):
    noise = torch.randn(batch, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (noise * ENDS[time][0]).to(dtype)


def _sample(model, x, time, sigmas=None, rtol=0.05, **options):
    options = {"atol": 0.156 * rtol, "max_calls": 2000, "disable": True, "return_info": True, "time": time, **options}
    sigmas = torch.as_tensor([*ENDS[time], 0.0] if sigmas is None else sigmas)
    return sample_exp_res_adaptive(model, x, sigmas, rtol=rtol, **options)


def _jump(steepness, place):
    """A denoised output that goes from 1 to -1 around a sigma, in about 2 / steepness of log sigma."""
    return lambda x, sigma: torch.tanh(steepness * (sigma / place).log())[:, None].expand_as(x)


@TIMES
def test_error_against_tolerance_is_a_straight_line(time):
    """Over three decades the slope is near 1. The error is the worst item's, as in the controller."""
    tolerances = [1e-2, 1e-3, 1e-4, 1e-5]
    logs = []
    for width, cfg in ((0.1, 1.0), (0.2, 1.0), (0.1, 5.0)):
        model, x = _denoiser(time, width, cfg), _noise(time)
        fine = torch.tensor(np.geomspace(*ENDS[time], 801))
        exact = sample_exp_res_3s(model, x, fine, disable=True, time=time)
        ends = torch.tensor(ENDS[time], dtype=torch.float64)
        results = [_sample(model, x, time, ends, rtol)[0] for rtol in tolerances]
        errors = [float(((result - exact).norm(dim=1) / exact.norm(dim=1)).max()) for result in results]
        assert errors == sorted(errors, reverse=True) and errors[0] < 5 * tolerances[0]
        logs.append(np.log10(errors))
    mean, decades = np.mean(logs, axis=0), np.log10(tolerances)
    slope, intercept = np.polyfit(decades, mean, 1)
    assert 0.8 <= slope <= 1.2
    assert np.abs(mean - slope * decades - intercept).max() < 0.25


@TIMES
@pytest.mark.parametrize("place", [0.1, 0.2, 0.3, 0.4, 0.5])
@pytest.mark.parametrize("steepness", [2.0, 5.0, 20.0])
def test_a_sudden_change_of_the_output_is_seen(time, steepness, place):
    """Regardless of its place in a step, the error at the end is below the tolerance of one step."""
    model, x = _jump(steepness, place), _noise(time, batch=1)
    exact = sample_exp_res_3s(model, x, torch.tensor(np.geomspace(*ENDS[time], 601)), disable=True, time=time)
    result, _ = _sample(model, x, time, torch.tensor(ENDS[time], dtype=torch.float64))
    assert float((result - exact).square().mean().sqrt()) < 0.05 * (1.0 + 0.156)


@TIMES
def test_calls_are_those_reported(time, caplog):
    """A step makes three calls, a rejected step two, because its first output is kept, and the last step one."""
    model, seen = CountingModel(_jump(20.0, 0.3)), []
    with caplog.at_level(logging.INFO):
        x, info = _sample(model, _noise(time, dtype=torch.float32), time, callback=seen.append)
    steps = len(info.sigmas) - 2
    assert info.rejected > 0
    assert info.calls == len(model.sigmas) == len(seen) == 3 * steps + 2 * info.rejected + 1
    called = [float(sigma[0]) for sigma in model.sigmas]
    for sigma in info.sigmas[:-1].tolist():
        assert called.count(sigma) == 1, "the output at a point of the grid is computed once, and at that sigma to the bit"
    [record] = [r for r in caplog.records if r.levelno >= logging.INFO]
    assert record.message == f"exp_res_adaptive: {info.calls} model calls, {steps + 1} steps, {info.rejected} rejected"


@TIMES
@pytest.mark.parametrize("to_zero", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_accepted_grid_repeats_the_result_with_res_3s(time, dtype, to_zero):
    """On flow both samplers take the same time."""
    model, x = _denoiser(time, dtype=dtype), _noise(time, dtype=dtype)
    result, info = _sample(model, x, time, [*ENDS[time], *[0.0] * to_zero])
    assert info.sigmas[[0, -1 - to_zero]].tolist() == torch.tensor(ENDS[time]).tolist()
    assert info.sigmas.dtype == torch.float32 and (info.sigmas[-1] == 0) == to_zero
    assert torch.equal(sample_exp_res_3s(model, x, info.sigmas, disable=True, c2=C2, c3=C3, time=time), result)
    assert ADAPTIVE_SAMPLERS["exp_res_adaptive"].flow_time is METHODS["exp_res_3s"].flow_time


@TIMES
def test_only_the_ends_of_the_grid_matter(time):
    first, last = ENDS[time]
    between = np.geomspace(first, last, 7)[1:-1].tolist()
    x, model = _noise(time), _denoiser(time)
    expected, info = _sample(model, x, time)
    result, same = _sample(model, x, time, [first, first, *between, last, last, 0.0])
    assert torch.equal(result, expected) and torch.equal(same.sigmas, info.sigmas)


def test_the_worst_item_sets_the_steps():
    """Items with a constant denoiser have no error, and in a mean over the batch they would hide the error of the others."""
    model, x = _denoiser(VE), _noise(VE)

    def partly_constant(x, sigma):
        return torch.cat([model(x[:8], sigma[:8]), torch.zeros_like(x[8:])])

    _, alone = _sample(model, x, VE)
    _, among = _sample(partly_constant, torch.cat([x, x, x]), VE)
    torch.testing.assert_close(among.sigmas, alone.sigmas)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_a_relative_tolerance_knows_no_unit(scale):
    """With data, noise and sigmas in another unit and hardly any absolute tolerance, the grid is the same in that unit."""
    model, x = _denoiser(VE), _noise(VE)
    scaled = lambda y, sigma: scale * model(y / scale, sigma / scale)  # noqa: E731
    ends = torch.tensor([scale * s for s in ENDS[VE]], dtype=torch.float64)
    _, info = _sample(scaled, scale * x, VE, ends, atol=1e-12)
    _, expected = _sample(model, x, VE, torch.tensor(ENDS[VE], dtype=torch.float64), atol=1e-12)
    torch.testing.assert_close(info.sigmas / scale, expected.sigmas, rtol=1e-6, atol=0)


@TIMES
def test_dirac_data_is_exact_in_any_steps(time):
    point, noise = torch.full((1, 64), 0.3, dtype=torch.float64), _noise(time)
    alpha = [1.0 if time is VE else 1.0 - sigma for sigma in ENDS[time]]
    ends = torch.tensor(ENDS[time], dtype=torch.float64)
    x = alpha[0] * point + noise
    result, info = _sample(lambda x, sigma: point.expand_as(x), x, time, ends, max_calls=100)
    torch.testing.assert_close(result, alpha[1] * point + noise * (ends[1] / ends[0]), rtol=1e-12, atol=1e-12)
    assert info.rejected == 0 and info.worst_error < 1e-6


@TIMES
@pytest.mark.parametrize("to_zero", [True, False])
def test_never_more_calls_than_the_cap(time, to_zero, caplog):
    """The end is reached with any cap, and a warning says if the tolerance is exceeded."""
    model, x, sigmas = _denoiser(time, cfg=5.0), _noise(time), [*ENDS[time], *[0.0] * to_zero]
    expected, uncapped = _sample(model, x, time, sigmas, rtol=0.005)
    for cap in (3 + to_zero, 5, 6, 8, 11, 20, 33, uncapped.calls - 1, uncapped.calls):
        caplog.clear()
        counted = CountingModel(model)
        result, info = _sample(counted, x, time, sigmas, rtol=0.005, max_calls=cap)
        assert len(counted.sigmas) == info.calls <= cap
        assert result.isfinite().all() and (info.sigmas[1:] < info.sigmas[:-1]).all()
        assert info.sigmas[[0, -1]].tolist() == uncapped.sigmas[[0, -1]].tolist()
        assert ("did not suffice" in caplog.text) == (info.worst_error > 1.0)
        assert info.worst_error > 1.0 if cap <= 33 else True
    assert torch.equal(result, expected) and info.worst_error <= 1.0


def test_without_calls_for_the_tolerance_steps_are_even_in_log_sigma():
    _, info = _sample(_denoiser(VE), _noise(VE), VE, rtol=1e-5, max_calls=16)
    assert info.calls == 16
    torch.testing.assert_close(info.sigmas[:-1].log().diff(), torch.full((5,), math.log(0.03 / 14.6) / 5), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"rtol": 0.0}, "rtol must be a finite number above 0, got 0.0"),
        ({"rtol": math.nan}, "rtol must be"),
        ({"atol": "1"}, "atol must be a finite number above 0, got '1'"),
        ({"rtol": math.inf}, "rtol must be"),
        ({"atol": -0.1}, "atol must be a finite number above 0, got -0.1"),
        ({"max_calls": 3}, "max_calls must be 4 or more .* got 3"),
        ({"max_calls": 0, "sigmas": [3.0, 0.0]}, "max_calls must be 1 or more"),
        ({"max_calls": 2, "sigmas": [3.0, 1.0]}, "max_calls must be 3 or more"),
    ],
    ids=str,
)
def test_bad_input_before_the_first_call(options, match):
    with pytest.raises(ValueError, match=match):
        _sample(None, torch.ones(1, 2), **{"time": VE, **options})


@TIMES
@pytest.mark.parametrize("to_zero", [True, False])
def test_progress_follows_sigma_and_never_falls(time, to_zero):
    seen = []
    sigmas = torch.tensor([*np.geomspace(*ENDS[time], 9), *[0.0] * to_zero])
    _sample(_denoiser(time, cfg=5.0), _noise(time), time, sigmas, rtol=1e-4, callback=seen.append)
    values = [info["i"] for info in seen]
    assert all(type(i) is int for i in values)
    assert values == sorted(values) and set(values) == set(range(len(sigmas) - 1)), "its steps are shorter than the grid's"
    for info in seen:
        assert info["x"].shape == info["denoised"].shape == (8, 64)
        assert float(info["sigma"]) == float(sigmas[info["i"]])


def test_one_read_of_the_device_a_step_tried():
    x = torch.ones(1, 4, 64, 64)
    infos = []
    counts = count_operations(lambda model: infos.append(_sample(model, x, VE)[1]), x.numel())
    assert counts.host_reads_in_loop == len(infos[0].sigmas) - 2 + infos[0].rejected
    assert counts.float64_on_device == 0
