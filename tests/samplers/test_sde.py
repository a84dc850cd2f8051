"""The SDE form compared with closed-form means and variances, without random numbers."""

import math
from functools import partial

import pytest
import torch
from exact import PLANNERS, down_to_0, moments

from samplers.interpolation import InAlpha
from samplers.loop import run
from samplers.multistep import multistep_plan, res_rule, rule_plan, steady_sde_plan
from samplers.plan import Noise
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
