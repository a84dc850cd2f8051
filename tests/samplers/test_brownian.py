"""Brownian noise is one path per item, a function of lambda, independent of steps, batch, dtype and machine."""

import functools
import math

import pytest
import torch
from exact import PLANNERS, STOCHASTIC, NoisyModel, denoiser, in_lambda, noisy

from embedded.mixture import ring
from samplers.brownian import BrownianNoise
from samplers.loop import run
from samplers.noise import ItemNoise
from samplers.plan import Noise, NoisePath
from samplers.time_maps import FLOW, VE

ETAS = [0.3, 1.0, 2.0, 10.0]
TIMES = pytest.mark.parametrize("time", [VE, FLOW], ids=lambda t: t.name)


def _path(shape=(1, 4, 16), eta=1.0, time=VE):
    return BrownianNoise([1], torch.zeros(shape), time, eta)


@TIMES
@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize(
    "lambdas", [(-2.3, -0.8, 1.7), (0.11, 0.12, 0.13), (-2.0, -1.0, 0.0), (-8.4, 0.5, 6.2), (3.0, 3.0005, 3.5)]
)
def test_the_noise_of_a_step_is_that_of_its_parts(lambdas, eta, time):
    """It holds up to float32 rounding of the differences, because U_t - e^{-eta h} U_s is small against U if eta h is small."""
    sigmas = [time.sigma(lam) for lam in lambdas]
    path = _path(eta=eta, time=time)
    rate = eta * (lambdas[2] - lambdas[0])
    parts = NoisePath(sigmas[0], rate / eta, Noise(eta), 1.0)
    fraction = (lambdas[1] - lambdas[0]) / (lambdas[2] - lambdas[0])
    parts.to(fraction, sigmas[1])
    factors, segment = parts.to(1.0, sigmas[2])
    assert segment == (sigmas[1], sigmas[2])
    composed = factors[0] * path(*sigmas[:2]) + factors[1] * path(*sigmas[1:])
    whole = sigmas[2] * math.sqrt(-math.expm1(-2 * rate)) * path(sigmas[0], sigmas[2])
    torch.testing.assert_close(composed / sigmas[2], whole / sigmas[2], atol=2e-6, rtol=0)


@TIMES
@pytest.mark.parametrize("eta", ETAS)
def test_segments_are_unit_and_independent(eta, time):
    """The moments of 60,000 numbers show it, for segments inside a cell, across cells, and of 0.002 to 5 in lambda."""
    path = _path((1, 60_000), eta, time)
    lambdas = [-3.7, -3.2, -2.0, -1.999, -1.9, 0.4, 0.402, 0.5, 1.0, 6.0]
    noises = torch.cat([path(time.sigma(a), time.sigma(b)) for a, b in zip(lambdas, lambdas[1:])]).double()
    assert noises.mean(dim=1).abs().max() < 0.02  # 4.9 standard errors
    torch.testing.assert_close(noises @ noises.T / 60_000, torch.eye(9, dtype=torch.float64), atol=0.025, rtol=0)


def test_the_joint_law_is_exact_by_construction():
    """Two points of a cell are linear maps of independent normals, with the covariance of the OU process up to rounding."""
    nodes = {}

    class Coordinates(BrownianNoise):
        def _draw(self, cell, node):
            coordinate = nodes.setdefault((cell, node), len(nodes))
            return torch.nn.functional.one_hot(torch.tensor([coordinate]), 48).double()

    eta, points = 0.7, [2.1, 2.35, 2.8, 2.999]
    path = Coordinates([1], torch.zeros(1, 48), VE, eta)
    gains = torch.cat([path._since_cell(lam) for lam in points])
    assert 36 < len(nodes) < 48
    expected = [[math.exp(-eta * abs(a - b)) - math.exp(-eta * (a + b - 4)) for a in points] for b in points]
    torch.testing.assert_close(gains @ gains.T, torch.tensor(expected, dtype=torch.float64), atol=1e-14, rtol=0)


def test_order_and_history_of_the_questions_do_not_matter():
    path, segments = _path(), [(9.0, 4.0), (4.0, 1.1), (1.1, 0.2)]
    forward = [path(*segment) for segment in segments]
    for draws in ([_path()(*segment) for segment in segments], [path(*segment) for segment in segments[::-1]][::-1]):
        assert all(map(torch.equal, forward, draws))


@pytest.mark.parametrize("sigma, sigma_next", [(4518.0, 1e-6), (1e-20, 1e-30), (1.0, 1.0 - 1e-6)])
@pytest.mark.parametrize("eta", [1e-6, 1.0, 1e4])
def test_every_range_of_sigma_and_eta(sigma, sigma_next, eta):
    """This includes zero terminal SNR, where e^{2 eta lambda} spans 20 decades at eta 1."""
    noise = _path((1, 20_000), eta)(sigma, sigma_next)
    assert noise.isfinite().all() and noise.std() == pytest.approx(1.0, abs=0.025)


def _sample(name, initial, seed=7, **options):
    sigmas = torch.tensor([10.0, 4.0, 1.5, 0.5, 0.0])
    options = {"noise": "brownian", **options}
    return STOCHASTIC[name].sample(NoisyModel(initial), initial * 10.0, sigmas, {"seed": seed}, disable=True, **options)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_options(name):
    """s_noise scales the noise; eta = 0 and an injected noise sampler do not use it."""
    noise = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(_sample(name, noise, s_noise=0.5), _sample(name, noise))
    assert torch.equal(_sample(name, noise, s_noise=0.0), _sample(name, noise, noise_sampler=lambda *_: torch.zeros(2, 3)))
    assert torch.equal(_sample(name, noise, eta=0.0), _sample(name, noise, seed=8, eta=0.0, noise="independent"))
    assert not torch.equal(_sample(name, noise, eta=0.5), _sample(name, noise))


# --- strong convergence: on a path, and only there, more steps approach one answer ---

DATA = ring(components=5, radius=1.0, std=0.5)
ITEMS = 400


def _grid(time, n):
    """A grid uniform in lambda; on flow it starts at sigma 1, where the first step has no noise."""
    if time is VE:
        return in_lambda(time, -math.log(10.0), -math.log(0.1), n + 1)
    return torch.cat([torch.ones(1, dtype=torch.float64), in_lambda(time, -3.0, 2.5, n)])


def _result(method, time, eta, n, brownian=True):
    sigmas = _grid(time, n)
    x = noisy(float(sigmas[0]), time is FLOW, ITEMS, DATA)
    like = torch.zeros(1, ITEMS, 2, dtype=torch.float64)  # all in one item of the noise, which is quicker
    noise = BrownianNoise([5], like, time, eta) if brownian else ItemNoise([5], like)
    plan = PLANNERS[method](sigmas, time=time, noise=Noise(eta))
    return run(plan, denoiser(time is FLOW, DATA), x, sigmas, disable=True, noise_sampler=lambda *segment: noise(*segment)[0])


_exact = functools.cache(lambda time, eta: _result("2S", time, eta, 1280))


@TIMES
@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize("method", ["1S", "2M", "alpha 6 2MC", "2S"])
def test_strong_convergence_of_order_one_on_a_path(method, time, eta):
    """Order one is what additive noise allows without further integrals of the path."""
    exact = _exact(time, eta)
    errors = [float((_result(method, time, eta, n) - exact).square().mean().sqrt()) for n in (20, 40, 80, 160)]
    slope = -torch.tensor(errors).log2() @ torch.tensor([-0.3, -0.1, 0.1, 0.3])
    assert slope > 0.9, errors
    distances = [float((_result(method, time, eta, n, False) - exact).square().mean().sqrt()) for n in (20, 160)]
    assert distances[1] > 0.8 * distances[0] and distances[1] > 10 * errors[-1], "independent noise is another path at every n"
