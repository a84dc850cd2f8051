"""A new sampler is a tableau, a Method and a test of its order, as CONTRIBUTING says. The example is RES-4S of Hochbruck &
Ostermann.
"""

import inspect
import math

import pytest
import torch
from exact import GRIDS, CountingModel, converged, denoiser, grid

from samplers.loop import run
from samplers.method import Method
from samplers.single_step import single_step_plan
from samplers.tableaus import Tableau, Term
from samplers.time_maps import FLOW_LOG_SIGMA, VE


def res_4s() -> Tableau:
    """Stiff order 4 in five calls (SIAM J. Numer. Anal. 43, 2005, eq. 5.19)."""

    def weight(*terms):
        return tuple(Term(*term) for term in terms)

    half, whole = 0.5, 1.0
    a52 = ((0.5, 2, half), (-1.0, 3, whole), (0.25, 2, whole), (-0.5, 3, half))
    a54 = ((0.25, 2, half), *((-factor, k, c) for factor, k, c in a52))
    a51 = ((0.5, 1, half), *((-2.0 * factor, k, c) for factor, k, c in a52), *((-factor, k, c) for factor, k, c in a54))
    return Tableau(
        "RES-4S",
        order=4,
        c=(0.0, half, half, whole, half),
        a=(
            (weight((0.5, 1, half)),),
            (weight((0.5, 1, half), (-1.0, 2, half)), weight((1.0, 2, half))),
            (weight((1.0, 1, whole), (-2.0, 2, whole)), weight((1.0, 2, whole)), weight((1.0, 2, whole))),
            (weight(*a51), weight(*a52), weight(*a52), weight(*a54)),
        ),
        b=(
            weight((1.0, 1, whole), (-3.0, 2, whole), (4.0, 3, whole)),
            (),
            (),
            weight((-1.0, 2, whole), (4.0, 3, whole)),
            weight((4.0, 2, whole), (-8.0, 3, whole)),
        ),
    )


def _plan(sigmas, *, time=VE):
    return single_step_plan(sigmas, res_4s(), time)


RES_4S = Method("exp_res_4s", "RES-4S: fourth order.", _plan, calls_per_step=5, flow_time=FLOW_LOG_SIGMA)


def test_it_converges_with_order_four():
    slopes = []
    for name, (flow, _) in GRIDS.items():
        x, exact = converged(name)
        errors = []
        for steps in (20, 40):
            sigmas = grid(name, steps)
            errors.append(float((run(_plan(sigmas), denoiser(flow), x, sigmas, disable=True) - exact).norm()))
        slopes.append(math.log2(errors[0] / errors[1]))
    assert sorted(slopes)[len(slopes) // 2] > 3.8, slopes


def test_its_function_samples_with_as_many_calls_as_it_says():
    model, x = CountingModel(denoiser(False)), torch.ones(2, 2, dtype=torch.float64)
    result = RES_4S.sample(model, x, torch.tensor([8.0, 4.0, 1.0, 0.3, 0.0]), disable=True)
    assert result.isfinite().all() and len(model.sigmas) == RES_4S.calls_per_step * 3 + 1


def test_help_and_editors_see_its_true_signature():
    parameters = inspect.signature(RES_4S.sample).parameters
    assert list(parameters) == ["model", "x", "sigmas", "extra_args", "callback", "disable", "time"]
    assert RES_4S.sample.__doc__.startswith("RES-4S: fourth order.\n\nArgs:\n    model, x, sigmas")
    with pytest.raises(TypeError, match="unexpected keyword argument 'eta'"):
        RES_4S.sample(None, torch.ones(1), [1.0, 0.0], eta=1.0)


def test_a_wrong_coefficient_is_refused():
    """The conditions of order 4 are checked as well."""
    right = res_4s()
    with pytest.raises(ValueError, match="order must be 1 to 4, got 5"):
        Tableau("x", 5, right.c, right.a, right.b)
    swapped = (right.a[0], ((), right.a[1][1]), *right.a[2:])
    with pytest.raises(ValueError, match="order condition psi_1,3"):
        Tableau("x", 4, right.c, swapped, right.b)
