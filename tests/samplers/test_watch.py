"""Every planner calls the watcher before each step, and an exception of the watcher ends it."""

import re
import time

import pytest

from samplers import catalogue, multistep
from samplers.churn import Churn
from samplers.gddim_rule import gddim_plan
from samplers.multistep import multistep_plan
from samplers.processes import process_planner
from samplers.processes.blurring import Blurring
from samplers.processes.cld import CLD
from samplers.processes.process_planner import METHODS, gddim_on, res_on
from samplers.processes.process_times import time_grid
from samplers.schedules import SigmaRange, logsnr_grid
from samplers.tableaus import res_3s
from samplers.time_maps import VE
from samplers.watch import watched

_STEPS = 9


def _planners():
    """name -> a function that plans a given number of steps."""

    def on_sigmas(plan, *args, **options):
        return lambda steps: plan(logsnr_grid(steps, SigmaRange(0.03, 14.6), VE), *args, **options)

    yield from ((name, on_sigmas(method.plan)) for name, method in catalogue.METHODS.items() if method.planner)
    yield "churn", on_sigmas(multistep_plan, 2, VE, churn=Churn(4.0))
    yield "single-step start", on_sigmas(multistep_plan, 3, VE, start=res_3s())
    yield "gddim", on_sigmas(gddim_plan, 3, VE, "PECE")

    def on(sde, plan, *args, **options):
        return lambda steps: plan(sde, time_grid(sde, steps), *args, **options)

    for sde in (CLD(), Blurring(8, 8)):
        yield f"gddim on {sde.name}", on(sde, gddim_on, 3, "PECE")
        yield f"noisy gddim on {sde.name}", on(sde, gddim_on, 0, noise_level=1.0)
        yield from ((f"{method} on {sde.name}", on(sde, res_on, method)) for method in METHODS)


_PLANNERS = dict(_planners())


@pytest.fixture(autouse=True)
def forget():
    """forget() clears the kept plans, as before every test."""

    def clear():
        multistep._choice_plan.cache_clear()
        process_planner._planned.cache_clear()

    clear()
    return clear


@pytest.mark.parametrize("name", _PLANNERS)
def test_it_is_called_before_every_step(name):
    seen = []
    with watched(lambda done, total: seen.append((done, total))):
        plan = _PLANNERS[name](_STEPS)
    assert seen == [(i, _STEPS) for i in range(_STEPS)]
    assert plan == _PLANNERS[name](_STEPS) and len(seen) == _STEPS, "watching changes nothing, and ends"


@pytest.mark.parametrize("name", _PLANNERS)
def test_what_it_raises_ends_the_planning_and_leaves_nothing_behind(name):
    class Stop(Exception):
        pass

    def stop(done, total):
        if done == 3:
            raise Stop

    with pytest.raises(Stop), watched(stop):
        _PLANNERS[name](_STEPS)
    assert len({stage.step for stage in _PLANNERS[name](_STEPS).stages}) == _STEPS


_COSTLY = r"exp_res|exp_res_sde_cfg_pp|single-step start|gddim|(noisy gddim|gddim|4MC|3S) on .*"  # more than others of their kind


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if re.fullmatch(_COSTLY, name) else pytest.mark.long) for name in _PLANNERS]
)
def test_a_thousand_steps_take_two_seconds(name, forget):
    """The best of three counts, because other processes share the caches of a processor."""
    took, longest = [], []
    while len(took) < 3 and (not took or min(took) >= 2.0 or min(longest) >= 0.5):
        forget()
        seen = [time.process_time()]
        with watched(lambda done, total, seen=seen: seen.append(time.process_time())):
            _PLANNERS[name](1000)
        seen.append(time.process_time())
        assert len(seen) == 1002
        took.append(seen[-1] - seen[0])
        longest.append(max(after - before for before, after in zip(seen, seen[1:])))
    assert min(took) < 2.0 and min(longest) < 0.5, (took, longest)
