"""Convergence order on exact mixtures. Errors are per item and judged by quantiles: trajectories can jump basins."""

import pytest
import torch
from exact import GRIDS, REFERENCE, converged, denoiser, grid

from samplers.loop import run
from samplers.multistep import multistep_plan
from samplers.single_step import single_step_plan
from samplers.tableaus import res_2s, res_3s
from samplers.time_maps import FLOW, VE

# name -> (slope it must reach, plan)
METHODS = {
    "RES-2S": (1.9, lambda g, time: single_step_plan(g, res_2s(), time)),
    "RES-2M": (1.9, lambda g, time: multistep_plan(g, 2, time)),
    "RES-3S(1/2,1)": (2.85, lambda g, time: single_step_plan(g, res_3s(0.5, 1.0), time)),
    "RES-3S(1/3,2/3)": (2.85, lambda g, time: single_step_plan(g, res_3s(), time)),
    "RES-3S(.4,.75)": (2.85, lambda g, time: single_step_plan(g, res_3s(0.4, 0.75), time)),
    "RES-3M, 3S start": (2.85, lambda g, time: multistep_plan(g, 3, time, res_3s())),
}
CASES = [(name, VE) for name in GRIDS] + [(name, FLOW) for name, (flow, _) in GRIDS.items() if flow]
_COARSE, _FINE = 160, 320


def _errors(name, time, method, n):
    x, exact = converged(name)
    sigmas = grid(name, n)
    result = run(METHODS[method][1](sigmas, time), denoiser(GRIDS[name][0]), x, sigmas, disable=True)
    return (result - exact).norm(dim=1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name, time", CASES, ids=lambda v: getattr(v, "name", v))
def test_slope(name, time, method):
    coarse = _errors(name, time, method, _COARSE)
    fine = _errors(name, time, method, _FINE)
    slopes = torch.log2(coarse / fine)
    assert slopes.median() >= METHODS[method][0]
    assert slopes.quantile(0.1) >= METHODS[method][0] - 0.5


@pytest.mark.parametrize("name", GRIDS)
def test_reference_is_100_times_better(name):
    """The reference's own error, by its order as shown above, is below 1 % of the measured errors."""
    _, exact = converged(name)
    half = _errors(name, VE, "RES-3S(1/3,2/3)", REFERENCE // 2)  # about 7 times the reference's error
    assert half.median() / 7 < 0.01 * _errors(name, VE, "RES-3S(1/3,2/3)", _FINE).median()


def test_low_order_start_of_third_order_is_second_order():
    """Third order needs a single-step start."""
    x, exact = converged("ve, uniform in lambda")
    errors = []
    for n in (_COARSE, _FINE):
        sigmas = grid("ve, uniform in lambda", n)
        errors.append((run(multistep_plan(sigmas, 3), denoiser(False), x, sigmas, disable=True) - exact).norm(dim=1))
    assert 1.8 < torch.log2(errors[0] / errors[1]).median() < 2.5
