"""The variable of interpolation and the free corrector: weights, exactness, order."""

import math

import pytest
import torch
from exact import GRIDS, converged, denoiser, grid, noisy

from samplers.churn import Churn
from samplers.interpolation import IN_LAMBDA, InAlpha
from samplers.loop import run
from samplers.multistep import multistep_plan
from samplers.plan import Noise
from samplers.tableaus import res_2s, res_3s
from samplers.time_maps import FLOW, VE

# nodes (newest first) and end of the step, in s = sigma / alpha, also at both ends of a schedule
STEPS = [([5.0, 14.0], 0.1), ([0.5, 0.9, 2.0], 0.0), ([14.0, 80.0, 4518.0], 0.001), ([2.0, math.inf], 0.3), ([math.inf], 3.0)]
RISING = [([0.3, 0.15], 0.5), ([0.01, 0.005], 9.0)]


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 4.0])
@pytest.mark.parametrize("scale", [0.3, 1.0, 6.0])
@pytest.mark.parametrize("nodes, end", STEPS)
def test_weights_are_finite_and_sum_to_the_exact_factor(nodes, end, scale, power):
    """sum_j b_j = 1 - s_t / s_s, so a constant denoiser is integrated exactly, also at both ends."""
    weights = InAlpha(scale, power).weights(nodes, nodes[0], end)
    assert math.fsum(weights) == pytest.approx(1.0 - end / nodes[0], abs=1e-10)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("nodes, end", [([3.0, 5.0, 9.0], 0.7), ([0.7], 3.0), ([0.7, 0.5], 3.0), ([0.7, 0.5, 0.2], 3.0)])
@pytest.mark.parametrize("interpolation", [IN_LAMBDA, InAlpha(0.8), InAlpha(6.0, 1.5)], ids=lambda i: i.name)
def test_weights_of_the_sde_and_of_rising_steps_sum_to_the_exact_factor(interpolation, nodes, end, eta):
    weights = interpolation.weights(nodes, nodes[0], end, eta)
    assert math.fsum(weights) == pytest.approx(1.0 - (end / nodes[0]) ** (1.0 + eta), rel=1e-12)


@pytest.mark.parametrize("scale", [0.3, 0.7, 2.0])
@pytest.mark.parametrize("nodes, end", [case for case in STEPS + RISING if len(case[0]) > 1])
def test_gaussian_data_of_the_scale_is_exact_with_two_nodes(nodes, end, scale):
    """On data N(mean, scale^2) D is linear in v along a trajectory, so a step of any size is exact, also upwards."""
    mean, start, exactly = 0.4, 1.3, 1e-12 if end < nodes[0] else 1e-9

    def trajectory(s):
        return mean + start * math.hypot(scale, s)

    def denoised(s):
        return mean if math.isinf(s) else mean + (trajectory(s) - mean) * scale**2 / (scale**2 + s**2)

    weights = InAlpha(scale).weights(nodes[:2], nodes[0], end)
    step = end / nodes[0] * trajectory(nodes[0]) + sum(w * denoised(s) for w, s in zip(weights, nodes))
    assert step == pytest.approx(trajectory(end), rel=exactly)
    if not math.isinf(nodes[1]):  # eps, which is linear in the sigma of the process, gives the same
        eps = [(trajectory(s) - denoised(s)) / s for s in nodes[:2]]
        weights = InAlpha(scale).eps_weights(nodes[:2], nodes[0], end)
        assert trajectory(nodes[0]) + sum(w * e for w, e in zip(weights, eps)) == pytest.approx(trajectory(end), rel=exactly)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 4.0])
def test_polynomials_are_integrated_exactly(power):
    """D in alpha by y_t = (s_t / s_s) y_s - s_t int D / s^2 ds, and eps in the process's sigma by y_t = y_s + int eps ds."""
    nodes, end, interpolation = [2.0, 3.0, 5.0], 0.2, InAlpha(1.3, power)
    s, at = torch.linspace(2.0, end, 400001, dtype=torch.float64), torch.tensor(nodes, dtype=torch.float64)
    v = (1.0 + (s / 1.3) ** power) ** (-1.0 / power)
    v_at = torch.tensor([interpolation.variable(node) for node in nodes], dtype=torch.float64)
    by_d = torch.tensor(interpolation.weights(nodes, nodes[0], end), dtype=torch.float64)
    by_eps = torch.tensor(interpolation.eps_weights(nodes, nodes[0], end), dtype=torch.float64)
    for k in range(3):
        assert float(by_d @ v_at**k) == pytest.approx(-end * float(torch.trapezoid(v**k / s**2, s)), rel=1e-8)
        assert float(by_eps @ (at / 1.3 * v_at) ** k) == pytest.approx(float(torch.trapezoid((s / 1.3 * v) ** k, s)), rel=1e-8)


@pytest.mark.parametrize("time", [VE, FLOW], ids=lambda t: t.name)
@pytest.mark.parametrize("corrector", [False, True], ids=["predicted", "corrected"])
@pytest.mark.parametrize(
    "order, interpolation, share",
    [(2, IN_LAMBDA, 0.0), (2, InAlpha(1.0), 0.0), (3, InAlpha(6.0, 1.5), 0.6)],
    ids=["lambda", "alpha", "with eps"],
)
def test_a_plan_is_its_steps_by_hand(order, interpolation, share, corrector, time):
    """A step is the mean of its forms in D and in eps, with the states the model was called at; the corrector redoes it."""
    sigmas = [0.85, 0.7, 0.4, 0.15, 0.05]
    model, x = denoiser(time is FLOW), noisy(0.85, time is FLOW)

    def step(y, nodes, s, t):
        at = [s for s, _, _ in nodes]
        by_d = t / s * y + sum(w * d for w, (_, d, _) in zip(interpolation.weights(at, s, t), nodes))
        if not share:
            return by_d
        by_eps = y + sum(w * e for w, (_, _, e) in zip(interpolation.eps_weights(at, s, t), nodes))
        return torch.lerp(by_d, by_eps, share / (1.0 + s))

    predicted, nodes, previous = x / time.alpha(0.85), [], None
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        s = time.s(sigma)
        outputs = model(predicted * time.alpha(sigma), torch.full((len(x),), sigma, dtype=torch.float64))
        node = (s, outputs, (predicted - outputs) / s)
        y = step(previous[0], [node, *previous[1]], previous[2], s) if corrector and previous else predicted
        nodes = [node, *nodes][:order]
        previous = y, nodes, s
        predicted = step(y, nodes, s, time.s(sigma_next))
    plan = multistep_plan(sigmas, order, time, interpolation=interpolation, corrector=corrector, eps_share=share)
    assert plan.calls == 4
    result = run(plan, model, x, torch.tensor(sigmas), disable=True)
    torch.testing.assert_close(result, predicted * time.alpha(sigmas[-1]))


def test_eps_has_no_share_where_no_single_ode_joins_the_states():
    """These are rising steps, and every step of an SDE or under churn."""
    interpolation, sigmas = InAlpha(6.0, 1.5), [10.0, 3.0, 1.0, 0.3, 0.1]
    assert any(stage.states for stage in multistep_plan(sigmas, 3, interpolation=interpolation, eps_share=0.33).stages)
    for grid_, options in ((sigmas[::-1], {}), (sigmas, {"noise": Noise(1.0)}), (sigmas, {"churn": Churn(1.0)})):
        plans = [multistep_plan(grid_, 3, interpolation=interpolation, eps_share=e, **options).stages for e in (0.33, 0.0)]
        assert plans[0] == plans[1]


def test_interpolation_in_lambda_is_res():
    """The quadrature agrees with the moments where both exist, for D a polynomial in the variable."""
    nodes, end = [2.0, 3.0, 5.0], 1.2
    weights = IN_LAMBDA.weights(nodes, nodes[0], end)
    lam = torch.linspace(-math.log(2.0), -math.log(end), 200001, dtype=torch.float64)
    for k in range(3):
        exact = torch.trapezoid((lam + math.log(end)).exp() * lam**k, lam)
        assert math.fsum(w * (-math.log(s)) ** k for w, s in zip(weights, nodes)) == pytest.approx(float(exact), rel=1e-8)


METHODS = {
    "2MC": (2, IN_LAMBDA, 0.0, res_2s()),
    "alpha 2M": (2, InAlpha(1.0), 0.0, res_2s()),
    "alpha 3M": (3, InAlpha(1.0), 0.0, res_3s()),
    "alpha 2M, scale 0.6": (2, InAlpha(0.6), 0.0, res_2s()),
    "alpha 3M, power 1.5": (3, InAlpha(2.0, 1.5), 0.0, res_3s()),
    "alpha 2M, a third of eps": (2, InAlpha(6.0, 1.5), 0.33, res_2s()),
    "alpha 3M, all of eps": (3, InAlpha(6.0, 1.5), 1.0, res_3s()),
    "alpha 3M, a third of eps, C": (3, InAlpha(6.0, 1.5), 0.33, res_3s()),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", [name for name in GRIDS if "from 1" not in name] + ["flow from 1, rho"])
def test_slope(method, name):
    order, interpolation, share, start = METHODS[method]
    flow = GRIDS[name][0]
    time = FLOW if flow else VE
    x, exact = converged(name)
    errors = []
    for n in (160, 320):
        sigmas = grid(name, n)
        plan = multistep_plan(sigmas, order, time, start, interpolation, method.endswith("C"), share)
        errors.append((run(plan, denoiser(flow), x, sigmas, disable=True) - exact).norm(dim=1))
    assert torch.log2(errors[0] / errors[1]).median() >= order - 0.15


def test_sigmas_that_cannot_be_told_apart_keep_finite_weights():
    """These are sigmas within roundings of 1, where a flow latent holds nothing, and sigmas below 1e-8, where alpha is 1."""
    sigmas = [1.0, 1.0 - 2e-6, 0.5, 0.0]
    first = multistep_plan(sigmas, 4, FLOW, interpolation=InAlpha(6.0, 1.5), corrector=True, eps_share=0.33).stages[0]
    assert first.scale == pytest.approx(1.0 - 2e-6) and all(weight == 0.0 for _, weight in first.weights)
    for order in (1, 2, 3, 4):
        plan = multistep_plan([1e-6, 1e-10, 1e-12, 1e-16, 0.0], order, interpolation=InAlpha(), corrector=True)
        assert all(abs(weight) < 10 for stage in plan.stages for _, weight in stage.weights)


@pytest.mark.parametrize("interpolation, order", [(IN_LAMBDA, 2), (InAlpha(6.0, 1.5), 4)], ids=["denoised", "alpha"])
def test_extrapolated_last_step_has_a_higher_order(interpolation, order):
    """On a fine grid down to sigma_n the last step is the error: sigma_n^2 for x = D, sigma_n^4 for two outputs in alpha."""
    model, x = denoiser(False), noisy(3.0, False)

    def sample(last):
        fine = torch.linspace(math.log(3.0), math.log(last), 800, dtype=torch.float64).exp()
        sigmas = torch.cat([fine, torch.zeros(1)])
        return run(multistep_plan(sigmas, 2, VE, res_2s(), interpolation), model, x, sigmas, disable=True)

    exact = sample(1e-3)
    errors = [(sample(last) - exact).norm(dim=1) for last in (0.2, 0.1)]
    assert torch.log2(errors[0] / errors[1]).median() == pytest.approx(order, abs=0.5)
