"""A trace of Gaussian data, whose exact trajectories, outputs and estimates are known, and the division of calls into steps."""

import gc
import math

import numpy as np
import pytest
import torch

import samplers
from embedded.digits import digits
from samplers.lab.distances import relative_distance
from samplers.lab.trace import COLUMNS, Trace, as_table
from samplers.phi import phi
from samplers.schedules import SigmaRange, logsnr_grid
from samplers.time_maps import FLOW, VE

STD = 0.7
N = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
N /= N.flatten(1).square().mean(1).sqrt()[:, None, None, None]  # RMS 1, so that every closed form is a number


def gaussian(sigma, alpha):
    """x and D on the exact trajectory of N, for data of mean 0: x has the marginal's std, D is linear in it."""
    std = math.hypot(alpha * STD, sigma)
    return std * N, alpha * STD**2 / std * N


def traced(grid, time, calls=None, **options):
    """The Trace of exact calls; calls: [(sigma, step named after it or None)], by default one at every step's start."""
    trace = Trace(list(grid), time, **options)
    for sigma, named in calls if calls is not None else [(sigma, i) for i, sigma in enumerate(grid[:-1])]:
        x, denoised = gaussian(sigma, time.alpha(sigma))
        trace.call(x, torch.full((3,), sigma, dtype=torch.float64), denoised, 0.002)
        if named is not None:
            trace.stepped(named)
    trace.finish()
    return trace


GRIDS = {
    "ve": (VE, np.geomspace(12.0, 0.05, 9).tolist()),
    "ve, rising": (VE, np.geomspace(0.05, 12.0, 9).tolist()),
    "flow": (FLOW, np.linspace(0.85, 0.05, 9).tolist()),
}


@pytest.mark.parametrize("name", GRIDS)
def test_measures_of_gaussian_data(name):
    time, grid = GRIDS[name]
    rows = traced(grid, time).rows
    assert [row.step for row in rows] == list(range(8))
    assert all(row.calls == 1 and row.ms == pytest.approx(2.0) for row in rows)
    length, length_lambda = abs(grid[0] - grid[-1]), abs(time.lam(grid[0]) - time.lam(grid[-1]))

    def size(sigma):
        x, d = (float(value.flatten()[0] / N.flatten()[0]) for value in gaussian(sigma, time.alpha(sigma)))
        return x, d, (x - d) / sigma

    for i, row in enumerate(rows):
        assert row.sigma == grid[i] and row.lam == time.lam(grid[i])
        (x, d, v), (x_end, d_end, _) = size(grid[i]), size(grid[i + 1])
        if i == 7:
            assert math.isnan(row.local_error) and math.isnan(row.first_order_error), "no output at the end of the last step"
        else:
            h = time.lam(grid[i + 1]) - time.lam(grid[i])
            at_end = time.alpha(grid[i + 1]) * h * phi(2, -h)
            at_start = time.alpha(grid[i + 1]) * h * phi(1, -h) - at_end
            own = x_end - (grid[i + 1] / grid[i] * x + at_start * d + at_end * d_end)
            assert row.local_error == pytest.approx(abs(own) / x_end, rel=1e-6, abs=1e-12)
            assert row.first_order_error == pytest.approx(abs(at_end * (d_end - d)) / x_end, rel=1e-9)
        if i == 0:
            assert all(math.isnan(getattr(row, name)) for name in ("d_change", "acceleration_sigma", "acceleration_lambda"))
            continue
        _, d_before, v_before = size(grid[i - 1])
        gap = time.lam(grid[i]) - time.lam(grid[i - 1])
        assert row.d_change == pytest.approx(abs(d - d_before) / d, rel=1e-9)
        assert row.acceleration_lambda == pytest.approx(length_lambda**2 * abs((d - d_before) / gap), rel=1e-9)
        expected = length**2 * abs((v - v_before) / (grid[i] - grid[i - 1]))
        assert row.acceleration_sigma == pytest.approx(expected, rel=1e-9)


def test_the_error_of_a_first_order_step():
    """It converges to the true error of RES-1 from the exact state as h -> 0, and falls as h^2."""
    estimates = []
    for steps in (40, 80, 160):
        grid = np.geomspace(4.0, 0.25, steps + 1)
        rows = traced(grid.tolist(), VE).rows
        i = steps // 2
        (x, d), x_end = gaussian(grid[i], 1.0), gaussian(grid[i + 1], 1.0)[0]
        ratio = grid[i + 1] / grid[i]
        error = (x_end - (ratio * x + (1.0 - ratio) * d)).square().mean().sqrt() / x_end.square().mean().sqrt()
        assert rows[i].first_order_error == pytest.approx(float(error), rel=2.0 / steps)
        estimates.append(rows[i].first_order_error)
    assert np.log2(estimates[0] / estimates[1]) == pytest.approx(2.0, abs=0.05)
    assert np.log2(estimates[1] / estimates[2]) == pytest.approx(2.0, abs=0.03)


def test_the_step_that_errs_is_the_one_that_is_blamed():
    """The sampler is exact except in one step, which has an error of a tenth."""
    grid = np.geomspace(12.0, 0.05, 9).tolist()
    trace = Trace(grid, VE)
    for i, sigma in enumerate(grid[:-1]):
        x, _ = gaussian(sigma, 1.0)
        x = x * (1.1 if i >= 4 else 1.0)  # the fourth step, from 3 to 4, errs; the others follow the exact ODE from there
        trace.call(x, torch.tensor([sigma]), x * STD**2 / (STD**2 + sigma**2), 0.1)
        trace.stepped(i)
    trace.finish()
    exact = traced(grid, VE).rows
    assert trace.rows[3].local_error == pytest.approx(0.1 / 1.1, rel=0.2)
    assert all(trace.rows[i].local_error == pytest.approx(exact[i].local_error, rel=1e-3, abs=1e-7) for i in (0, 1, 2, 4, 5, 6))


@pytest.mark.parametrize("name", ["exp_res_2m", "exp_res"])
def test_it_is_the_samplers_own_error(name):
    """On the digits with CFG 5 and 10 steps it is within a factor of 3 of the error by steps a fortieth as long."""
    mixture = digits(0.1, dtype=torch.float64)
    weights = torch.nn.functional.one_hot(torch.arange(8), mixture.classes).double()
    grid = logsnr_grid(10, SigmaRange(0.03, 14.6), VE).double()
    calls, trace = [], Trace(grid.tolist(), VE)

    def denoise(x, sigma, **_):
        free = mixture.denoise(x, sigma)
        return free + 5.0 * (mixture.denoise(x, sigma, 1.0, weights) - free)

    def model(x, sigma, **_):
        calls.append((x.clone(), float(sigma[0])))
        denoised = denoise(x, sigma)
        trace.call(x, sigma, denoised, 0.0)
        return denoised

    x = 14.6 * torch.randn(8, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    samplers.METHODS[name].sample(model, x, grid, None, lambda info: trace.stepped(info["i"]), True)
    trace.finish()
    for row, (x, start), (x_end, end) in zip(trace.rows, calls, calls[1:]):
        right = samplers.sample_exp_res_3s(denoise, x, torch.tensor(np.geomspace(start, end, 41)), disable=True)
        error = float(relative_distance(x_end, right).quantile(0.5))
        assert error / 3.0 < row.local_error < 3.0 * error, (row.step, row.local_error, error)


def test_the_ends_have_no_values_that_are_infinite():
    """At sigma 0 and at a flow model's sigma 1 lambda is infinite; the estimate is then in log sigma."""
    rows = traced([1.0, 0.9, 0.6, 0.3, 0.0], FLOW).rows
    assert rows[0].lam == -math.inf and math.isnan(rows[1].acceleration_lambda) and math.isnan(rows[-1].local_error)
    d, d_end = (gaussian(sigma, 1.0 - sigma)[1] for sigma in (1.0, 0.9))
    assert math.isfinite(rows[1].acceleration_sigma) and float((d - d_end).abs().max()) > 0.0
    h, x_end = math.log(1.0 / 0.9), math.hypot(0.1 * STD, 0.9)
    expected = h * phi(2, -h) * float((d - d_end).square().mean().sqrt()) / x_end
    assert rows[0].first_order_error == pytest.approx(expected, rel=1e-9)
    assert rows[0].as_json()["lambda"] is None
    assert rows[0].as_csv()["lambda"] == -math.inf and rows[-1].as_csv()["local_error"] == ""
    assert tuple(rows[1].as_csv()) == COLUMNS
    assert len(as_table(rows).splitlines()) == 2 + len(rows)


def test_no_more_than_the_last_steps_are_kept():
    def kept():
        return sum(type(thing) is torch.Tensor and thing.shape == N.shape for thing in gc.get_objects())

    before = kept()
    trace = traced(np.geomspace(8.0, 0.1, 201).tolist(), VE)
    assert len(trace.rows) == 200 and kept() - before <= 6


GRID = [8.0, 4.0, 2.0, 1.0, 0.0]
# way to sample -> (calls with the step named after each, calls of each row)
DIVISIONS = {
    "euler": ([(8, 0), (4, 1), (2, 2), (1, 3)], [1, 1, 1, 1]),
    "heun": ([(8, 0), (4, None), (4, 1), (2, None), (2, 2), (1, None), (1, 3)], [2, 2, 2, 1]),
    "heun with churn": ([(9, 0), (4, None), (5, 1), (2, None), (2.5, 2), (1, None), (1.2, 3)], [2, 2, 2, 1]),
    "stages named as fractions": ([(8, 0), (6, 0.4), (4, 1), (3, 1.5), (2, 2), (1.5, 2.5), (1, 3)], [2, 2, 2, 1]),
    "looking ahead": ([(8, 0), (4, None), (2, None), (4, 1), (2, None), (1, None), (2, 2), (1, 3)], [3, 3, 1, 1]),
    "naming steps at their end": ([(8, None), (6, 0), (4, None), (3, 1), (2, None), (1.5, 2), (1, 3)], [2, 2, 2, 1]),
    "naming nothing": ([(8, None), (6, None), (4, None), (3, None), (2, None), (1, None)], [2, 2, 1, 1]),
}


@pytest.mark.parametrize("name", DIVISIONS)
def test_calls_belong_to_steps_of_the_grid(name):
    calls, expected = DIVISIONS[name]
    sent = []
    rows = traced(GRID, VE, [(float(sigma), named) for sigma, named in calls], on_row=sent.append).rows
    assert [row.calls for row in rows] == expected and [row.step for row in rows] == list(range(4))
    assert sent == rows


def test_shares_of_rules_are_means_over_the_batch_in_columns_of_their_own():
    """Shares belong to the call after which they came, regardless of the reported step; the interrupted last step has none."""
    sent = []
    trace = Trace(GRID, VE, on_row=sent.append)
    shares = torch.rand(3, 3, 2, generator=torch.Generator().manual_seed(0))
    trace.chose(shares[0])  # of no call
    for i, sigma in enumerate(GRID[:-1]):
        x, denoised = gaussian(sigma, 1.0)
        trace.call(x, torch.tensor([sigma]), denoised, 0.1)
        trace.stepped(i)
        if i < 3:
            trace.chose(shares[i])
    trace.finish()
    assert sent == trace.rows
    for row, of in zip(trace.rows, shares):
        assert row.shares == pytest.approx(of.mean(0).tolist())
        assert [*row.as_json(), *row.as_csv()] == [*COLUMNS, "rule_0", "rule_1"] * 2
    assert trace.rows[3].shares == () and tuple(trace.rows[3].as_json()) == COLUMNS
    header, _, first, *_, last = as_table(trace.rows).splitlines()
    assert header.endswith("| rule_0 | rule_1 |") and last.endswith("|  |  |")
    assert first.endswith(f"| {trace.rows[0].shares[1]:.4g} |")


@pytest.mark.parametrize("own_grid", [True, False])
def test_a_sampler_with_its_own_grid(own_grid):
    """There is a row for every sigma below all earlier ones. If the own grid is only found out, all rows are sent again."""
    sigmas = [8.0, 7.0, 6.0, 5.0, 3.0, 2.5, 5.0, 3.5, 2.2, 1.0]  # with a step that is tried again
    sent = []
    trace = traced(GRID, VE, [(sigma, None) for sigma in sigmas], own_grid=own_grid, on_row=sent.append)
    assert [row.sigma for row in trace.rows] == [8.0, 7.0, 6.0, 5.0, 3.0, 2.5, 2.2, 1.0]
    assert [row.calls for row in trace.rows] == [1, 1, 1, 1, 1, 3, 1, 1]
    assert sent == trace.rows


def test_broken_off():
    """The measured rows stay; the current step has no end to compare with."""
    trace = Trace(GRID, VE)
    trace.finish()
    assert trace.rows == []
    for i, sigma in enumerate((8.0, 4.0, 2.0)):
        x, denoised = gaussian(sigma, 1.0)
        trace.call(x, torch.tensor([sigma]), denoised, 0.1)
        trace.stepped(i)
        x.zero_(), denoised.zero_()  # a sampler that changes the tensors that it gets
    trace.finish()
    assert [row.step for row in trace.rows] == [0, 1, 2]
    assert math.isfinite(trace.rows[1].local_error) and math.isfinite(trace.rows[2].d_change)
    assert math.isnan(trace.rows[2].local_error)
