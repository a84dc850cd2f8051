"""Random combinations of sampler, options, grid, dtype and shape give a finite result or a ValueError before the first call.

The number of calls is the announced one, by the plan, the adaptive sampler's report, or the name of a registered sampler.
"""

import contextlib
import logging
import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from exact import calls_per_step
from hypothesis import given, settings
from hypothesis import strategies as st

from samplers import sample_res_churn, sample_res_multistep
from samplers.adaptive import sample_exp_res_adaptive
from samplers.catalogue import METHODS, SOLVERS
from samplers.grid import grid_steps
from samplers.loop import run
from samplers.options import INTERPOLATIONS, NOISES
from samplers.single_step import single_step_plan
from samplers.tableaus import res_2s, res_3s
from samplers.time_maps import FLOW, FLOW_LOG_SIGMA, VE, TimeMap


class Case(NamedTuple):
    """A sampler with options that may be bad."""

    sample: Callable  # (model, x, sigmas, extra_args) -> result, or (result, calls announced)
    time: TimeMap
    name: str | None = None  # its name in METHODS, if any


@st.composite
def mostly(draw, good, bad):
    """The first strategy in most cases, so that few combinations of several options are refused."""
    return draw(bad if draw(st.integers(0, 40)) == 23 else good)  # the middle, because ends are drawn more often


def numbers(low: float, high: float):
    return mostly(st.floats(low, high), st.floats())


times = st.sampled_from([VE, FLOW, FLOW_LOG_SIGMA])


@st.composite
def registered(draw):
    name = draw(st.sampled_from(list(METHODS)))
    time, options = draw(times), {}
    if METHODS[name].stochastic:
        options = {"eta": draw(numbers(0.0, 3.0)), "s_noise": draw(numbers(0.0, 2.0))}
        options["noise"] = draw(mostly(st.sampled_from(NOISES), st.just("pink")))
    return Case(lambda *args: METHODS[name].sample(*args, disable=True, time=time, **options), time, name)


@st.composite
def multistep(draw):
    time = draw(times)
    options = {
        "order": draw(mostly(st.integers(1, 4), st.integers())),
        "corrector": draw(st.booleans()),
        "interpolation": draw(mostly(st.sampled_from(INTERPOLATIONS), st.just("linear"))),
        "data_scale": draw(numbers(0.01, 100.0)),
        "power": draw(numbers(1.0, 4.0)),
        "eps_share": draw(numbers(0.0, 1.0)),
    }
    return Case(lambda *args: sample_res_multistep(*args, disable=True, time=time, **options), time)


@st.composite
def single_step(draw):
    time, c2, c3 = draw(times), draw(numbers(0.01, 1.0)), draw(st.none() | numbers(0.01, 1.0))

    def sample(model, x, sigmas, extra_args):
        tableau = res_2s(c2) if c3 is None else res_3s(c2, c3)
        return run(single_step_plan(sigmas, tableau, time), model, x, sigmas, extra_args, disable=True)

    return Case(sample, time)


@st.composite
def churn(draw):
    limits = st.floats(0.0, 100.0) | st.sampled_from([0.0, math.inf])
    options = {"s_churn": draw(numbers(0.0, 20.0)), "s_noise": draw(numbers(0.0, 2.0))}
    options["s_tmin"], options["s_tmax"] = sorted([draw(limits), draw(limits)])
    options |= {"sigma_max": draw(mostly(st.just(math.inf) | st.floats(1.0, 100.0), st.floats()))}
    options |= {"solver": draw(mostly(st.sampled_from(list(SOLVERS)), st.just("euler"))), "time": draw(times)}
    return Case(lambda *args: sample_res_churn(*args, disable=True, **options), options["time"])


@st.composite
def adaptive(draw):
    options = {"rtol": draw(numbers(1e-4, 10.0)), "atol": draw(numbers(1e-4, 10.0)), "time": draw(times)}
    options["max_calls"] = draw(mostly(st.integers(4, 100), st.integers(-4, 4)))

    def sample(*args):
        result, info = sample_exp_res_adaptive(*args, disable=True, return_info=True, **options)
        assert info.calls <= max(options["max_calls"], 0)
        return result, info.calls

    return Case(sample, options["time"])


@st.composite
def grids(draw, limit: float):
    """Grids that are mostly sorted and up to the limit, falling more often than rising, with repetitions and near-repetitions."""
    up_to_limit = st.floats(2.0**-14, limit, width=32)
    bad = st.floats(-1.0, 1e6) | st.sampled_from([math.nan, math.inf])
    least = draw(st.sampled_from([3, 4, 5, 0]))
    values = draw(st.lists(mostly(up_to_limit | up_to_limit | st.sampled_from([0.0, 1.0]), bad), min_size=least, max_size=9))
    if values:
        again = draw(st.lists(st.sampled_from(values), max_size=2))
        values += [v * (1.0 - draw(st.sampled_from([0.0, 1e-7, 1e-6, 3e-6, 1e-3]))) for v in again]
    if draw(st.integers(0, 40)) == 23:
        return values
    return sorted((v for v in values if not math.isnan(v)), reverse=draw(st.integers(0, 4)) != 2)


@st.composite
def problems(draw):
    """(case, x, sigmas, extra_args)"""
    case = draw(registered() | registered() | multistep() | single_step() | churn() | adaptive())
    sigmas = torch.tensor(
        draw(grids(100.0 if case.time is VE else 1.0)), dtype=draw(st.sampled_from([torch.float32, torch.float64]))
    )
    shape = draw(st.sampled_from([(1, 2), (3, 1, 4), (2, 4, 2, 2), (1, 2, 3, 2, 2)]))
    x = torch.ones(shape, dtype=draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16])))
    return case, x, sigmas, draw(st.sampled_from([None, {}, {"seed": 0}, {"seed": 2**64 - 1}]))


class Model:
    """A model that counts its calls and checks its inputs."""

    def __init__(self, x, cfg_pp: bool):
        self.calls, self._like, self._cfg_pp = 0, x, cfg_pp

    def __call__(self, x, sigma, seed=0):
        self.calls += 1
        assert x.shape == self._like.shape and x.dtype == self._like.dtype
        assert sigma.shape == x.shape[:1] and sigma.isfinite().all() and (sigma > 0).all()
        denoised = 0.5 * x / (1.0 + sigma.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype))
        return (1.5 * denoised, denoised) if self._cfg_pp else denoised


@contextlib.contextmanager
def logged_plans():
    """A list that gets every plan the loop is about to run."""
    logger, handler, plans = logging.getLogger("samplers.loop"), logging.Handler(), []
    handler.emit = lambda record: plans.extend(record.args)
    level, logger.propagate = logger.level, False
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield plans
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = True


def check(problem):
    case, x, sigmas, extra_args = problem
    model = Model(x, cfg_pp=case.name is not None and METHODS[case.name].cfg_pp)
    with logged_plans() as plans:
        try:
            result = case.sample(model, x, sigmas, extra_args)
        except ValueError as error:
            assert model.calls == 0 and len(str(error)) > 20
            return
    result, announced = result if isinstance(result, tuple) else (result, plans[0].calls)
    assert model.calls == announced
    if case.name is not None:
        of_a_step = calls_per_step(case.name)
        assert announced == sum(1 if step.sigma_next == 0.0 else of_a_step for step in grid_steps(sigmas, case.time))
    assert result.shape == x.shape and result.dtype == x.dtype
    assert result.isfinite().all()


@pytest.mark.parametrize("examples", [1_500, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_finite_as_announced_or_refused(examples):
    settings(max_examples=examples)(given(problems())(check))()
