"""CFG++: identities with the plain methods, with CFG and with the paper's formula, limits, and the guarantees of the loop."""

import math
from dataclasses import replace

import pytest
import torch
from exact import CFG_PP, grid, in_lambda, noisy, paired, without_cfg_pp

from embedded.mixture import ring
from samplers.catalogue import METHODS
from samplers.cfg_pp import cfg_pp
from samplers.loop import run
from samplers.multistep import multistep_plan
from samplers.plan import Noise
from samplers.single_step import single_step_plan
from samplers.tableaus import res_2s, res_3s
from samplers.time_maps import FLOW, FLOW_LOG_SIGMA, VE
from testbed.operations import count_operations

RING = ring(components=8, std=0.3)
FALLING = {
    "ve": (VE, [8.0, 4.0, 2.5, 1.1, 0.4, 0.1, 0.0]),
    "ve, ending above 0": (VE, [8.0, 4.0, 2.5, 1.1, 0.4]),
    "flow": (FLOW, [1.0, 0.95, 0.8, 0.5, 0.2, 0.05, 0.0]),
    "flow, from below 1": (FLOW, [0.85, 0.5, 0.3, 0.1, 0.0]),
}


def _outputs(time, scale):
    """Unconditional and guided denoisers; odd items have one class, and even items the other."""

    def unconditional(x, sigma):
        return RING.denoise(x, sigma, time.alpha(float(sigma[0])))

    def guided(x, sigma):
        classes = torch.nn.functional.one_hot(torch.arange(len(x)) % 2, 2).to(x.dtype)
        conditional = RING.denoise(x, sigma, time.alpha(float(sigma[0])), classes)
        plain = unconditional(x, sigma)
        return plain + scale * (conditional - plain)

    return unconditional, guided


def _pair(time, scale):
    unconditional, guided = _outputs(time, scale)
    return lambda x, sigma: (guided(x, sigma), unconditional(x, sigma))


def _start(time, sigma, batch=16):
    return noisy(sigma, time is FLOW, batch, RING)


def _sample(name, model, x, sigmas, time, plain=False, **options):
    if METHODS[name].stochastic:
        generator = torch.Generator().manual_seed(1)
        options["noise_sampler"] = lambda a, b: torch.randn(x.shape, generator=generator, dtype=x.dtype)
    sample = without_cfg_pp(name) if plain else METHODS[name].sample
    return sample(model, x, torch.tensor(sigmas, dtype=torch.float64), disable=True, time=time, **options)


@pytest.mark.parametrize("case", FALLING)
@pytest.mark.parametrize("name", CFG_PP)
def test_without_guidance_it_is_the_plain_method(name, case):
    time, sigmas = FALLING[case]
    x = _start(time, sigmas[0])
    unconditional, _ = _outputs(time, 0.0)
    plain = _sample(name, unconditional, x, sigmas, time, plain=True)
    for model in (paired(unconditional), _pair(time, 0.0)):
        torch.testing.assert_close(_sample(name, model, x, sigmas, time), plain, rtol=1e-12, atol=1e-12)
    full = {"noise": "brownian"} if METHODS[name].stochastic else {}  # all of the noise in long steps too
    guided = _sample(name, _pair(time, 1.0), x, sigmas, time, **full)
    assert (guided - _sample(name, unconditional, x, sigmas, time, plain=True, **full)).abs().max() > 0.1


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("case", FALLING)
def test_first_order_is_the_papers_formula(case, eta):
    """x_t = alpha_t D_guided + sigma_t (e^{-h eta} eps_unconditional + sqrt(1 - e^{-2 h eta}) n)."""
    time, sigmas = FALLING[case]
    x, noise = _start(time, sigmas[0]), torch.randn(16, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    pair = _pair(time, 0.8)
    for s, t in zip(sigmas, sigmas[1:]):
        plan = cfg_pp(multistep_plan([s, t], 1, time, noise=Noise(eta)), [s, t])
        result = run(plan, pair, x, torch.tensor([s, t]), disable=True, noise_sampler=lambda a, b: noise)
        guided, unconditional = pair(x, torch.full((16,), s, dtype=torch.float64))
        eps = (x - time.alpha(s) * unconditional) / s
        h = time.lam(t) - time.lam(s) if t > 0.0 and time.s(s) < math.inf else 0.0
        decay = math.exp(-h * eta)
        expected = time.alpha(t) * guided + t * (decay * eps + math.sqrt(1.0 - decay**2) * noise)
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
        x = result


@pytest.mark.parametrize("name", [name for name in CFG_PP if not METHODS[name].stochastic])
def test_with_a_scale_that_shrinks_with_the_step_the_limit_is_cfg_at_first_order(name):
    """c = w (1 - e^-h) on a grid uniform in lambda; for a fixed c there is no limit."""
    w, errors = 1.5, []
    _, guided = _outputs(VE, w)
    x = noisy(8.0, False, 32, RING)
    fine = grid("ve, uniform in lambda", 640)
    exact = run(single_step_plan(fine, res_3s()), guided, x, fine, disable=True)
    for n in (80, 160):
        sigmas = grid("ve, uniform in lambda", n)
        c = w * (1.0 - float(sigmas[1] / sigmas[0]))
        result = METHODS[name].sample(_pair(VE, c), x, sigmas, disable=True)
        errors.append((result - exact).norm(dim=1).median())
    assert 0.8 < math.log2(errors[0] / errors[1]) < 1.3


@pytest.mark.parametrize("time", [VE, FLOW], ids=lambda t: t.name)
def test_higher_order_and_the_corrector_come_closer_to_the_exact_flow_between_the_moves(time):
    """The methods approximate the exact unconditional flow over each step, followed by the move by alpha (guided - uncond.)."""
    sigmas = in_lambda(time, -2.1 if time is VE else -2.0, 3.0, 14).tolist()
    pair = _pair(time, 0.8)
    x = exact = _start(time, sigmas[0], 64)
    for s, t in zip(sigmas, sigmas[1:]):
        inner = in_lambda(time, time.lam(s), time.lam(t), 30)
        guided, unconditional = pair(exact, torch.full((64,), s, dtype=torch.float64))
        flow = run(single_step_plan(inner, res_3s(), time), lambda x, sigma: pair(x, sigma)[1], exact, inner, disable=True)
        exact = flow + time.alpha(t) * (guided - unconditional)
    errors = {}
    for name, options in {"1M": {"order": 1}, "2M": {"order": 2}, "2MC": {"order": 2, "corrector": True}}.items():
        plan = cfg_pp(multistep_plan(sigmas, time=time, **options), sigmas)
        result = run(plan, pair, x, torch.tensor(sigmas), disable=True)
        errors[name] = float((result - exact).norm(dim=1).median())
    assert errors["2M"] < 0.7 * errors["1M"] and errors["2MC"] < 0.9 * errors["2M"], errors


@pytest.mark.parametrize("case", FALLING)
@pytest.mark.parametrize("name", CFG_PP)
def test_one_conditional_and_one_unconditional_point(name, case):
    """With D_c = a and D_u = b everywhere, every step is a known affine map, at any size and order; the SDE has no noise here."""
    time, sigmas = FALLING[case]
    a, b = torch.tensor([0.3, -1.2], dtype=torch.float64), torch.tensor([-0.5, 0.4], dtype=torch.float64)
    x = expected = _start(time, sigmas[0])
    for s, t in zip(sigmas, sigmas[1:]):
        expected = (t / s) * (expected - time.alpha(s) * b) + time.alpha(t) * a
    options = {"eta": 0.0} if METHODS[name].stochastic else {}
    result = _sample(name, lambda x, sigma: (a.expand_as(x), b.expand_as(x)), x, sigmas, time, **options)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


SEVERAL_CALLS = {
    "RES-2S": lambda sigmas, time: single_step_plan(sigmas, res_2s(), time),
    "RES-3S": lambda sigmas, time: single_step_plan(sigmas, res_3s(), time),
    "RES-2M started by RES-2S": lambda sigmas, time: multistep_plan(sigmas, 2, time, res_2s()),
    "RES-3S for the SDE": lambda sigmas, time: single_step_plan(sigmas, res_3s(), time, Noise(0.5)),
}


@pytest.mark.parametrize("case", FALLING)
@pytest.mark.parametrize("method", SEVERAL_CALLS)
def test_inside_a_step_the_calls_follow_the_unconditional_process(method, case):
    """Without guidance it is the plain method; with two points each step is a known affine map, here without noise."""
    time, sigmas = FALLING[case]
    x, grid_ = _start(time, sigmas[0]), torch.tensor(sigmas, dtype=torch.float64)
    plan = SEVERAL_CALLS[method](sigmas, time)
    unconditional, _ = _outputs(time, 0.0)
    noises = {"disable": True, "noise_sampler": lambda a, b: torch.ones_like(x)}
    plain = run(plan, unconditional, x, grid_, **noises)
    torch.testing.assert_close(run(cfg_pp(plan, sigmas), _pair(time, 0.0), x, grid_, **noises), plain, rtol=1e-12, atol=1e-12)
    a, b = torch.tensor([0.3, -1.2], dtype=torch.float64), torch.tensor([-0.5, 0.4], dtype=torch.float64)
    expected = run(plan, lambda x, sigma: b.expand_as(x), x, grid_, **noises)
    for t in sigmas[1:]:
        shift = time.alpha(t) * (a - b)
        for u, v in ((u, v) for u, v in zip(sigmas, sigmas[1:]) if u <= t):
            eta = 0.5 if "SDE" in method and v > 0.0 else 0.0
            shift = shift * (v / u) * (math.exp(-eta * (time.lam(v) - time.lam(u))) if eta else 1.0)
        expected = expected + shift
    result = run(cfg_pp(plan, sigmas), lambda x, sigma: (a.expand_as(x), b.expand_as(x)), x, grid_, **noises)
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-10)


# --- the loop's promises ---


@pytest.mark.parametrize("name", CFG_PP)
def test_no_host_reads_and_one_more_operation_than_the_plain_method(name):
    sigmas, x = torch.linspace(10.0, 0.1, 9), torch.ones(1, 4, 64, 64)

    def operations(sample_by, pair):
        def sample(model):
            options = {"noise_sampler": lambda a, b: x} if METHODS[name].stochastic else {}
            two = lambda x, sigma: (model(x, sigma), model(x, sigma))  # noqa: E731
            sample_by(two if pair else model, x, sigmas, disable=True, **options)

        return count_operations(sample, x.numel())

    ours, plain = operations(METHODS[name].sample, True), operations(without_cfg_pp(name), False)
    assert ours.host_reads_in_loop == 0 and ours.float64_on_device == 0
    assert ours.model_calls == 2 * plain.model_calls
    assert ours.latent_operations <= plain.latent_operations + plain.model_calls
    assert ours.peak_buffers <= plain.peak_buffers + 1


@pytest.mark.parametrize("name", CFG_PP)
def test_tensors_given_away_are_never_written_and_the_callback_sees_the_guided_output(name):
    kept, seen = [], []

    def keep(tensor):
        kept.append((tensor, tensor.clone()))
        return tensor

    x = keep(torch.randn(3, 2, generator=torch.Generator().manual_seed(0)))
    model = lambda x, sigma: (keep(keep(x) / 2), keep(x / 3))  # noqa: E731
    _sample(name, model, x, [8.0, 2.0, 0.5, 0.0], VE, callback=seen.append)
    assert all(torch.equal(tensor, copy) for tensor, copy in kept)
    assert len(seen) == 3 and all(torch.equal(info["denoised"], info["x"] / 2) for info in seen)


def test_a_printed_plan_shows_the_guidance():
    sigmas = [8.0, 2.0, 0.5, 0.0]
    plan = cfg_pp(multistep_plan(sigmas, 2), sigmas)
    lines = str(plan).splitlines()
    assert lines[0].startswith("RES-2M with CFG++ in ve time") and all("guided: +1.000000000" in line for line in lines[2:])


# --- errors ---


@pytest.mark.parametrize("name", CFG_PP)
def test_a_model_without_an_unconditional_output_is_refused(name):
    """A tensor of two items must not be taken for a pair."""
    with pytest.raises(ValueError, match=r"model must return \(guided, unconditional\).*got a Tensor"):
        _sample(name, lambda x, sigma: x, torch.ones(2, 3), [2.0, 1.0], VE)


def test_alpha_must_be_known_and_every_weight_finite():
    with pytest.raises(ValueError, match="time must be VE or FLOW for CFG"):
        cfg_pp(multistep_plan([0.9, 0.1], 2, FLOW_LOG_SIGMA), [0.9, 0.1])
    [stage] = cfg_pp(multistep_plan([2.0, 1.0], 1), [2.0, 1.0]).stages
    with pytest.raises(ArithmeticError, match="non-finite"):
        replace(stage, guided=math.nan)
