"""gDDIM on linear diffusions: exactness, orders and moments, on data whose eps is known."""

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from process_examples import FITTED, PROCESSES, WIDTH, applied, data, distance, eps_of, state

from embedded.mixture import GaussianMixture, ring
from samplers.gddim_rule import CORRECTORS, gddim_plan
from samplers.loop import run
from samplers.processes.linear_sde import transposed
from samplers.processes.operators import MatrixStage
from samplers.processes.process_forms import InEps
from samplers.processes.process_planner import gddim_on
from samplers.processes.process_sampler import run_on
from samplers.processes.process_times import time_map_of

DEGREES = range(4)


@pytest.fixture(params=PROCESSES)
def name(request):
    return request.param


@pytest.fixture
def sde(name):
    return PROCESSES[name]


def power_grid(sde, steps, last=1e-2, k=2.0):
    return torch.tensor(np.linspace(sde.t_max ** (1 / k), last ** (1 / k), steps + 1) ** k)


def solve(sde, model, u, sigmas, noise_sampler=None, **options):
    return run_on(gddim_on(sde, sigmas, **options), model, u, sigmas, disable=True, noise_sampler=noise_sampler)


@pytest.mark.parametrize("corrector", CORRECTORS)
@pytest.mark.parametrize("degree", DEGREES)
def test_exact_for_data_in_one_point(sde, degree, corrector):
    """u_t = Psi(t, 0) u0 + R_t eps with the same eps at all times, so steps of any size are exact, and the end is u0."""
    u0, eps = torch.zeros_like(state(sde)), state(sde)
    u0[:, 0] = torch.tensor([[0.3, -1.2], [0.8, 0.1], [-0.5, 0.4]])
    sigmas = torch.tensor([0.9, 0.5, 0.4, 0.1, 0.02, 0.0], dtype=torch.float64)

    def at(t):
        return applied(sde, sde.transition(t, 0.0), u0) + applied(sde, sde.root(t), eps)

    for times, expected in ((sigmas[:-1], at(0.02)), (sigmas, u0)):
        end = solve(sde, lambda u, t: eps, at(0.9), times, degree=degree, corrector=corrector)
        torch.testing.assert_close(end, expected, rtol=1e-8, atol=1e-8)


def test_one_step_is_exact_for_gaussian_data_when_r_knows_their_covariance(name, sde):
    """DDIM, whose R does not know the covariance, has a large error."""
    fitted, end = FITTED[name], torch.tensor([0.9, 0.05], dtype=torch.float64)
    point = GaussianMixture(torch.randn(1, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64), 1e-9)
    u, wide = state(fitted), eps_of(sde, GaussianMixture(point.means, WIDTH))
    exact = solve(sde, wide, u, torch.linspace(0.9, 0.05, 301, dtype=torch.float64), degree=3)
    assert distance(solve(fitted, eps_of(fitted, point), u, end, degree=0), exact) < 1e-5
    assert distance(solve(sde, wide, u, end, degree=0), exact) > 0.2


@lru_cache
def converged(name):
    """The solution at t = 0.01 on PROCESSES[name], from `state`."""
    sde = PROCESSES[name]
    return solve(sde, eps_of(sde, data()), state(sde), power_grid(sde, 400), degree=3, corrector="PECE")


@pytest.mark.parametrize("degree", DEGREES)
def test_order(name, sde, degree):
    """Degree q has order q + 1 on a grid uniform in sqrt(t), where the first q states are exact."""
    model, u, fine = eps_of(sde, data()), state(sde), {"degree": 3, "corrector": "PECE"}

    def error(steps):
        times = power_grid(sde, steps)
        states = [u]
        for start, end in zip(times[:degree], times[1:]):  # by 40 smaller steps
            states.append(solve(sde, model, states[-1], torch.linspace(start, end, 41, dtype=torch.float64), **fine))
        eps = [(float(t), model(v, t[None])) for t, v in zip(times, states)]
        v = states[-1]
        for i in range(degree, steps):
            nodes, (s, t) = eps[i - degree :], times[i : i + 2].tolist()
            weights = InEps(sde, "R", [(s, t)]).weights([node for node, _ in nodes], s, t)
            v = applied(sde, sde.transition(t, s), v) + sum(applied(sde, w, e) for w, (_, e) in zip(weights, nodes))
            eps.append((t, model(v, times[i + 1][None])))
        return distance(v, converged(name))

    assert math.log2(error(60) / error(120)) == pytest.approx(degree + 1, abs=0.3)


@pytest.mark.parametrize("corrector", ["PEC", "PECE"])
def test_a_corrector_gains_an_order(name, sde, corrector):
    model, u = eps_of(sde, data()), state(sde)

    def error(n):
        return distance(solve(sde, model, u, power_grid(sde, n), degree=1, corrector=corrector), converged(name))

    assert math.log2(error(80) / error(160)) > 2.6


def test_both_parameterisations_have_one_limit_and_r_is_nearer_to_it():
    sde, u = PROCESSES["CLD"], state(PROCESSES["CLD"])

    def error(kind, n):
        return distance(solve(sde, eps_of(sde, data(), kind), u, power_grid(sde, n), kind=kind), converged("CLD"))

    assert error("L", 320) < 2e-3
    assert error("R", 20) < 0.2 * error("L", 20)


def test_vp_is_the_isotropic_plan():
    """Degree 0 on VP in t is DDIM in sigma."""
    sde, mixture = PROCESSES["VP"], ring(components=3, radius=1.0, std=0.5)
    times = power_grid(sde, 12)
    alpha = torch.tensor([time_map_of(sde).alpha(float(t)) for t in times], dtype=torch.float64)
    sigmas = (1 - alpha**2).sqrt() / alpha
    u = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = solve(sde, eps_of(sde, mixture), u, times, degree=0)
    ddim = run(gddim_plan(sigmas, 0), mixture.denoise, u / alpha[0], sigmas, disable=True)
    torch.testing.assert_close(ours, ddim * alpha[-1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lam", [0.1, 0.5, 1.0, 1.5])
def test_theorem_1(lam):
    """Mean and variance of one stochastic step on VP are as printed in the paper."""
    sde, s, t = PROCESSES["VP"], 0.6, 0.2
    a_s, a_t = (math.exp(float(sde.log_alpha_bar(x))) for x in (s, t))
    variance = (1 - a_t) * (1 - (((1 - a_t) * a_s) / ((1 - a_s) * a_t)) ** lam**2)
    [stage] = gddim_on(sde, [s, t], 0, noise_level=lam).stages
    assert stage.scale == pytest.approx(math.sqrt(a_t / a_s), rel=1e-12)
    of_eps = math.sqrt(1 - a_t - variance) - math.sqrt(a_t / a_s) * math.sqrt(1 - a_s)
    assert stage.weights[0][1] == pytest.approx(of_eps, rel=1e-12)
    assert stage.noise[0] ** 2 == pytest.approx(variance, rel=1e-12)


def test_without_noise_the_stochastic_form_is_the_deterministic_one(sde):
    """Proposition 7: the difference vanishes with lambda, and lambda 0 draws no noise."""
    u, model, sigmas = state(sde), eps_of(sde, data()), power_grid(sde, 15)
    deterministic = solve(sde, model, u, sigmas, degree=0)

    def distance(lam):
        generator = torch.Generator().manual_seed(5)
        draw = lambda a, b: torch.randn(u.shape, generator=generator, dtype=u.dtype)  # noqa: E731
        return float((solve(sde, model, u, sigmas, degree=0, noise_level=lam, noise_sampler=draw) - deterministic).abs().max())

    assert not gddim_on(sde, sigmas, 0, noise_level=0.0).draws_noise
    assert distance(1e-2) < 0.5
    assert distance(1e-3) < distance(1e-2) / 8


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_moments_of_gaussian_data_converge(sde, lam):
    """eps is linear, so the covariance of the samples follows from the plan in closed form, without random numbers."""

    def error(steps):
        times = power_grid(sde, steps, last=1e-3).tolist()
        plan = gddim_on(sde, times, 0, noise_level=lam)
        covariance = _truth(sde, times[0])
        for stage, t in zip(plan.stages, times):
            # eps = K^T V^-1 u
            to_eps = transposed(sde.root(t)) @ np.linalg.inv(_truth(sde, t))
            scale, weight, noise = _matrices(sde, stage)
            step = scale + weight @ to_eps
            covariance = step @ covariance @ transposed(step) + noise @ transposed(noise)
        return np.abs(covariance / _truth(sde, times[-1]) - 1.0)[..., 0, 0].max()

    errors = [error(steps) for steps in (50, 100, 200)]
    assert errors[2] < errors[1] / 1.6 < errors[0] / 2.4
    assert errors[2] < 0.1


def _truth(sde, t):
    """The covariance at t of Gaussian data of standard deviation WIDTH."""
    signal = sde.transition(t, 0.0)[..., :1]
    return WIDTH**2 * signal @ transposed(signal) + sde.covariance(t)


def _matrices(sde, stage):
    """The matrices of the start, of eps and of the noise."""
    if not isinstance(stage, MatrixStage):
        return (np.array([[number]]) for number in (stage.scale, stage.weights[0][1], *(stage.noise or (0.0,))))
    result = [matrix.numpy()[..., None, None] if sde.grid else matrix.numpy() for matrix in stage.matrices]
    return result if stage.noise else [*result, np.zeros_like(result[0])]


def test_the_time_map_is_monotone_and_inverted():
    for sde in PROCESSES.values():
        time = time_map_of(sde)
        lams = [time.lam(t) for t in (0.01, 0.1, 0.5, 0.9)]
        assert lams == sorted(lams, reverse=True)
        assert time.sigma(lams[2]) == pytest.approx(0.5, rel=1e-9)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"degree": 4}, "degree must be 0, 1, 2 or 3, got 4"),
        ({"corrector": "pc"}, "corrector must be one of 'none', 'PEC', 'PECE', got 'pc'"),
        ({"degree": 0, "noise_level": -0.1}, "lambda must be between 0 and 10, got -0.1"),
        ({"degree": 0, "noise_level": math.nan}, "lambda must be between 0 and 10, got nan"),
        ({"degree": 1, "noise_level": 0.5}, "degree must be 0 and corrector 'none' where lambda is above 0, got 1"),
        ({"kind": "K"}, "kind must be one of 'R', 'L', got 'K'"),
        ({"sigmas": [1.5, 0.5]}, r"sigmas\[0\] is 1.5, but a CLD model ends at sigma 1"),
        ({"sigmas": [0.5, 0.6, 0.1]}, r"sigmas\[1\] is 0.6, above sigmas\[0\] = 0.5"),
        ({"sigmas": [0.1, 0.6]}, "sigmas rise from 0.1 to 0.6"),
        ({"sigmas": [0.5, -0.1]}, r"sigmas\[1\] is -0.1"),
        ({"sigmas": [0.5, math.nan]}, r"sigmas\[1\] is nan"),
        ({"sigmas": [0.5, 1e-12, 0.0]}, r"sigmas\[1\] is 1e-12, a time too small"),
    ],
)
def test_errors_by_name(arguments, message):
    arguments = {"sigmas": [1.0, 0.5, 0.0], **arguments}
    with pytest.raises(ValueError, match=message):
        gddim_on(PROCESSES["CLD"], **arguments)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_states(sde, dtype):
    """The state stays in float32; the model takes and gives half precision."""
    seen = []
    model = lambda u, t: (seen.append(u.dtype), 0.1 * u)[1]  # noqa: E731
    end = solve(sde, model, state(sde).to(dtype), torch.tensor([0.9, 0.5, 0.1, 0.0]))
    assert end.dtype == dtype and set(seen) == {dtype} and end.isfinite().all()


@pytest.mark.parametrize("options", [{"degree": 2}, {"degree": 3, "corrector": "PEC"}], ids=str)
@pytest.mark.parametrize("near", [1e-3, 1e-5, 2e-6])
def test_a_nearly_repeated_time_changes_little(sde, near, options):
    """Its value of eps is skipped, so that no weight becomes large."""
    times, model, u = power_grid(sde, 80), eps_of(sde, data()), state(sde)
    twice = torch.cat([times[:41], times[40:41] * (1.0 - near), times[41:]])
    assert distance(*(solve(sde, model, u, sigmas, **options) for sigmas in (twice, times))) < 5e-3
