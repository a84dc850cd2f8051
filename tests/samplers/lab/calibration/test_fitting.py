"""Fits of a plan's scalars, the analytic plans they start from, and trajectories, on data whose solution is known."""

import math

import pytest
import torch
from calibration_data import TIMES, Gaussian, grid_of

from samplers.lab.calibration.fitting import BASES, Fitting, bases, fine_grid, fit, joined, recorded, ridge_fit, robust_fit
from samplers.loop import run
from samplers.multistep import multistep_plan
from samplers.time_maps import VE

EQUALLY = torch.ones(5).double()  # weights of items


def fitted(time, base, fitting):
    sigmas, model = grid_of(time).double().tolist(), Gaussian(time)
    x = model.start(sigmas[0])
    targets = [model.solution(x, sigmas[0], sigma) for sigma in sigmas[1:]]
    plan = bases(torch.tensor(sigmas), time)[base]
    return plan, fit(plan, lambda x, stage: model(x, torch.tensor([stage.sigma])), x, targets, time, fitting)


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("base", BASES)
def test_gaussian_data_are_fitted_exactly(time, base):
    """Every step can give the solution, so other items end there too. The loop goes where the fit went."""
    sigmas, model = grid_of(time).double(), Gaussian(time)
    x, other = (model.start(float(sigmas[0]), seed) for seed in (0, 1))
    exact, ridge = (fitted(time, base, fitting)[1] for fitting in (Fitting(0.0), Fitting(1e-2, 3)))
    end = run(exact.plan, model, other, sigmas, disable=True)
    torch.testing.assert_close(end, model.solution(other, float(sigmas[0]), 0.0), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(run(ridge.plan, model, x, sigmas, disable=True), ridge.end, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("base", BASES)
def test_an_endless_ridge_is_the_analytic_plan(time, base):
    plan, result = fitted(time, base, Fitting(math.inf))
    assert result.plan.stages == plan.stages
    near = fitted(time, base, Fitting(1e12))[1].plan
    for stage, close in zip(plan.stages, near.stages):
        assert close.scale == pytest.approx(stage.scale, abs=1e-9)
        given = dict(stage.weights)
        assert all(weight == pytest.approx(given.get(call, 0.0), abs=1e-9) for call, weight in close.weights)


def test_least_squares_with_a_ridge():
    """Without a ridge they are those of lstsq. The residual of the pilots grows with the ridge, and with less history."""
    values, residual = torch.randn(4, 5, 40).double(), torch.randn(5, 40).double()
    expected = torch.linalg.lstsq(values.flatten(1).T, residual.flatten()[:, None]).solution[:, 0]
    torch.testing.assert_close(ridge_fit(values, residual, 0.0, EQUALLY), expected)

    def left(ridge, count=4):
        c = ridge_fit(values[:count], residual, ridge, EQUALLY)
        return float((residual - torch.einsum("k,kid->id", c, values[:count])).square().mean())

    by_ridge = [left(ridge) for ridge in (0.0, 1e-2, 1.0, 100.0)]
    assert by_ridge == sorted(by_ridge) and left(0.0, 2) >= left(0.0, 3) >= left(0.0, 4)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_units_do_not_matter(scale):
    values, residual = torch.randn(3, 5, 40).double(), torch.randn(5, 40).double()
    for ridge in (0.0, 1e-2, 1.0):
        one = robust_fit(values, residual, ridge)
        torch.testing.assert_close(robust_fit(values * scale, residual, ridge) * scale, one, rtol=1e-6, atol=1e-9)


def test_a_pilot_that_ends_elsewhere_does_not_rule():
    """The items follow one rule, except one of eight, which is far off."""
    values = torch.randn(2, 8, 50, generator=torch.Generator().manual_seed(3)).double()
    c = torch.tensor([0.5, -2.0]).double()
    residual = torch.einsum("k,kid->id", c, values) + 1e-3 * torch.randn(8, 50).double()
    residual[3] += 5.0 * values[0, 3]
    robust, plain = robust_fit(values, residual, 0.0), ridge_fit(values, residual, 0.0, torch.ones(8).double())
    assert (robust - c).norm() < 1e-3 < 0.1 < (plain - c).norm()


@pytest.mark.parametrize("case", ["none", "equal", "exact"])
def test_what_says_nothing_gets_no_share(case):
    """Regressors that vanish or repeat, and a residual of 0, give finite and correct numbers."""
    values, residual = torch.randn(3, 4, 20).double(), torch.randn(4, 20).double()
    if case == "none":
        values[1] = 0.0
    elif case == "equal":
        values[1] = values[0]
    else:
        residual = torch.zeros_like(residual)
    c = robust_fit(values, residual, 0.0)
    assert c.isfinite().all() and (case != "none" or c[1] == 0.0) and (case != "exact" or c.norm() == 0.0)


def test_a_model_of_nan_is_named():
    sigmas = grid_of(VE)
    x = torch.ones(2, 3)
    with pytest.raises(FloatingPointError, match="step 0"):
        fit(bases(sigmas, VE)["exp_res_2mc"], lambda x, stage: x * math.nan, x, [x] * 6, VE, Fitting(1.0))


# --- the plans to start from ---


def test_dpmpp_2m_is_dpm_solver_pp_2m():
    """Its weights follow the paper's formula, (1 - e^-h) ((1 + 1 / 2r) D - 1 / 2r D_before) r = h_before / h."""
    sigmas = grid_of(VE, 6)
    plan = bases(sigmas, VE)["dpmpp_2m"]
    lam = [-math.log(s) for s in sigmas.double()[:-1].tolist()]
    for i in range(1, len(lam) - 1):
        h, before = lam[i + 1] - lam[i], lam[i] - lam[i - 1]
        r, size = before / h, -math.expm1(-h)
        assert dict(plan.stages[i].weights) == pytest.approx({i: size * (1.0 + 0.5 / r), i - 1: -size * 0.5 / r})
    assert dict(plan.stages[-1].weights) == {len(plan.stages) - 1: 1.0} and plan.stages[-1].scale == 0.0


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("name", BASES)
def test_every_base_can_be_fitted_and_converges(name, time):
    model = Gaussian(time)
    sigmas = grid_of(time, 48)
    plan, start = bases(sigmas, time)[name], model.start(float(sigmas[0]))
    assert all(stage.closes_step and not stage.noise for stage in plan.stages) and not plan.cfg_pp
    end, truth = run(plan, model, start, sigmas, disable=True), model.solution(start, float(sigmas[0]), 0.0)
    assert plan.calls == 48 and float((end - truth).norm() / truth.norm()) < 0.04


# --- trajectories ---


def trajectory(time, steps, wanted=None, seed=0):
    model, sigmas = Gaussian(time), grid_of(time)
    fine = torch.tensor(fine_grid(sigmas.tolist(), time, 1e-3, steps))
    x = model.start(float(sigmas[0]), seed)
    return recorded(multistep_plan(fine, 3, time, corrector=True), model, x, fine, None, wanted), x


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("steps", [1, 7, 64, 500])
def test_fine_grids_hold_every_sigma(time, steps):
    """They fall, and have no more points than announced."""
    sigmas = grid_of(time).tolist()
    fine = fine_grid(sigmas, time, 1e-3, steps)
    assert set(sigmas) <= set(fine) and all(a > b for a, b in zip(fine, fine[1:]))
    assert len(fine) - 1 <= steps + len(sigmas) and fine == torch.tensor(fine).tolist()


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
def test_the_reference_is_the_solution(time):
    """This holds at every sigma of the grid, and between them for the cubic."""
    result, x = trajectory(time, 300)
    model, sigmas = Gaussian(time), grid_of(time).tolist()
    between = [0.3 * a + 0.7 * b for a, b in zip(sigmas, sigmas[1:-1])]
    for sigma in (*sigmas[:-1], *between):
        torch.testing.assert_close(result.at(sigma).double(), model.solution(x, sigmas[0], sigma), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.at(0.0).double(), model.solution(x, sigmas[0], 0.0), rtol=1e-3, atol=1e-3)


def test_only_what_is_asked_for_is_kept_and_joined_in_order():
    sigmas = grid_of(VE)
    result, _ = trajectory(VE, 64, sigmas)
    assert result.sigmas == sigmas.tolist()[:-1]
    with pytest.raises(ValueError, match="not on the trajectory"):
        result.at(2.0 * float(sigmas[0]))
    parts = [trajectory(VE, 32, seed=seed)[0] for seed in (0, 1)]
    whole = joined(parts)
    for index, sigma in enumerate(whole.sigmas):
        assert torch.equal(whole.x[index], torch.cat([p.at(sigma) for p in parts]))
    assert len(whole.end) == sum(len(p.end) for p in parts)
