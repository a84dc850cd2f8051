"""Gauss-Legendre quadrature on the unit interval."""

from functools import cache

import numpy as np


@cache  # and not computed at import: numpy's first eigenvalues take milliseconds
def gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(nodes in (0, 1), weights of sum 1), float64 of shape (count,): exact for polynomials of degree 2 count - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1.0) / 2.0, weights / 2.0
