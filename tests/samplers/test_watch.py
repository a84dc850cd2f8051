"""Every planner calls whoever watches before each step, and ends where the watcher raises."""

import pytest

from samplers import catalogue
from samplers.catalogue import SOLVERS
from samplers.churn import Churn
from samplers.gddim_rule import gddim_plan
from samplers.multistep import multistep_plan
from samplers.processes.blurring import Blurring
from samplers.processes.cld import CLD
from samplers.processes.process_planner import METHODS, gddim_on, res_on
from samplers.processes.process_times import time_grid
from samplers.schedules import SigmaRange, logsnr_grid
from samplers.tableaus import res_3s
from samplers.time_maps import VE
from samplers.watch import watched

_STEPS = 9
_SIGMAS = logsnr_grid(_STEPS, SigmaRange(0.03, 14.6), VE)


def _planners():
    yield from ((name, catalogue.METHODS[name].plan) for name in SOLVERS)
    yield "churn", lambda sigmas: multistep_plan(sigmas, 2, VE, churn=Churn(4.0))
    yield "single-step start", lambda sigmas: multistep_plan(sigmas, 3, VE, start=res_3s())
    yield "gddim", lambda sigmas: gddim_plan(sigmas, 3, VE, "PECE")
    for sde in (CLD(), Blurring(2, 2)):
        grid = time_grid(sde, _STEPS)
        yield f"gddim on {sde.name}", lambda _, sde=sde, grid=grid: gddim_on(sde, grid, 2, "PEC")
        yield f"noisy gddim on {sde.name}", lambda _, sde=sde, grid=grid: gddim_on(sde, grid, 0, noise_level=1.0)
        for method in METHODS:
            yield f"{method} on {sde.name}", lambda _, sde=sde, grid=grid, method=method: res_on(sde, grid, method)


_PLANNERS = dict(_planners())


@pytest.fixture(autouse=True)
def nothing_is_kept():
    from samplers import multistep
    from samplers.processes import process_planner

    for kept in (multistep._choice_plan, process_planner._planned):
        kept.cache_clear()


@pytest.mark.parametrize("name", _PLANNERS)
def test_it_is_called_before_every_step(name):
    seen = []
    with watched(lambda done, total: seen.append((done, total))):
        plan = _PLANNERS[name](_SIGMAS)
    assert seen == [(i, _STEPS) for i in range(_STEPS)]
    assert plan == _PLANNERS[name](_SIGMAS) and len(seen) == _STEPS, "watching changes nothing, and ends"


@pytest.mark.parametrize("name", _PLANNERS)
def test_what_it_raises_ends_the_planning_and_leaves_nothing_behind(name):
    class Stop(Exception):
        pass

    def stop(done, total):
        if done == 3:
            raise Stop

    with pytest.raises(Stop), watched(stop):
        _PLANNERS[name](_SIGMAS)
    assert len({stage.step for stage in _PLANNERS[name](_SIGMAS).stages}) == _STEPS
