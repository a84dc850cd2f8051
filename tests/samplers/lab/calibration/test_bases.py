"""The bases are the methods that their names say."""

import math

import pytest
from calibration_data import TIMES, Gaussian, grid_of

from samplers.lab.calibration.fitting import BASES, bases
from samplers.loop import run
from samplers.time_maps import VE


def test_dpmpp_2m_is_dpm_solver_pp_2m():
    """Its weights follow the paper's formula, (1 - e^-h) ((1 + 1 / 2r) D - 1 / 2r D_before) r = h_before / h."""
    sigmas = grid_of(VE, 6)
    plan = bases(sigmas, VE)["dpmpp_2m"]
    lam = [-math.log(s) for s in sigmas.double()[:-1].tolist()]
    for i in range(1, len(lam) - 1):
        h, before = lam[i + 1] - lam[i], lam[i] - lam[i - 1]
        r, size = before / h, -math.expm1(-h)
        assert dict(plan.stages[i].weights) == pytest.approx({i: size * (1.0 + 0.5 / r), i - 1: -size * 0.5 / r})
    assert dict(plan.stages[-1].weights) == {len(plan.stages) - 1: 1.0} and plan.stages[-1].scale == 0.0


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("name", BASES)
def test_every_base_can_be_fitted_and_converges(name, time):
    model = Gaussian(time)
    sigmas = grid_of(time, 48)
    plan, start = bases(sigmas, time)[name], model.start(float(sigmas[0]))
    assert all(stage.closes_step and not stage.noise for stage in plan.stages) and not plan.cfg_pp
    end, truth = run(plan, model, start, sigmas, disable=True), model.solution(start, float(sigmas[0]), 0.0)
    assert plan.calls == 48 and float((end - truth).norm() / truth.norm()) < 0.04
