"""The coefficients of gDDIM agree with their definitions, computed in other ways."""

import numpy as np
import pytest
from process_examples import PROCESSES

from samplers.interpolation import lagrange
from samplers.processes.coefficients import contraction, lagrange_slope, noise_factor
from samplers.processes.linear_sde import transposed
from samplers.processes.process_forms import InEps

NODES = [0.5, 0.62, 0.71, 0.9]
on_every_process = pytest.mark.parametrize("sde", PROCESSES.values(), ids=PROCESSES)
STEPS = [(0.5, 0.4), (0.05, 0.02), (1e-2, 1e-3)]


def by_definition(sde, nodes, s, t, kind):
    """C_j with the inverse, by quadrature in 400 nodes."""
    x, w = np.polynomial.legendre.leggauss(400)
    tau = s + 0.5 * (t - s) * (x + 1)
    inner = 0.5 * sde.transition(t, tau) @ sde.diffusion(tau) @ transposed(np.linalg.inv(sde.factor(tau, kind)))
    return [np.tensordot(0.5 * (t - s) * w * lagrange(nodes, j, tau), inner, axes=1) for j in range(len(nodes))]


@pytest.mark.parametrize("kind", ["R", "L"])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("s, t", STEPS)
@on_every_process
def test_step_weights_are_what_they_are_defined_as(sde, s, t, count, kind):
    """Integration by parts gives the same weights as the definition, which needs an inverse."""
    nodes = [s * x / NODES[0] for x in NODES[:count]]
    for ours, defined in zip(InEps(sde, kind, [(s, t)]).weights(nodes, s, t), by_definition(sde, nodes, s, t, kind)):
        np.testing.assert_allclose(ours, defined, rtol=1e-7, atol=2e-9)


@on_every_process
def test_a_constant_eps_is_carried_exactly(sde):
    """sum_j C_j = R_t - Psi R_s."""
    for s, t in STEPS:
        expected = sde.root(t) - sde.transition(t, s) @ sde.root(s)
        weights = InEps(sde, "R", [(s, t)]).weights([s, 1.1 * s, 1.3 * s], s, t)
        np.testing.assert_allclose(sum(weights), expected, atol=1e-13)


def test_lagrange_polynomials():
    t = np.linspace(0.1, 1.0, 7)
    for j, node in enumerate(NODES):
        assert [float(lagrange(NODES, j, other)) for other in NODES] == [float(other == node) for other in NODES]
        slope = (lagrange(NODES, j, t + 1e-6) - lagrange(NODES, j, t - 1e-6)) / 2e-6
        np.testing.assert_allclose(lagrange_slope(NODES, j, t), slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lam", [0.1, 0.5, 1.0, 1.7])
@on_every_process
def test_psihat_solves_its_equation(sde, lam):
    """Psihat' = (F + (1 + lam^2) / 2 G G^T Sigma^-1) Psihat, by differences in t."""
    s, t, h = 0.6, 0.35, 1e-5

    def psihat(t):
        return sde.root(t) @ contraction(sde, [s], [t], lam)[0] @ np.linalg.inv(sde.root(s))

    slope = (psihat(t + h) - psihat(t - h)) / (2 * h)
    rate = sde.drift(t) + 0.5 * (1 + lam**2) * sde.diffusion(t) @ np.linalg.inv(sde.covariance(t))
    np.testing.assert_allclose(slope, rate @ psihat(t), rtol=1e-5, atol=1e-5)


@on_every_process
def test_the_reverse_sde_in_closed_form(sde):
    """At lambda 1, Psihat = Sigma_t Psi^-T Sigma_s^-1; close to 1 the solution of the equation is close to it."""
    s, t = np.array([0.6, 0.01]), np.array([0.35, 0.002])
    closed = sde.covariance(t) @ np.linalg.inv(transposed(sde.transition(t, s))) @ np.linalg.inv(sde.covariance(s))
    for lam in (1.0, 1.0 + 1e-8):
        ours = sde.root(t) @ contraction(sde, s, t, lam) @ np.linalg.inv(sde.root(s))
        np.testing.assert_allclose(ours, closed, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("lam", [0.0, 0.05, 0.5, 1.0, 3.0])
@on_every_process
def test_the_noise_has_the_covariance_it_must(sde, lam):
    """P = Sigma_t - Psihat Sigma_s Psihat^T is symmetric and positive semidefinite, and zero at lambda 0."""
    times = np.linspace(1e-3**0.5, sde.t_max**0.5, 11)[::-1] ** 2
    s, t = times[:-1], times[1:]
    contracted = contraction(sde, s, t, lam)
    psihat = sde.root(t) @ contracted @ np.linalg.inv(sde.root(s))
    expected = sde.covariance(t) - psihat @ sde.covariance(s) @ transposed(psihat)
    for step in range(len(s)):
        factor = noise_factor(sde, t[step], contracted[step])
        p = factor @ transposed(factor)
        np.testing.assert_allclose(p, expected[step], atol=1e-8)
        assert np.linalg.eigvalsh(p).min() >= -1e-16
    assert np.linalg.norm(contracted, 2, axis=(-2, -1)).max() <= 1.0 + 1e-12
    if lam == 0.0:
        np.testing.assert_array_equal(psihat @ np.zeros(sde.size), 0)
        np.testing.assert_array_equal(contracted, np.broadcast_to(np.eye(sde.size), contracted.shape))


def test_steps_of_noise_compose():
    """Q(t, r) = Q(t, s) Q(s, r)."""
    sde = PROCESSES["CLD"]
    whole = contraction(sde, [0.8], [0.2], 0.7)[0]
    np.testing.assert_allclose(
        contraction(sde, [0.5], [0.2], 0.7)[0] @ contraction(sde, [0.8], [0.5], 0.7)[0], whole, rtol=1e-8, atol=1e-9
    )
