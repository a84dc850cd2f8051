"""gDDIM on isotropic noise: exactness, identities with DDIM, and orders on the paper's process."""

import math

import numpy as np
import pytest
import torch
from exact import MIXTURE, CountingModel, denoiser, grid, noisy
from scipy.integrate import quad, solve_ivp

from embedded.mixture import GaussianMixture
from samplers.catalogue import METHODS
from samplers.gddim_rule import CORRECTORS, MAX_DEGREE, gddim_eta, gddim_plan
from samplers.interpolation import IN_LOG_RHO, IN_RHO
from samplers.loop import run
from samplers.multistep import multistep_plan
from samplers.plan import Noise
from samplers.time_maps import FLOW, VE

DEGREES = range(MAX_DEGREE + 1)
TIMES = {"ve": VE, "flow": FLOW}
FALLING = {"ve": [14.6, 6.0, 2.5, 1.0, 0.4, 0.1, 0.03, 0.0], "flow": [1.0, 0.95, 0.8, 0.6, 0.3, 0.1, 0.02, 0.0]}


def solve(plan, model, x, sigmas):
    return run(plan, model, x, torch.as_tensor(sigmas, dtype=torch.float64), disable=True)


@pytest.mark.parametrize("kind", TIMES)
def test_degree_0_is_ddim(kind):
    """Each step is x_t = alpha_t D + sigma_t eps, also from a flow model's sigma 1."""
    sigmas, time, model = FALLING[kind], TIMES[kind], denoiser(kind == "flow")
    x = expected = noisy(sigmas[0], kind == "flow")
    for sigma, following in zip(sigmas, sigmas[1:]):
        denoised = model(expected, torch.full((len(x),), sigma, dtype=torch.float64))
        eps = (expected - time.alpha(sigma) * denoised) / sigma
        expected = time.alpha(following) * denoised + following * eps
    result = solve(gddim_plan(sigmas, 0, time), model, x, sigmas)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(result, solve(multistep_plan(sigmas, 1, VE), model, x, sigmas), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("corrector", CORRECTORS)
@pytest.mark.parametrize("degree", DEGREES)
@pytest.mark.parametrize("kind", TIMES)
def test_exact_for_data_in_one_point(kind, degree, corrector):
    """eps is constant there, so steps of any size are exact."""
    point = torch.tensor([0.3, -1.2], dtype=torch.float64)
    time, sigmas = TIMES[kind], FALLING[kind][:-1] if kind == "ve" else FALLING[kind][1:-1]
    eps = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = time.alpha(sigmas[0]) * point + sigmas[0] * eps
    end = solve(gddim_plan(sigmas, degree, time, corrector), lambda x, sigma: point.expand_as(x), x, sigmas)
    torch.testing.assert_close(end, time.alpha(sigmas[-1]) * point + sigmas[-1] * eps, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("degree", DEGREES)
def test_weights_integrate_polynomials_exactly(degree):
    """They are polynomials in log rho, and in rho for the last step, which ends where log rho is infinite."""
    nodes, start, end = [0.7, 1.3, 2.6, 4.1][: degree + 1], 0.7, 0.2
    weights, last = IN_LOG_RHO.eps_weights(nodes, start, end), IN_RHO.eps_weights(nodes, start, 0.0)
    for power in range(degree + 1):
        exact, _ = quad(lambda rho, power=power: math.log(rho) ** power, start, end, epsabs=0.0, epsrel=1e-13)
        assert math.fsum(w * math.log(node) ** power for w, node in zip(weights, nodes)) == pytest.approx(exact, rel=1e-12)
        exact = -(start ** (power + 1)) / (power + 1)
        assert math.fsum(w * node**power for w, node in zip(last, nodes)) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("corrector", CORRECTORS)
@pytest.mark.parametrize("degree", DEGREES)
@pytest.mark.parametrize("kind", TIMES)
def test_calls(kind, degree, corrector):
    """A step makes one call; with PECE it makes two, except for the step to 0 and the step from a flow model's sigma 1."""
    sigmas, model = FALLING[kind], CountingModel(denoiser(kind == "flow"))
    plan = gddim_plan(sigmas, degree, TIMES[kind], corrector)
    end = solve(plan, model, noisy(sigmas[0], kind == "flow"), sigmas)
    steps = len(sigmas) - 1
    once = steps if corrector != "PECE" else 1 + (kind == "flow")
    assert len(model.sigmas) == plan.calls == 2 * steps - once
    assert torch.isfinite(end).all()


def vp_sigmas(steps: int) -> np.ndarray:
    """sigma / alpha on the paper's process and grid: log a = -(0.1 t + 9.95 t^2), with t uniform in sqrt(t)."""
    t = np.linspace(1.0, math.sqrt(1e-3), steps + 1) ** 2
    log_a = -(0.1 * t + 9.95 * t**2)
    return np.exp(0.5 * np.log(-np.expm1(log_a)) - 0.5 * log_a)


def by_weights(degree: int, sigmas, x: torch.Tensor, exact=None) -> torch.Tensor:
    """The end of a run, computed here with the plan's weights; the first states are those of `exact` if it is given."""
    values = []  # eps, newest first
    for index, (sigma, following) in enumerate(zip(sigmas, sigmas[1:])):
        x = exact(sigma) if exact and index <= degree else x
        values.insert(0, (sigma, (x - denoiser(False)(x, torch.full((len(x),), sigma, dtype=torch.float64))) / sigma))
        values = values[: degree + 1]
        for weight, (_, eps) in zip(IN_LOG_RHO.eps_weights([s for s, _ in values], sigma, following), values):
            x = x + weight * eps
    return x


@pytest.fixture(scope="module")
def exact():
    """sigma -> the solution there, by an adaptive solver."""
    x = torch.randn(32, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * vp_sigmas(1)[0]

    def slope(rho, y):
        state = torch.from_numpy(y.reshape(32, 2))
        return ((state - MIXTURE.denoise(state, float(rho))) / rho).numpy().ravel()

    start, end = vp_sigmas(1)
    solution = solve_ivp(slope, (start, end), x.numpy().ravel(), "DOP853", rtol=1e-12, atol=1e-13, dense_output=True)
    return lambda sigma: torch.from_numpy(solution.sol(sigma).reshape(32, 2).copy())


@pytest.mark.parametrize("degree", DEGREES)
def test_order_on_the_papers_process(exact, degree):
    counts, errors = np.array([120, 170, 240]), []
    for sigmas in map(vp_sigmas, counts):
        end = by_weights(degree, sigmas, exact(sigmas[0]), exact)
        errors.append(float((end - exact(sigmas[-1])).norm(dim=1).median()))
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope == pytest.approx(degree + 1, abs=0.3), errors


@pytest.mark.parametrize("degree", DEGREES)
def test_the_plan_is_what_the_weights_say(degree):
    """The plan agrees with the weights on equal steps in log rho, where no node is skipped, and starts with lower degrees."""
    sigmas = np.geomspace(10.0, 0.05, 21).tolist()
    x = noisy(sigmas[0], False)
    end = solve(gddim_plan(sigmas, degree), denoiser(False), x, sigmas)
    torch.testing.assert_close(end, by_weights(degree, sigmas, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("corrector", ["PEC", "PECE"])
@pytest.mark.parametrize("name", ["ve, rho", "flow, rho"])
def test_correctors_help(name, corrector):
    flow = name.startswith("flow")
    time, sigmas = FLOW if flow else VE, grid(name, 16)
    x, fine = noisy(float(sigmas[0]), flow), grid(name, 800)
    exact = solve(gddim_plan(fine, 3, time), denoiser(flow), x, fine)

    def error(kind):
        return float((solve(gddim_plan(sigmas, 1, time, kind), denoiser(flow), x, sigmas) - exact).norm(dim=1).median())

    assert error(corrector) < 0.6 * error("none")


def up_and_down(degree, sigmas, time, items):
    """The data in noise, and the median distance from the data back from there."""
    clean, model = GaussianMixture.sample(MIXTURE, items, torch.Generator().manual_seed(3)).double(), denoiser(time is FLOW)
    up = solve(gddim_plan(sigmas, degree, time), model, clean, sigmas)
    down = solve(gddim_plan(sigmas[::-1], degree, time), model, up, sigmas[::-1])
    return up, float((down - clean).norm(dim=1).median())


@pytest.mark.parametrize("degree", DEGREES)
def test_up_and_down_again(degree):
    """On flow the step to 0.999 is so long that it is DDIM: a polynomial would extrapolate too far."""
    assert up_and_down(degree, np.geomspace(0.05, 10.0, 61).tolist(), VE, 8)[1] < 0.06
    if degree:
        sigmas = [1e-4, *(1.0 / (1.0 + np.exp(np.linspace(4.5, -2.3, 39)))), 0.999]
        up, error = up_and_down(degree, sigmas, FLOW, 64)
        assert error < 0.02 and float(up.std()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("corrector", ["none", "PECE"])
@pytest.mark.parametrize("degree", DEGREES)
def test_the_step_to_0_multiplies_no_error_however_many_steps_there_are(degree, corrector):
    """Parts of the outputs that are not smooth, such as masks and rounding, are amplified by the sum of the absolute weights."""
    for steps in (5, 40, 1000):
        *_, last = gddim_plan([*np.geomspace(14.6, 0.03, steps), 0.0], degree, VE, corrector).stages
        assert sum(abs(weight) for _, weight in last.weights) < 2.5


@pytest.mark.parametrize("noise_level", [0.0, 0.1, 0.5, 1.0, 1.5])
def test_theorem_1(noise_level):
    """Mean and variance of one step on VP are as printed in the paper, where a is the paper's bar alpha."""
    time, sigma_from, sigma_to = VE, 3.0, 0.7
    a_from, a_to = (1.0 / (1.0 + sigma**2) for sigma in (sigma_from, sigma_to))
    variance = (1 - a_to) * (1 - (((1 - a_to) * a_from) / ((1 - a_from) * a_to)) ** noise_level**2)
    ratio = math.sqrt(a_to / a_from)
    of_eps = math.sqrt(1 - a_to - variance) - ratio * math.sqrt(1 - a_from)
    u, denoised = 0.8, -0.3  # in the paper's u = sqrt(a) x
    eps = (u - math.sqrt(a_from) * denoised) / math.sqrt(1 - a_from)
    mean = ratio * u + of_eps * eps
    [stage] = multistep_plan([sigma_from, sigma_to], 1, time, noise=Noise(noise_level**2)).stages
    ours = stage.scale * u / math.sqrt(a_from) + stage.weights[0][1] * denoised
    assert ours * math.sqrt(a_to) == pytest.approx(mean, rel=1e-12)
    assert sum(noise**2 for noise in stage.noise) * a_to == pytest.approx(variance, rel=1e-12, abs=1e-15)


def test_without_noise_the_stochastic_form_is_the_deterministic_one():
    """Proposition 7: the difference vanishes with lambda."""
    x, sigmas = noisy(14.6, False), FALLING["ve"]
    ddim = solve(gddim_plan(sigmas, 0), denoiser(False), x, sigmas)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def distance(noise_level):
        sample = METHODS["exp_gddim_sde"].sample
        grid = torch.tensor(sigmas, dtype=torch.float64)
        end = sample(denoiser(False), x, grid, disable=True, eta=noise_level**2, noise_sampler=lambda a, b: noise)
        return float((end - ddim).abs().max())

    assert distance(0.0) < 1e-12
    assert distance(0.01) < 0.2 and distance(0.001) < distance(0.01) / 8


@pytest.mark.parametrize("noise_level", [-0.1, -1e-300, 10.1, math.nan, math.inf, 1e-5])
def test_a_lambda_out_of_range(noise_level):
    """A negative lambda has a valid square, so it must be refused before."""
    bounds = "0, or 0.0001 or more" if noise_level == 1e-5 else "between 0 and 10"
    with pytest.raises(ValueError, match=f"lambda must be {bounds}, got {noise_level}"):
        gddim_eta(noise_level)


@pytest.mark.parametrize("noise_level", [0.0, 1e-4, 10.0])
def test_a_lambda_at_its_limits(noise_level):
    x, sigmas = torch.ones(1, 2), torch.tensor([2.0, 1.0])
    end = METHODS["exp_gddim_sde"].sample(lambda x, s: x / 2, x, sigmas, eta=gddim_eta(noise_level), disable=True)
    assert end.isfinite().all()
