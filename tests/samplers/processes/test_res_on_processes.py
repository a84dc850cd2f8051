"""RES on linear diffusions: the methods for isotropic noise with matrices instead of phi functions."""

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from exact import PLANNERS
from process_examples import PROCESSES, data, distance, eps_of, state

from embedded.mixture import ring
from samplers.loop import run
from samplers.processes.process_forms import InData
from samplers.processes.process_planner import METHODS, gddim_on, res_on
from samplers.processes.process_sampler import run_on
from samplers.processes.process_times import time_grid, time_map_of

on_every_process = pytest.mark.parametrize("sde", PROCESSES.values(), ids=PROCESSES)
ORDERS = {"1": 1, "2M": 2, "2MC": 3, "3M": 3, "3MC": 4, "4M": 4, "4MC": 5, "2S": 2, "3S": 3}


def lam_grid(sde, steps, last=0.01):
    """Times that are uniform in half the logSNR."""
    time = time_map_of(sde)
    lams = np.linspace(time.lam(sde.t_max), time.lam(last), steps + 1)
    return [sde.t_max, *map(time.sigma, lams[1:])]


@lru_cache
def converged(name, steps):
    sde, fine = PROCESSES[name], lam_grid(PROCESSES[name], steps)
    return solve(gddim_on(sde, fine, 3, "PECE"), eps_of(sde, data()), state(sde), fine)


def solve(plan, model, u, times):
    return run_on(plan, model, u, torch.tensor(times, dtype=torch.float64), disable=True)


def order(name, method, steps, reference_steps):
    sde, u, reference = PROCESSES[name], state(PROCESSES[name]), converged(name, reference_steps)
    grids = lam_grid(sde, steps), lam_grid(sde, 2 * steps)
    coarse, fine = (distance(solve(res_on(sde, g, method), eps_of(sde, data()), u, g), reference) for g in grids)
    return math.log2(coarse / fine)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["VP", "CLD"])
def test_order(name, method):
    """The order is the method's order on isotropic noise, and one more with a corrector."""
    assert order(name, method, 40, 400) == pytest.approx(ORDERS[method], abs=0.3 if ORDERS[method] < 4 else 0.7)


@pytest.mark.parametrize("method", ["2MC", "3MC", "2S", "3S"])
def test_order_of_blurring(method):
    """Each frequency has its own logSNR, so orders need more steps to show."""
    assert order("blurring", method, 80, 500) > ORDERS[method] - 0.25


@on_every_process
def test_first_order_is_ddim(sde):
    """A constant D gives the same step as a constant eps, which is gDDIM of degree 0."""
    u, times, model = state(sde), [0.9, 0.6, 0.2, 0.01, 0.0], eps_of(sde, data())
    ours = solve(res_on(sde, times, "1"), model, u, times)
    torch.testing.assert_close(ours, solve(gddim_on(sde, times, 0), model, u, times), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("method", ["2M", "2MC", "3M", "2S", "3S"])
def test_on_vp_they_are_the_samplers_of_the_pack(method):
    """In sigma = sqrt((1 - a) / a) they have phi functions instead of quadratures."""
    sde, mixture = PROCESSES["VP"], ring(components=3, radius=1.0, std=0.5)
    times = [1.0, 0.8, 0.5, 0.3, 0.1, 0.02]
    alpha = torch.tensor([time_map_of(sde).alpha(t) for t in times], dtype=torch.float64)
    sigmas = (1 - alpha**2).sqrt() / alpha
    u = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = solve(res_on(sde, times, method), eps_of(sde, mixture), u, times)
    theirs = run(PLANNERS[method](sigmas), mixture.denoise, u / alpha[0], sigmas, disable=True) * alpha[-1]
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
@on_every_process
def test_exact_for_data_in_one_point(sde, method):
    """D is constant there, so steps of any size are exact."""
    u, times, fine = state(sde), [0.9, 0.5, 0.4, 0.1, 0.02], np.linspace(0.9, 0.02, 30).tolist()
    model = eps_of(sde, type(data())(data().means[:1], 1e-9))
    exact = solve(gddim_on(sde, fine, 0), model, u, fine)
    torch.testing.assert_close(solve(res_on(sde, times, method), model, u, times), exact, rtol=1e-6, atol=1e-6)
    ended = solve(res_on(sde, [*times, 0.0], method), model, u, [*times, 0.0])[:, :1]
    torch.testing.assert_close(ended.flatten(1), data().means[:1].expand(len(u), -1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["3MC", "3S"])
def test_the_parameterisation_does_not_matter(method):
    """Both kinds of eps give the same D."""
    sde, u, times = PROCESSES["CLD"], state(PROCESSES["CLD"]), [1.0, 0.7, 0.4, 0.1, 0.01, 0.0]
    ends = [solve(res_on(sde, times, method, kind), eps_of(sde, data(), kind), u, times) for kind in ("R", "L")]
    torch.testing.assert_close(*ends, rtol=1e-7, atol=1e-7)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method must be one of '1', '2M', .*, got '5M'"):
        res_on(PROCESSES["CLD"], [1.0, 0.0], "5M")


@pytest.mark.parametrize("s, t", [(0.99, 0.2), (0.99, 1e-3), (0.99, 1e-5), (2e-3, 1e-7)])
@pytest.mark.parametrize("name", ["CLD", "blurring"])
def test_weights_sum_to_what_a_constant_d_needs(name, s, t):
    """The sum is Psi(t, 0) - R_t R_s^-1 Psi(s, 0) for steps of any length."""
    sde = PROCESSES[name]
    expected = sde.transition(t, 0.0) - sde.root(t) @ np.linalg.solve(sde.root(s), sde.transition(s, 0.0))
    start = 1.0 if name == "CLD" else sde.t_max
    result = sum(InData(sde, "R", [(start, s), (s, t)]).weights([s, start], s, t))
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("planner, options", [(res_on, ("3S",)), (gddim_on, (3, "PECE")), (gddim_on, (0, "none", 0.5))])
@on_every_process
def test_a_plan_is_kept_and_can_be_printed(sde, planner, options):
    times = time_grid(sde, 12)
    plan = planner(sde, times, *options)
    assert planner(sde, times, *options) is plan and len(str(plan).splitlines()) == plan.calls + 2
