"""Gauss-Legendre quadrature with n nodes is exact for polynomials up to degree 2 n - 1."""

import pytest

from samplers.quadrature import gauss_legendre


@pytest.mark.parametrize("count", [1, 2, 8, 16, 48])
def test_polynomials_are_integrated_exactly(count):
    nodes, weights = gauss_legendre(count)
    assert ((0.0 < nodes) & (nodes < 1.0)).all()
    for degree in range(2 * count):
        assert weights @ nodes**degree == pytest.approx(1.0 / (degree + 1), rel=1e-12)
