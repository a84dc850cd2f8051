"""Rising grids, from the image to the noise: order, exactness, round trips, errors, and the grids for inversion."""

import math

import pytest
import torch
from exact import DETERMINISTIC, GRIDS, PLANNERS, denoiser, grid, in_lambda, noisy

from embedded.mixture import GaussianMixture, ring
from samplers.catalogue import METHODS as SAMPLERS
from samplers.churn import Churn
from samplers.interpolation import InAlpha
from samplers.loop import run
from samplers.multistep import multistep_plan
from samplers.plan import Noise
from samplers.schedules import DIRECTIONS, FLOW_INVERSION_END, SigmaRange, denoise_tail, directed, logsnr_grid
from samplers.single_step import single_step_plan
from samplers.tableaus import res_2s, res_3s
from samplers.time_maps import FLOW, FLOW_LOG_SIGMA, VE

CFG_PP = [name for name, sampler in SAMPLERS.items() if sampler.cfg_pp and not sampler.stochastic]
RISING = [(name, time) for name, (flow, _) in GRIDS.items() for time in ((VE, FLOW) if flow else (VE,)) if "from 1" not in name]
# method -> slope it must reach
METHODS = {"1M": 0.9, "2S": 1.9, "2M": 1.9, "2MC": 1.9, "alpha 6 4MC": 1.9, "3S": 2.85, "3M, 3S start": 2.85}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name, time", RISING, ids=lambda v: getattr(v, "name", v))
def test_the_error_of_a_round_trip_falls_with_the_order(method, name, time):
    """The trip goes from noise to the image and back."""
    errors, flow = [], GRIDS[name][0]
    for n in (240, 480):
        sigmas = grid(name, n)
        start = x = noisy(float(sigmas[0]), flow)
        for way in (sigmas, sigmas.flip(0)):
            x = run(PLANNERS[method](way, time=time), denoiser(flow), x, way, disable=True)
        errors.append((x - start).norm(dim=1))
    # the leading errors of RES-2M in both directions nearly cancel, and the rest is a mixture of orders
    assert torch.log2(errors[0] / errors[1]).median() >= METHODS[method] - 0.4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("time", [VE, FLOW], ids=lambda t: t.name)
def test_gaussian_data_rise_to_the_closed_form_with_the_methods_order(method, time):
    """y = x / alpha grows as sqrt(std^2 + s^2)."""
    std, errors = 0.7, []
    mixture = GaussianMixture(torch.zeros(1, 2, dtype=torch.float64), std)
    x = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for n in (80, 320):
        sigmas = in_lambda(time, 4.0, -2.0, n + 1)
        s, alpha = ([f(float(end)) for end in (sigmas[0], sigmas[-1])] for f in (time.s, time.alpha))
        exact = x * (alpha[1] / alpha[0]) * math.sqrt((std**2 + s[1] ** 2) / (std**2 + s[0] ** 2))
        model = denoiser(time is FLOW, mixture)
        errors.append((run(PLANNERS[method](sigmas, time=time), model, x, sigmas, disable=True) - exact).abs().max())
    assert math.log2(errors[0] / errors[1]) / 2 > METHODS[method] - 0.05


@pytest.mark.parametrize(
    "sampler, name, time",
    [(s, *case) for s in DETERMINISTIC for case in RISING]
    + [(s, name, time) for s in CFG_PP for name, time in RISING if GRIDS[name][0] == (time is FLOW)],  # needs alpha
    ids=lambda v: getattr(v, "name", v),
)
def test_a_point_comes_back_exactly(sampler, name, time):
    """The data are one conditional and one unconditional point. With CFG++ a rising step undoes a falling one."""
    flow, sigmas = GRIDS[name][0], grid(name, 9)
    x = noisy(float(sigmas[0]), flow)
    a, b = torch.tensor([0.3, -1.2], dtype=torch.float64), torch.tensor([-0.5, 0.4], dtype=torch.float64)
    model = (lambda x, s: (a.expand_as(x), b.expand_as(x))) if sampler in CFG_PP else (lambda x, s: a.expand_as(x))
    down = SAMPLERS[sampler].sample(model, x, sigmas, disable=True, time=time)
    back = SAMPLERS[sampler].sample(model, down, sigmas.flip(0), disable=True, time=time)
    torch.testing.assert_close(back, x, rtol=1e-9, atol=1e-9)


def test_the_step_that_touches_pure_noise_is_taken_in_the_same_time_both_ways():
    sigmas = [0.999, 0.85, 0.4]
    down, up = (multistep_plan(g, 1, FLOW).stages for g in (sigmas, sigmas[::-1]))
    assert [stage.h for stage in down] == pytest.approx([-stage.h for stage in up[::-1]])


@pytest.mark.parametrize("first", [0.0001, 0.01])
@pytest.mark.parametrize("steps", [6, 10, 20])
@pytest.mark.parametrize("flow", [False, True], ids=["ve", "flow"])
def test_few_steps_from_flip_sigmas_start_do_not_diverge(flow, steps, first):
    """The corrector and high orders amplify errors upwards, where dD/dx is 1 and steps grow; they are limited there."""
    time = FLOW if flow else VE
    end = -4.0 if flow else -2.7
    sigmas = torch.tensor([first, *in_lambda(time, 4.0, end, steps)], dtype=torch.float64)
    x = ring(std=0.2).sample(64, torch.Generator().manual_seed(0)) * time.alpha(first)
    fine = in_lambda(time, time.lam(first), end, 300)
    model = denoiser(flow, ring(std=0.2))
    exact = run(single_step_plan(fine, res_3s(), time), model, x, fine, disable=True)

    def error(**options):
        plan = multistep_plan(sigmas, time=time, **options)
        return float(((run(plan, model, x, sigmas, disable=True) - exact).norm(dim=1) / exact.norm(dim=1)).median())

    plain = error(order=1)
    assert error(order=2, corrector=True) < plain
    assert error(order=4, corrector=True, interpolation=InAlpha(6.0, 1.5)) < plain


# --- what is refused, before the model is called ---


@pytest.mark.parametrize("last", [1.0, 1.0 - 6e-8, 1.0 + 3e-7])
@pytest.mark.parametrize("time", [FLOW, FLOW_LOG_SIGMA], ids=lambda t: t.name)
@pytest.mark.parametrize("sampler", DETERMINISTIC)
def test_flow_may_not_end_in_pure_noise(sampler, time, last):
    sigmas = torch.tensor([0.01, 0.5, last], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"sigmas\[2\] is .*flow model's latent holds nothing of the image.*'invert'"):
        SAMPLERS[sampler].sample(None, torch.ones(1, 2), sigmas, disable=True, time=time)


def test_with_noise_sigmas_may_not_rise():
    """With churn they may not, and with eta they may if it is 0."""
    sigmas = torch.tensor([0.1, 1.0, 3.0])
    for plan, method in ((multistep_plan, 2), (single_step_plan, res_2s())):
        with pytest.raises(ValueError, match="sigmas rise from 0.1 to 3, which a sampler that adds noise or chooses"):
            plan(sigmas, method, churn=Churn(1.0))
    assert multistep_plan(sigmas, 2, noise=Noise(0.0)).stages == multistep_plan(sigmas, 2).stages


# --- the grids made for it ---

MODELS = {"ve": (SigmaRange(0.0292, 14.6), VE), "flow": (SigmaRange(0.003, 1.0), FLOW)}


@pytest.mark.parametrize("denoise", [1.0, 0.4])
@pytest.mark.parametrize("model", MODELS)
def test_directions(model, denoise):
    """Both directions have the same sigmas, and the rising one starts at a third of the smallest; the ends fit, also on flow."""
    sigma_range, time = MODELS[model]
    plain = denoise_tail(lambda n: logsnr_grid(n, sigma_range, time), 8, denoise)
    same, up, down = (directed(plain, time, direction) for direction in DIRECTIONS)
    assert torch.equal(same, plain)
    assert torch.equal(up[1:], down[:-1].flip(0)) and down[-1] == 0.0 and len(up) == len(down) == len(plain)
    assert float(up[0]) == pytest.approx(float(down[-2]) / 3.0) and (up[1:] > up[:-1]).all() and up.dtype == torch.float32
    assert torch.equal(down[1:], plain[1:])
    cut = time is FLOW and denoise == 1.0
    assert float(down[0]) == pytest.approx(FLOW_INVERSION_END if cut else float(plain[0]))
    single_step_plan(up, res_3s(), time)  # no error


@pytest.mark.parametrize(
    "direction, match",
    [
        ("up", "direction must be one of 'denoise', 'invert', 'denoise inverted'"),
        ("invert", "steps must be 2 or more for the direction 'invert'"),
    ],
)
def test_grids_of_no_step_or_one(direction, match):
    with pytest.raises(ValueError, match=match):
        directed(torch.tensor([1.0, 0.0]), VE, direction)
    assert all(len(directed(torch.empty(0), FLOW, direction)) == 0 for direction in DIRECTIONS)
