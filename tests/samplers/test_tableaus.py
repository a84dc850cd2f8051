"""Order conditions and identities of the methods' coefficients."""

import math
from dataclasses import replace

import pytest

from samplers.phi import phi
from samplers.tableaus import RES_1, Term, multistep_weights, order_conditions, res_2s, res_3s

STEPS = [1e-6, 1e-3, 0.1, 1.0, 3.0, 20.0]
TABLEAUS = [RES_1, *(res_2s(c) for c in (0.25, 0.5, 1.0))]
TABLEAUS += [res_3s(*c) for c in ((1 / 3, 2 / 3), (0.5, 1.0), (0.4, 0.75), (0.7, 0.2), (0.01, 0.0112), (0.012, 0.01))]


@pytest.mark.parametrize("h", STEPS)
@pytest.mark.parametrize("tableau", TABLEAUS, ids=lambda t: t.name)
def test_order_conditions(tableau, h):
    for name, residual in order_conditions(tableau, h).items():
        # nearly singular nodes have large coefficients, and rounding in a sum is relative to its terms
        assert abs(residual) < 1e-14 * max(10.0, 1.0 / min(tableau.c[1:], default=1.0) ** 2), name


def _with_c3_cubed(c2=1 / 3, c3=0.5):
    """RES-3S with an error of published ports, which are correct only at c3 = 1."""
    wrong = (3 * c3**3 - 2 * c3) / (c2 * (2 - 3 * c2))
    b3 = 1 / (wrong * c2 + c3)
    b = ((Term(1.0, 1, 1.0), Term(-(1 + wrong) * b3, 2, 1.0)), (Term(wrong * b3, 2, 1.0),), (Term(b3, 2, 1.0),))
    return replace(res_3s(c2, c3), b=b)


@pytest.mark.parametrize("c2, c3", [(1 / 3, 2 / 3), (0.5, 1.0), (0.4, 0.75), (0.7, 0.2)])
def test_the_embedded_method_has_order_two_and_never_more(c2, c3):
    """It misses psi_3(0) by (2 - 3 c2) / 12, which is 0 only at c2 = 2/3, where there is no RES-3S."""
    tableau = res_3s(c2, c3)
    low = tableau.b_low_weights(0.0)
    assert low == pytest.approx([*res_2s(c2).b_weights(0.0), 0.0])
    assert phi(3, 0.0) - sum(b * c**2 for b, c in zip(low, tableau.c)) / 2 == pytest.approx((2 - 3 * c2) / 12)


@pytest.mark.parametrize("c", [(0.0,), (0.0, -1.0), (0.0, -0.3, -2.0), (0.0, -1.0, -2.5, -3.0), (0.0, 1.0, -1.0)])
@pytest.mark.parametrize("h", STEPS)
def test_multistep_weights_meet_the_moments(c, h):
    weights = multistep_weights(c, h)
    for k in range(len(c)):
        moment = math.fsum(w * node**k for w, node in zip(weights, c))
        assert moment == pytest.approx(math.factorial(k) * phi(k + 1, -h), rel=1e-12, abs=1e-14)


def test_a_constant_is_exact_between_nodes_that_are_close():
    """Solving for the weights misses their sum by 3e-12 here, and by more between closer nodes, where plans refuse it."""
    weights = multistep_weights([1.0, 0.0, -1e-3, -2.1e-3], 2.5e-6)
    assert max(map(abs, weights)) > 1e4
    assert math.fsum(weights) == pytest.approx(phi(1, -2.5e-6), abs=1e-12)


@pytest.mark.parametrize("h", STEPS)
@pytest.mark.parametrize("r", [0.5, 0.3])
def test_res_2s_is_dpm_solver_pp_2s_taylor(r, h):
    # DPM-Solver++(2S), solver_type "taylor": -expm1(-h) D0 + (expm1(-h)/h + 1) (D1 - D0) / r
    tableau, b2 = res_2s(r), (math.expm1(-h) / h + 1.0) / r
    assert [h * w for w in tableau.b_weights(h)] == pytest.approx([-math.expm1(-h) - b2, b2], rel=1e-8)
    assert h * tableau.a_weights(1, h)[0] == pytest.approx(-math.expm1(-r * h), rel=1e-12)


@pytest.mark.parametrize("h", STEPS)
def test_res_3s_is_dpm_solver_pp_3s(h):
    # DPM-Solver++(3S) at r1 = 1/3, r2 = 2/3
    r1, r2 = 1 / 3, 2 / 3
    tableau = res_3s(r1, r2)
    a32 = (math.expm1(-r2 * h) / (r2 * h) + 1.0) * r2 / r1
    b3 = (math.expm1(-h) / h + 1.0) / r2
    assert h * tableau.a_weights(1, h)[0] == pytest.approx(-math.expm1(-r1 * h), rel=1e-12)
    assert [h * w for w in tableau.a_weights(2, h)] == pytest.approx([-math.expm1(-r2 * h) - a32, a32], rel=1e-8)
    assert [h * w for w in tableau.b_weights(h)] == pytest.approx([-math.expm1(-h) - b3, 0.0, b3], rel=1e-8, abs=1e-15)


@pytest.mark.parametrize(
    "make, match",
    [
        (_with_c3_cubed, "psi_3"),
        (lambda: replace(res_3s(), b_low=RES_1.b), "psi_2 low"),
        *((lambda c2=c2: res_2s(c2), "c2 must be between 0.01 and 1") for c2 in (0.0, -0.5, 1.01, math.nan)),
        (lambda: res_3s(0.5, 0.0), "c3 must be between"),
        (lambda: res_3s(0.5, 0.5), "differ"),
        (lambda: res_3s(2 / 3, 0.5), "c2=2/3"),
        # an order above 4 would pass with the conditions of order 4 only
        *((lambda n=n: replace(res_3s(), order=n), rf"RES-3S.*: order must be 1 to 4, got {n}") for n in (0, 5, 7)),
    ],
)
def test_wrong_coefficients_are_refused(make, match):
    with pytest.raises(ValueError, match=match):
        make()
