"""The closed forms of linear diffusions solve the differential equations that define them."""

import numpy as np
import pytest
from process_examples import FITTED, PROCESSES, VP, solved_numerically

from samplers.processes.blurring import Blurring, dct_matrix
from samplers.processes.cld import CLD
from samplers.processes.linear_sde import transposed

TIMES = np.array([2e-3, 0.05, 0.3, 0.9])
ALL = [*PROCESSES.values(), *FITTED.values(), CLD(beta=3.0, mass=0.5), Blurring(2, 4, blur=20.0)]


@pytest.mark.parametrize("sde", [sde for sde in ALL if np.linalg.det(sde.initial_covariance()).min() > 0.0], ids=str)
def test_closed_forms_are_the_solutions(sde):
    """They solve the equations for Psi and R, as a solver does that knows only F, G G^T and Sigma_0."""
    solved = solved_numerically(sde)
    np.testing.assert_allclose(sde.root(TIMES), solved.root(TIMES), atol=1e-11)
    np.testing.assert_allclose(sde.covariance(TIMES), solved.covariance(TIMES), atol=1e-11)
    np.testing.assert_allclose(sde.transition(TIMES, 0.4), solved.transition(TIMES, 0.4), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sde", ALL, ids=str)
def test_roots_and_factors(sde):
    for kind in ("R", "L"):
        factor = sde.factor(TIMES, kind)
        np.testing.assert_allclose(factor @ transposed(factor), sde.covariance(TIMES), rtol=1e-12, atol=1e-15)
    lower = sde.cholesky(TIMES)
    np.testing.assert_array_equal(lower, np.tril(lower))


@pytest.mark.parametrize("sde", ALL, ids=str)
def test_the_equations_of_r_covariance_and_transition(sde):
    """They hold for differences, also where Sigma_0 is singular: for R it is dR/dt = (F + 1/2 G G^T Sigma^-1) R."""
    t, h = 0.37, 1e-6

    def slope(of):
        return (of(t + h) - of(t - h)) / (2 * h)

    drift = sde.drift(t)
    expected = (drift + 0.5 * sde.diffusion(t) @ np.linalg.inv(sde.covariance(t))) @ sde.root(t)
    np.testing.assert_allclose(slope(sde.root), expected, atol=1e-7)
    spread = drift @ sde.covariance(t)
    np.testing.assert_allclose(slope(sde.covariance), spread + transposed(spread) + sde.diffusion(t), atol=1e-7)
    np.testing.assert_allclose(slope(lambda t: sde.transition(t, 0.2)), drift @ sde.transition(t, 0.2), atol=1e-7)
    np.testing.assert_allclose(sde.transition(0.5, 0.3) @ sde.transition(0.3, 0.1), sde.transition(0.5, 0.1), rtol=1e-9)


def test_cld_covariance_keeps_its_digits_near_0():
    """The covariance agrees with mpmath where S - Psi S Psi^T cancels."""
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 60
    t = mpmath.mpf("1e-5")
    b = 4 * t
    psi = mpmath.exp(-2 * b) * mpmath.matrix([[1 + 2 * b, 4 * b], [-b, 1 - 2 * b]])
    s = mpmath.diag([1, mpmath.mpf(1) / 4])
    start = mpmath.diag([mpmath.mpf("1e-6"), mpmath.mpf("0.010001")])
    exact = np.array((s + psi * (start - s) * psi.T).tolist(), dtype=float)
    np.testing.assert_allclose(CLD().covariance(1e-5), exact, rtol=1e-13)


def test_refused():
    with pytest.raises(ValueError, match="Sigma_0 of VP is not positive definite"):
        solved_numerically(VP()).root(0.5)
    with pytest.raises(ValueError, match="kind must be one of 'R', 'L', got 'K'"):
        CLD().factor(0.5, "K")


def test_blurring_forgets_fine_detail_first():
    """Without blur all frequencies diffuse alike. The cosine transform is orthonormal."""
    kept, alike = (Blurring(8, 8, **blur).transition(0.5, 0.0)[..., 0, 0] for blur in ({}, {"blur": 0.0}))
    assert (np.diff(kept, axis=0) <= 0).all() and (np.diff(kept, axis=1) <= 0).all()
    np.testing.assert_allclose(kept[0, 0], np.cos(0.504 / 1.008 * np.pi / 2) / np.cos(0.004 / 1.008 * np.pi / 2))
    np.testing.assert_allclose(alike, np.full((8, 8), kept[0, 0]))
    matrix = dct_matrix(7)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(7), atol=1e-14)
    np.testing.assert_allclose(matrix[0], np.full(7, 7**-0.5))
