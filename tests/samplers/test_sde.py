"""The SDE form compared with closed-form moments, without random numbers, and samples compared with data by two-sample tests."""

import math
from functools import partial

import pytest
import torch
from exact import PLANNERS, STOCHASTIC, down_to_0, moments

from embedded.digits import digits
from samplers.interpolation import InAlpha
from samplers.loop import run
from samplers.multistep import multistep_plan, res_rule, rule_plan, steady_sde_plan
from samplers.plan import Noise
from samplers.schedules import SigmaRange, logsnr_grid
from samplers.single_step import single_step_plan
from samplers.tableaus import RES_1, res_3s
from samplers.time_maps import FLOW, VE

MEAN, STD = 0.4, 0.7
METHODS = ("1S", "2S", "3S", "3S(1/2,1)", "1M", "2M", "2MC", "alpha 2M", "alpha 2MC", "alpha 6 2MC")


def _errors(planner, time, steps, noise):
    """Errors of mean and standard deviation of Gaussian data at sigma 0."""
    sigmas = _grid(time, steps)
    plan = planner(sigmas, time=time, noise=noise)
    data = torch.tensor([MEAN], dtype=torch.float64), torch.tensor([[STD]], dtype=torch.float64)
    mean, variance = moments(partial(run, plan), sigmas, time, plan.calls, *data)
    return abs(float(mean) - MEAN), abs(float(variance) ** 0.5 - STD)


def _grid(time, n):
    return down_to_0(time, *((-math.log(20.0), -math.log(0.01)) if time is VE else (-4.0, 5.0)), n)


@pytest.mark.parametrize("eta", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("time", [VE, FLOW], ids=lambda t: t.name)
@pytest.mark.parametrize("method", METHODS)
def test_moments_of_gaussian_data_converge_to_the_truth(method, time, eta):
    errors = [max(_errors(PLANNERS[method], time, n, Noise(eta))) for n in (40, 160, 640)]
    assert errors[-1] < 0.01
    assert errors[2] < 0.5 * errors[1] or errors[2] < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_without_noise_it_is_the_deterministic_plan_to_the_bit(method):
    for time in (VE, FLOW):
        sigmas = _grid(time, 12)[1:]
        quiet, loud = (PLANNERS[method](sigmas, time=time, noise=Noise(0.0, s_noise)).stages for s_noise in (1.0, 3.0))
        assert quiet == loud == PLANNERS[method](sigmas, time=time).stages and not any(stage.noise for stage in quiet)


def test_one_stage_at_eta_one_is_ddpm():
    """It is ancestral sampling of DDPM in VE form, the host's `ddpm`, with mean and variance of q(x_t | x_s, x0 = D)."""
    s, t = 3.0, 1.2
    [stage] = single_step_plan([s, t], RES_1, VE, Noise(1.0)).stages
    assert stage.scale == pytest.approx(t**2 / s**2)
    assert stage.weights == ((0, pytest.approx(1 - t**2 / s**2)),)
    assert stage.noise == (pytest.approx(t * math.sqrt(1 - t**2 / s**2)),) and stage.segment == (s, t)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_stages_share_one_brownian_path(eta):
    """The noise of a stage and of the end of the step are correlated by the decay between them, like the process."""
    h, stages = math.log(3.0), single_step_plan([3.0, 1.0], res_3s(), VE, Noise(eta)).stages
    assert [len(stage.noise) for stage in stages] == [1, 2, 3]
    for c, stage, sigma in zip((1 / 3, 2 / 3, 1.0), stages, (stages[1].sigma, stages[2].sigma, 1.0)):
        assert sum(n**2 for n in stage.noise) == pytest.approx(sigma**2 * -math.expm1(-2 * c * h * eta))
    covariance = sum(a * b for a, b in zip(stages[0].noise, stages[2].noise))
    expected = stages[1].sigma * 1.0 * math.exp(-2 / 3 * h * eta) * -math.expm1(-2 / 3 * h * eta)
    assert covariance == pytest.approx(expected)


def test_s_noise_scales_the_noise_alone():
    plain, doubled = (single_step_plan([3.0, 1.0], res_3s(), VE, Noise(1.0, s_noise)).stages for s_noise in (1.0, 2.0))
    for a, b in zip(plain, doubled):
        assert b.noise == pytest.approx([2.0 * n for n in a.noise]) and (a.scale, a.weights) == (b.scale, b.weights)


def test_where_no_new_noise_is_drawn():
    """These are a stage at the end of the step, and the steps that touch pure noise and pure signal."""
    stages = single_step_plan([3.0, 1.0], res_3s(0.5, 1.0), VE, Noise(1.0)).stages
    assert [stage.segment is not None for stage in stages] == [True, True, False]
    assert stages[1].noise == pytest.approx(stages[2].noise)
    plan = multistep_plan(_grid(FLOW, 5), 2, FLOW, noise=Noise(1.0))
    assert [bool(stage.noise) for stage in plan.stages] == [False, True, True, True, False]


def test_noise_needs_rising_nodes():
    with pytest.raises(ValueError, match="c3 must be above c2"):
        single_step_plan([3.0, 1.0], res_3s(0.7, 0.3), VE, Noise(1.0))


# exp_res_sde

STEADY = res_rule(2, InAlpha(6.0, 1.5), corrector=True)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_long_steps_exchange_less_noise(eta):
    """A step of h in lambda adds sigma_next sqrt(1 - e^(-2 h eta')) with eta' = eta min(1, 0.25 / h)^4."""
    sigmas = [14.0, 6.0, 2.0, 1.9, 1.75, 0.5, 0.0]
    plan = steady_sde_plan(sigmas, STEADY, VE, Noise(eta))
    for stage, before, after in zip(plan.stages, sigmas, sigmas[1:-1]):
        h = math.log(before / after)
        weaker = eta * min(1.0, 0.25 / h) ** 4
        assert stage.noise == pytest.approx((after * math.sqrt(1 - math.exp(-2 * h * weaker)),))
    assert plan.stages[-1].noise == ()
    on_a_path = steady_sde_plan(sigmas, STEADY, VE, Noise(eta, path=True))
    for stage, other in zip(on_a_path.stages, rule_plan(sigmas, STEADY, VE, noise=Noise(eta)).stages):
        assert stage.noise == pytest.approx(other.noise)


def test_short_steps_are_those_of_the_plain_rule():
    sigmas = torch.linspace(math.log(2.0), math.log(0.1), 40, dtype=torch.float64).exp()
    steady, plain = (planner(sigmas, STEADY, VE, noise=Noise(1.0)) for planner in (steady_sde_plan, rule_plan))
    for stage, other in zip(steady.stages, plain.stages):
        assert (stage.scale, *stage.noise) == pytest.approx((other.scale, *other.noise))
        assert {call: w for call, w in stage.weights if w} == pytest.approx(dict(other.weights))
    # a long step skips outputs that are close to each other, and the correction after it reaches no further back
    assert steady_sde_plan([10.0, 1.0, 0.9999, 0.9998, 0.9997, 0.5, 0.1, 0.0], STEADY, VE, Noise(1.0)).calls == 7


@pytest.mark.parametrize("time", [VE, FLOW], ids=lambda t: t.name)
def test_moments_of_gaussian_data_at_few_steps(time):
    """With its whole eta in long steps, as on one noise path, 12 steps have more than twice the error of the spread."""
    planner = partial(steady_sde_plan, rule=STEADY)
    mean, spread = _errors(planner, time, 24, Noise(1.0))
    assert mean < 0.01 and spread < 0.02
    spread = _errors(planner, time, 12, Noise(1.0))[1]
    assert spread < 0.04 and spread < 0.5 * _errors(planner, time, 12, Noise(1.0, path=True))[1]


# --- correlated Gaussian data: mean and covariance of the result of the registered samplers ---

MEANS = torch.tensor([0.4, -0.2], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)  # deviations 1.18 and 0.32, turned by 34 degrees


@pytest.mark.parametrize("eta", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("time", [VE, FLOW], ids=lambda t: t.name)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_mean_and_covariance_of_a_correlated_gaussian_converge_to_the_truth(name, time, eta):
    """The limit is D(x) for exact samples x at the last sigma, which the last step gives; it differs from the data by 1e-4."""
    errors = []
    for n in (20, 80, 320):
        # on flow the first step, which starts at sigma 1, shrinks with the others
        grid = down_to_0(time, -3.4 if time is VE else -2.0 - math.log(n / 10), 4.6, n)
        sample = partial(STOCHASTIC[name].sample, eta=eta, time=time)
        mean, covariance = moments(sample, grid, time, 3 * len(grid), MEANS, torch.linalg.cholesky(COVARIANCE))
        last = COVARIANCE @ torch.linalg.inv(COVARIANCE + time.s(float(grid[-2])) ** 2 * torch.eye(2)) @ COVARIANCE
        errors.append(float(max((mean - MEANS).abs().max(), (covariance - last).abs().max())))
    if name == "exp_gddim_sde":  # of order 1
        assert errors[2] < errors[1] / 3 < errors[0] / 7.5 and errors[2] < 0.05, errors
    else:
        assert errors[2] < 0.002 and errors[2] < errors[0] / 20 and errors[2] < max(errors[1] / 4, 2e-5), errors


# --- digits: samples against data, by a permutation test of the energy distance ---

WIDTH, ITEMS, STEPS, PERMUTATIONS = 0.2, 300, 60, 499  # the methods' own bias is below 0.5 % at 60 steps
DIGITS = digits(WIDTH)
DATA = DIGITS.sample(ITEMS, torch.Generator().manual_seed(7))


def _samples(name, time, seed=2, **options):
    grid = logsnr_grid(STEPS, SigmaRange(0.01, 1.0 if time is FLOW else 14.6), time, "uniform")
    noise = torch.randn(ITEMS, 64, generator=torch.Generator().manual_seed(seed))

    def model(x, sigma, seed=None):
        return DIGITS.denoise(x, sigma, time.alpha(float(sigma[0])))

    model.noise = noise
    return STOCHASTIC[name].sample(model, noise * grid[0], grid, {"seed": seed}, disable=True, time=time, **options)


def _p_value(a, b):
    """The p-value of the hypothesis that a and b, of equal number, have one distribution; at least 1 / (PERMUTATIONS + 1)."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.ones(PERMUTATIONS + 1, 2 * len(a))
    signs[0, : len(a)] = -1.0  # the true labels
    for row in signs[1:]:
        row[torch.randperm(2 * len(a), generator=generator)[: len(a)]] = -1.0
    distances = torch.cdist(torch.cat([a, b]), torch.cat([a, b]))
    energies = -((signs @ distances) * signs).sum(dim=1)  # the energy distance, except for a factor
    return float((energies >= energies[0]).double().mean())


def _blur(x):
    """(items, 1): the distance to the nearest digit, where an error of the noise level shows most: it is 8 WIDTH in the data."""
    return torch.cdist(x, DIGITS.means).min(dim=1, keepdim=True).values


@pytest.mark.parametrize(
    "name, noise, time",
    [
        ("exp_res_sde", "independent", VE),
        ("exp_res_2m_sde", "brownian", FLOW),
        ("exp_res_2s_sde", "brownian", VE),
        ("exp_res_2s_sde", "independent", FLOW),
    ],
    ids=lambda v: getattr(v, "name", v),
)
def test_samples_cannot_be_told_from_data(name, noise, time):
    samples = _samples(name, time, noise=noise)
    assert _p_value(samples, DATA) > 0.01
    assert _p_value(_blur(samples), _blur(DATA)) > 0.01


@pytest.mark.parametrize("time", [VE, FLOW], ids=lambda t: t.name)
@pytest.mark.parametrize("s_noise", [0.95, 1.05])
def test_an_error_of_five_percent_in_the_noise_is_seen(time, s_noise):
    assert _p_value(_blur(_samples("exp_res_2m_sde", time, s_noise=s_noise)), _blur(DATA)) < 0.005
