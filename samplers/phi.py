"""The phi functions of exponential integrators, in float64.

    phi_0(z) = e^z,   phi_{k+1}(z) = (phi_k(z) - 1/k!) / z,   phi_k(0) = 1/k!

Source: Hochbruck & Ostermann, "Exponential integrators", Acta Numerica 2010.
"""

import math

# Below this |z| the recurrence loses digits to cancellation, and the Taylor series is used.
_TAYLOR_RADIUS = 2.0


def phi(k: int, z: float) -> float:
    """phi_k(z) for k >= 0 and real z, to a relative error below 1e-14 (k <= 4, |z| <= 600)."""
    if k == 0:
        return math.exp(z)
    if abs(z) < _TAYLOR_RADIUS:
        return _taylor(k, z)
    value = math.expm1(z) / z
    for j in range(1, k):
        value = (value - 1.0 / math.factorial(j)) / z
    return value


def _taylor(k: int, z: float) -> float:
    """sum_n z^n / (n + k)!, summed without rounding between the terms."""
    terms = [1.0 / math.factorial(k)]
    n = 1
    while abs(terms[-1]) > 1e-19 * terms[0]:
        terms.append(terms[-1] * z / (n + k))
        n += 1
    return math.fsum(terms)
