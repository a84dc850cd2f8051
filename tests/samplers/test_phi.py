"""phi_k against mpmath."""

import mpmath
import numpy as np
import pytest

from samplers.phi import phi


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("k", range(5))
def test_relative_error_below_1e_14(k, sign):
    for z in sign * np.concatenate([np.geomspace(1e-12, 600, 400), [0.5, 1.0, 1.999999, 2.0, 2.000001]]):
        with mpmath.workdps(60):
            exact = mpmath.hyp1f1(1, k + 1, float(z)) / mpmath.factorial(k)
        assert abs((phi(k, float(z)) - exact) / exact) < 1e-14, z


@pytest.mark.parametrize("k, limit", [(0, 1.0), (1, 1.0), (2, 0.5), (3, 1 / 6), (4, 1 / 24)])
def test_limit_at_zero(k, limit):
    assert phi(k, 0.0) == limit
