"""The baselines on CLD converge to the truth, at their orders, in closed form where data are Gaussian."""

import math

import numpy as np
import pytest
import torch

from embedded.mixture import GaussianMixture
from embedded.process_mixture import ProcessMixture
from samplers.processes.cld import CLD
from samplers.processes.process_sampler import sample_gddim
from studies.cld_baselines import analytic_half_step, euler_maruyama, probability_flow_rk45, sscs

SDE = CLD()
WIDTH = 0.6
LAST = 1e-2


def times(steps, last=LAST):
    return [*(np.linspace(1.0, last**0.5, steps + 1)[:-1] ** 2).tolist(), last, 0.0]


def exact(mixture, kind="R"):
    return lambda u, t: ProcessMixture(SDE, mixture).eps(u, float(t[0]), kind)


def mixture(components=5):
    means = torch.randn(components, 6, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return GaussianMixture(means, WIDTH)


def start(batch=16):
    u = torch.randn(batch, 2, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u[:, 1] *= SDE.mass**0.5
    return u


def converged(u):
    grid = torch.tensor(times(400), dtype=torch.float64)
    return sample_gddim(exact(mixture()), u, grid, disable=True, sde=SDE, degree=3, corrector="PECE")


def distance(a, b):
    return float(((a - b)[:, :1].flatten(1).norm(dim=1) / b[:, :1].flatten(1).norm(dim=1)).median())


@pytest.mark.parametrize("kind", ["R", "L"])
def test_without_noise_euler_maruyama_is_euler_of_first_order(kind):
    u = start()
    reference = converged(u)
    errors = []
    for steps in (300, 600):
        samples, calls = euler_maruyama(SDE, exact(mixture(), kind), u, times(steps), kind=kind)
        assert calls == steps + 1
        errors.append(distance(samples, reference))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1.0, abs=0.2)
    assert errors[1] < 0.05


@pytest.mark.parametrize("kind", ["R", "L"])
def test_rk45_agrees_with_gddim(kind):
    u = start()
    reference = converged(u)
    found = [
        probability_flow_rk45(SDE, exact(mixture(), kind), u, 1.0, LAST, tolerance, kind=kind) for tolerance in (1e-3, 1e-5, 1e-7)
    ]
    errors, calls = [distance(samples, reference) for samples, _ in found], [count for _, count in found]
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-5
    assert calls == sorted(calls)


def moments(sample, steps):
    """Covariance of (x, v) at LAST of a linear sampler for Gaussian data, without a random number.

    The first two items carry the start, every other one a single number of a single noise.
    """
    point = GaussianMixture(torch.zeros(1, 1, dtype=torch.float64), WIDTH)
    truth = covariance(1.0)
    draws = 2 * steps
    u = torch.zeros(2 + 2 * draws, 2, 1, 1, dtype=torch.float64)
    u[:2, :, 0, 0] = torch.linalg.cholesky(torch.from_numpy(truth)).T
    drawn = iter(range(draws))

    def noise(like):
        draw = next(drawn)
        unit = torch.zeros_like(like)
        unit[2 + 2 * draw, 0], unit[3 + 2 * draw, 1] = 1.0, 1.0
        return unit

    seen = []  # the state before the last step, which keeps the position's mean alone
    model = lambda u, t: (seen.append((u, float(t[0]))), exact(point)(u, t))[1]  # noqa: E731
    sample(SDE, model, u, times(steps), noise=noise)
    state, t = seen[-1]
    assert t == LAST
    return torch.einsum("nixy,njxy->ij", state, state).numpy()


def covariance(t):
    signal = SDE.transition(t, 0.0)[:, :1]
    return WIDTH**2 * signal @ signal.T + SDE.covariance(t)


def maruyama(lam):
    return lambda *args, **options: euler_maruyama(*args, lam=lam, **options)


@pytest.mark.parametrize("sample, bound", [(maruyama(0.3), 0.15), (maruyama(1.0), 0.1), (sscs, 0.02)], ids=["0.3", "1", "sscs"])
def test_moments_of_gaussian_data_converge(sample, bound):
    errors = [np.abs(moments(sample, steps) / covariance(LAST) - 1.0).max() for steps in (100, 200, 400)]
    assert errors[2] < errors[1] / 1.7 < errors[0] / 2.7
    assert errors[2] < bound


def test_the_analytic_half_step_leaves_equilibrium_alone():
    equilibrium = SDE.prior_covariance()
    for dt in (1e-6, 0.01, 0.3, 2.0):
        transition, added = analytic_half_step(SDE, dt)
        np.testing.assert_allclose(transition @ equilibrium @ transition.T + added, equilibrium, atol=1e-15)
        assert np.linalg.eigvalsh(added).min() > -1e-16


def test_the_analytic_half_step_solves_its_sde():
    """From its drift alone: E is its exponential, and the noise's covariance what the noise of v adds up to."""
    from scipy.linalg import expm

    dt = 0.3
    rate = SDE.beta * np.array([[0.0, -1.0 / SDE.mass], [1.0, -SDE.friction / SDE.mass]])
    transition, added = analytic_half_step(SDE, dt)
    np.testing.assert_allclose(transition, expm(rate * dt / 2), atol=1e-14)
    nodes, weights = np.polynomial.legendre.leggauss(32)
    parts = [expm(rate * dt / 4 * (node + 1.0)) for node in nodes]
    noise = np.diag([0.0, 2.0 * SDE.friction * SDE.beta])
    np.testing.assert_allclose(added, dt / 4 * sum(w * e @ noise @ e.T for w, e in zip(weights, parts)), atol=1e-13)


def test_samples_of_a_mixture():
    """Two points with shares of one to two: many samples, so within their own noise."""
    points = GaussianMixture(torch.tensor([[-0.7], [0.8], [0.8]], dtype=torch.float64), 0.1)
    torch.manual_seed(0)
    u = torch.randn(8000, 2, 1, 1, dtype=torch.float64) * torch.tensor([1.0, SDE.mass**0.5]).reshape(2, 1, 1)
    for sample in (sscs, maruyama(1.0), maruyama(0.3)):
        x = sample(SDE, exact(points), u, times(200, 1e-3))[0][:, 0].flatten()
        assert float((x > 0).double().mean()) == pytest.approx(2 / 3, abs=0.02)
        assert float(x[x > 0].mean()) == pytest.approx(0.8, abs=0.01)
        assert float(x[x > 0].std()) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("bad", [[1.0, 0.5, 0.1], [0.5, 0.6, 0.0], [1.0, 1.0, 0.0]])
def test_times_fall_to_zero(bad):
    with pytest.raises(ValueError, match="times must fall to 0"):
        sscs(SDE, exact(mixture()), start(), bad)
