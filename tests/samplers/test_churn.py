"""Churn compared with closed-form moments, without random numbers, and its other guarantees."""

import math
from functools import partial

import pytest
import torch
from exact import DETERMINISTIC, PLANNERS, CountingModel, NoisyModel, denoiser, down_to_0, in_lambda, moments

from samplers import sample_res_churn
from samplers.catalogue import EXP_RES, SOLVERS
from samplers.churn import Churn
from samplers.loop import run
from samplers.multistep import multistep_plan, rule_plan
from samplers.plan import Noise
from samplers.time_maps import FLOW, FLOW_LOG_SIGMA, VE
from testbed.operations import count_operations

MEAN, STD = torch.tensor([0.4], dtype=torch.float64), torch.tensor([[0.7]], dtype=torch.float64)
# method -> its order in distribution
ORDERS = {"1S": 1, "2S": 2, "3S": 3}
ORDERS |= dict.fromkeys(("2M", "3M", "2MC", "3MC", "3MC, 3S start", "alpha 2M", "alpha 4MC"), 2)
CHURNS = [Churn(5.0), Churn(20.0), Churn(10.0, s_tmin=0.3, s_tmax=4.0)]
TIMES = [VE, FLOW, FLOW_LOG_SIGMA]


@pytest.fixture(params=SOLVERS)
def name(request):
    """Every solver."""
    return request.param


def _process(time):
    return FLOW if time is FLOW_LOG_SIGMA else time


def _grid(time, n, last=None):
    """n steps, uniform in lambda, to `last` (a lambda) or to sigma = 0; flow from sigma = 1."""
    first, end = (-3.0, 4.6) if time is VE else (-4.0, 5.0)
    return down_to_0(_process(time), first, end, n) if last is None else in_lambda(_process(time), first, last, n + 1)


def _error(planner, sigmas, time, churn, root=STD):
    """Largest error of mean and variance against the noisy data at the last sigma."""
    plan = planner(sigmas, time=time, churn=churn)
    mean, variance = moments(partial(run, plan), sigmas, _process(time), plan.calls + 1, MEAN, root)
    sigma = float(sigmas[-1])
    alpha = _process(time).alpha(sigma)
    return max(abs(float(mean - alpha * MEAN)), abs(float(variance - (alpha * root) ** 2) - sigma**2))


@pytest.mark.parametrize("churn", CHURNS, ids=lambda c: f"{c.s_churn:g}, {c.s_tmin:g} to {c.s_tmax:g}")
@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("method", ORDERS)
def test_moments_of_gaussian_data_converge_to_the_truth(method, time, churn):
    """The grids end at sigma = 0, and start at sigma = 1 on flow."""
    errors = [_error(PLANNERS[method], _grid(time, n), time, churn) for n in (40, 120, 360)]
    assert errors[2] < 0.02 and (errors[2] < 0.5 * errors[1] or errors[2] < 5e-4)


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("method", ORDERS)
def test_order_in_distribution(method, time):
    """A single-step method keeps its order, and a multistep method keeps order 2."""
    coarse, fine = (_error(PLANNERS[method], _grid(time, n, last=2.3), time, Churn(5.0)) for n in (320, 640))
    assert math.log2(coarse / fine) > ORDERS[method] - 0.25


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("method", ORDERS)
def test_point_data_have_the_noise_of_sigma_in_steps_of_any_size(method, time):
    """D is constant, so the solver is exact, and the noise has the variance sigma^2 for every churn."""
    sigmas = torch.tensor([0.9, 0.8, 0.3, 0.29, 0.05], dtype=torch.float64)
    error = _error(PLANNERS[method], sigmas, time, Churn(100.0), root=torch.zeros(1, 1, dtype=torch.float64))
    assert error < 1e-14


@pytest.mark.parametrize("corrector", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_churned_multistep_method_is_the_exponential_sde_between_the_points_where_the_model_is_called(order, corrector):
    """A step goes deterministically to below the next point, and noise is added up to it, as in an ancestral step."""
    rise, h = math.log(1.25), 0.3
    sigmas = [20.0 * math.exp(-h * i) for i in range(9)]
    churn = multistep_plan(sigmas, order, corrector=corrector, churn=Churn(0.25 * 8))
    sde = multistep_plan([1.25 * s for s in sigmas[:-1]], order, corrector=corrector, noise=Noise(rise / h))
    assert len(sde.stages) == 7
    for ours, theirs in zip(churn.stages, sde.stages):
        assert (ours.sigma, ours.scale, *ours.noise) == pytest.approx((theirs.sigma, theirs.scale, *theirs.noise))
        assert dict(ours.weights) == pytest.approx(dict(theirs.weights))


def test_the_steps_of_edm():
    """The test writes out algorithm 2 of arXiv 2206.00364 without its second order."""
    sigmas, noises = [9.0, 4.0, 1.0, 0.2, 0.0], torch.randn(4, 3, 2, dtype=torch.float64, generator=torch.manual_seed(0))
    s_churn, s_tmin, s_tmax, s_noise = 1.0, 0.5, 5.0, 1.003
    start = torch.randn(3, 2, dtype=torch.float64) * 9
    model, x, used = denoiser(False), start, iter(noises)
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        sigma_hat = sigma * (1 + s_churn / 4) if s_tmin <= sigma <= s_tmax else sigma
        if sigma_hat > sigma:
            x = x + s_noise * (sigma_hat**2 - sigma**2) ** 0.5 * next(used)
        x = x + (sigma_next - sigma_hat) * (x - model(x, torch.full((3,), sigma_hat, dtype=torch.float64))) / sigma_hat
    used = iter(noises)
    result = sample_res_churn(
        model, start, torch.tensor(sigmas, dtype=torch.float64), disable=True, solver=PLANNERS["1S"], s_churn=s_churn,
        s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise, noise_sampler=lambda a, b: next(used),
    )  # fmt: skip
    torch.testing.assert_close(result, x)
    assert len(list(used)) == 2


# --- without churn ---


def _start(batch=3, shape=(2,)):
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_solvers_are_the_deterministic_samplers():
    """They are the RES methods; earlier values of eps of gDDIM would no longer hold after noise was added."""
    assert set(SOLVERS) == set(DETERMINISTIC) - {"exp_gddim"}


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("options", [{}, {"s_churn": 40.0, "s_tmin": 5.0, "s_tmax": 6.0}], ids=["0", "outside the limits"])
def test_without_churn_it_is_the_deterministic_sampler_to_the_bit(name, options, time):
    sigmas = torch.tensor([0.999, 0.8, 0.5, 0.2, 0.0])  # s = sigma / alpha is 999, 4, 1, 0.25
    model = denoiser(time is not VE)
    before = torch.get_rng_state()
    result = sample_res_churn(model, _start(), sigmas, disable=True, solver=name, time=time, **options)
    assert torch.equal(result, DETERMINISTIC[name].sample(model, _start(), sigmas, disable=True, time=time))
    assert torch.equal(torch.get_rng_state(), before), "no noise sampler, which would draw a seed"


# --- where it is churned ---

SIGMAS = torch.tensor([10.0, 3.0, 2.9, 1.0, 0.3, 0.0])


def _zero_noise(sigma, sigma_next):
    return torch.zeros(3, 2, dtype=torch.float64)


def _calls(sigmas=SIGMAS, **options):
    """The sigmas at which a first-order solver calls the model."""
    model = CountingModel(lambda x, sigma: x / 2)
    options = {"s_churn": 1e9, **options}
    sample_res_churn(model, _start(), sigmas, disable=True, solver=PLANNERS["1S"], noise_sampler=_zero_noise, **options)
    return [float(sigma[0]) for sigma in model.sigmas]


@pytest.mark.parametrize("s_churn, eta", [(0.5, 0.1), (2.0, 0.4), (1e9, math.sqrt(2) - 1)])
def test_a_step_starts_from_sigma_hat(s_churn, eta):
    assert _calls(s_churn=s_churn) == pytest.approx([(1 + eta) * float(s) for s in SIGMAS[:-1]])


def test_limits_are_those_of_s():
    """s is sigma on VE models and sigma / (1 - sigma) on flow, in any variable of the solver; both ends are included."""
    root = math.sqrt(2)
    assert _calls(s_tmin=1.0, s_tmax=3.0) == pytest.approx([10.0, 3 * root, 2.9 * root, root, 0.3], rel=1e-6)
    flow = torch.tensor([0.9, 0.75, 0.5, 0.25, 0.0], dtype=torch.float64)  # s = 9, 3, 1, 1/3
    for time in (FLOW, FLOW_LOG_SIGMA):
        hat = [3 * root / (1 + 3 * root), root / (1 + root)]
        assert _calls(flow, s_tmin=1.0, s_tmax=3.0, time=time) == pytest.approx([0.9, *hat, 0.25])


def test_never_above_the_models_sigma_max():
    assert _calls(sigma_max=10.0)[:3] == pytest.approx([10.0, 3 * math.sqrt(2), 2.9 * math.sqrt(2)])
    assert _calls(sigma_max=3.5)[:3] == pytest.approx([10.0, 3.5, 3.5]), "a grid that starts above it is left alone"
    flow = torch.tensor([0.8, 0.7, 0.0], dtype=torch.float64)
    s_hat = 0.7 / 0.3 * math.sqrt(2)
    assert _calls(flow, time=FLOW, sigma_max=0.8) == pytest.approx([0.8, s_hat / (1 + s_hat)])
    assert _calls(flow, time=FLOW, sigma_max=0.75) == pytest.approx([0.8, 0.75])
    a_rounding_below = torch.tensor([9.9999999, 0.0], dtype=torch.float64)
    assert _calls(a_rounding_below, sigma_max=10.0) == [9.9999999]


def test_pure_noise_is_not_churned():
    """This is flow at sigma = 1, and where sigma_hat would be 1 up to rounding."""
    for first in (1.0, 1.0 - 1e-6, 1.0 - 1.2e-5):
        assert _calls(torch.tensor([first, 0.5, 0.0], dtype=torch.float64), time=FLOW, sigma_max=1.0)[0] == first


def test_repeated_sigmas_cost_nothing_and_change_nothing(name):
    def sample(sigmas):
        model = CountingModel(denoiser(False))
        noise = torch.Generator().manual_seed(1)
        result = sample_res_churn(
            model, _start(), torch.tensor(sigmas), disable=True, solver=name, s_churn=1.0,
            noise_sampler=lambda a, b: torch.randn(3, 2, dtype=torch.float64, generator=noise),
        )  # fmt: skip
        return result, len(model.sigmas)

    plain, calls = sample([9.0, 3.0, 1.0, 0.4, 0.0])
    repeated, as_many = sample([9.0, 9.0, 3.0, 3.0, 3.0, 1.0, 0.4, 0.4, 0.0, 0.0])
    assert torch.equal(plain, repeated) and calls == as_many


def test_segments_are_from_the_larger_sigma_to_the_smaller():
    seen = []

    def noise_sampler(sigma, sigma_next):
        seen.append((float(sigma), float(sigma_next)))
        return _zero_noise(sigma, sigma_next)

    sample_res_churn(denoiser(False), _start(), SIGMAS, disable=True, s_churn=0.5, noise_sampler=noise_sampler)
    assert seen == [pytest.approx((1.1 * float(s), float(s))) for s in SIGMAS[:-1]]


# --- the loop's promises under churn ---


@pytest.mark.parametrize("time", [VE, FLOW], ids=lambda t: t.name)
def test_callback(name, time):
    """sigma is the grid's, and sigma_hat is the sigma of the model call, which is larger at the first call of a step."""
    seen, model, sigmas = [], CountingModel(lambda x, sigma: x / 2), torch.tensor([0.9, 0.7, 0.4, 0.1, 0.0])
    callback = lambda info: seen.append((float(info["sigma"]), float(info["sigma_hat"]), info["i"]))  # noqa: E731
    options = {"s_churn": 1.0, "noise_sampler": lambda a, b: torch.ones(3, 2), "time": time, "solver": name}
    sample_res_churn(model, _start().float(), sigmas, None, callback, True, **options)
    assert [hat for _, hat, _ in seen] == [float(sigma[0]) for sigma in model.sigmas]
    steps = [i for *_, i in seen]
    assert steps == sorted(steps)
    assert all(hat > sigma for sigma, hat, _ in (seen[steps.index(i)] for i in set(steps)))


def test_a_churned_step_costs_one_operation_more(name):
    """The noise is part of the update that ends the previous step; only a churned first step has a separate one.

    exp_res uses only its first rule under churn, without a share of eps, and is compared with that.
    """
    sigmas, x = torch.linspace(10.0, 0.1, 9), torch.ones(1, 4, 64, 64)
    unit = torch.ones_like(x)

    def count(**options):
        solver = partial(rule_plan, rule=EXP_RES[0].without_eps()) if name == "exp_res" else name
        options |= {"solver": solver, "noise_sampler": lambda a, b: unit}
        return count_operations(lambda model: sample_res_churn(model, x, sigmas, disable=True, **options), x.numel())

    plain, churned, first_too = count(), count(s_churn=1.0, sigma_max=10.0), count(s_churn=1.0)
    assert churned.latent_operations == plain.latent_operations + 7
    assert first_too.latent_operations == churned.latent_operations + 2
    assert first_too.host_reads_in_loop == first_too.float64_on_device == 0


def test_an_item_is_the_same_in_any_batch(name):
    def sample(noise, seed=7):
        return sample_res_churn(NoisyModel(noise), noise * 10.0, SIGMAS, {"seed": seed}, disable=True, solver=name, s_churn=1.0)

    noise = _start(8, (4, 8, 8)).float()
    whole = sample(noise)
    assert torch.equal(sample(noise[3:4]), whole[3:4]) and torch.equal(sample(noise.flip(0)), whole.flip(0))
    assert not torch.equal(sample(noise, 8), whole)


def test_a_printed_plan_shows_what_comes_before_the_first_call():
    plan = multistep_plan([3.0, 1.0, 0.0], 2, churn=Churn(0.5))
    lines = str(plan).splitlines()
    assert lines[2] == f"before the first call: scale 1.000000000  n0: {3 * 0.75:+.6f}" and len(lines) == 3 + plan.calls
    assert "n0: +0.750000" in lines[3]


@pytest.mark.parametrize(
    "options, match",
    [
        ({"s_churn": -1.0}, "s_churn must be a finite number, 0 or more, got -1.0"),
        ({"s_churn": math.inf}, "s_churn must be a finite number, 0 or more, got inf"),
        ({"s_churn": math.nan}, "s_churn must be a finite number, 0 or more, got nan"),
        ({"s_noise": -1.0}, "s_noise must be between 0 and 100, got -1.0"),
        ({"s_tmin": -1.0}, "s_tmin must be a finite number, 0 or more, got -1.0"),
        ({"s_tmin": math.nan}, "s_tmin must be a finite number, 0 or more, got nan"),
        ({"s_tmin": 2.0, "s_tmax": 1.0}, "s_tmax must be s_tmin = 2 or more, got 1.0"),
        ({"s_tmax": math.nan}, "s_tmax must be s_tmin = 0 or more, got nan"),
        ({"sigma_max": 0.0}, "sigma_max must be above 0, got 0.0"),
        ({"sigma_max": math.nan}, "sigma_max must be above 0, got nan"),
        ({"solver": "euler"}, "solver must be one of 'exp_res', .* or a planner, got 'euler'"),
    ],
    ids=str,
)
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        sample_res_churn(None, torch.ones(1, 2), SIGMAS, disable=True, **{"s_churn": 1.0, **options})


def test_churn_and_the_sde_exclude_each_other():
    for method in ("2S", "2M"):
        with pytest.raises(ValueError, match="s_churn must be 0 for a sampler with eta above 0"):
            PLANNERS[method](SIGMAS, noise=Noise(1.0), churn=Churn(1.0))
