"""Random combinations of sampler, options, grid, dtype and shape: a finite result or a ValueError before the first call."""

import math
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samplers.adaptive import sample_exp_res_adaptive
from samplers.interpolation import InAlpha
from samplers.loop import run
from samplers.multistep import multistep_plan
from samplers.plan import Noise
from samplers.res import INTERPOLATIONS, LAST_STEPS, STARTS, sample_res_multistep
from samplers.single_step import single_step_plan
from samplers.stochastic import sample_res_churn
from samplers.tableaus import res_2s, res_3s
from samplers.time_maps import FLOW, FLOW_LOG_SIGMA, VE

nodes = st.one_of(st.floats(-0.2, 1.2), st.just(math.nan))
sigma = st.one_of(st.floats(0.0, 1.0, width=32), st.floats(0.0, 100.0, width=32), st.sampled_from([0.0, 1.0, math.nan, math.inf]))
times = st.sampled_from([VE, FLOW, FLOW_LOG_SIGMA])
_CHURNED = [
    partial(single_step_plan, tableau=res_3s()),
    partial(multistep_plan, order=3, corrector=True, start=res_3s()),
    partial(multistep_plan, order=2, last_step=InAlpha(0.5)),
    partial(multistep_plan, order=4, corrector=True, interpolation=InAlpha()),
]


@st.composite
def grids(draw):
    values = draw(st.lists(sigma, min_size=0, max_size=9))
    if draw(st.integers(0, 9)) == 0:
        return values
    return sorted((v for v in values if math.isfinite(v)), reverse=draw(st.integers(0, 2)) > 0)


@st.composite
def samplers(draw):
    """A function (model, x, sigmas) -> result, whose options may be bad."""
    time = draw(times)
    kind = draw(st.sampled_from(["2s", "3s", "multistep", "sde", "churn", "adaptive"]))
    if kind == "2s":
        c2 = draw(nodes)
        return lambda model, x, sigmas: run(single_step_plan(sigmas, res_2s(c2), time), model, x, sigmas, disable=True)
    if kind == "3s":
        c2, c3 = draw(nodes), draw(nodes)
        return lambda model, x, sigmas: run(single_step_plan(sigmas, res_3s(c2, c3), time), model, x, sigmas, disable=True)
    if kind == "adaptive":
        limits = {name: draw(st.one_of(st.floats(0.0, 10.0), st.just(math.nan))) for name in ("rtol", "atol")}
        limits["max_calls"] = draw(st.integers(0, 100))
        return lambda model, x, sigmas: sample_exp_res_adaptive(model, x, sigmas, disable=True, time=time, **limits)
    if kind == "sde":
        noise = Noise(draw(st.floats(0.0, 2.0)), draw(st.floats(0.0, 2.0)))
        time = FLOW if time is FLOW_LOG_SIGMA else time
        plans = [
            lambda g: multistep_plan(g, 2, time, noise=noise),
            lambda g: single_step_plan(g, res_3s(), time, noise),
        ]
        plan = draw(st.sampled_from(plans))
        return lambda model, x, sigmas: run(
            plan(sigmas), model, x, sigmas, disable=True, noise_sampler=lambda a, b: torch.randn_like(x)
        )  # fmt: skip
    if kind == "churn":
        solver = draw(st.sampled_from(_CHURNED))
        limits = st.one_of(st.floats(-0.1, 100.0), st.sampled_from([0.0, math.inf]))
        options = {"s_churn": draw(st.floats(-0.1, 20.0)), "s_tmin": draw(limits), "s_tmax": draw(limits)}
        options |= {"sigma_max": draw(limits), "solver": solver, "time": time}
        return lambda model, x, sigmas: sample_res_churn(model, x, sigmas, disable=True, **options)
    options = {
        "order": draw(st.integers(0, 5)),
        "start": draw(st.sampled_from(STARTS)),
        "corrector": draw(st.booleans()),
        "interpolation": draw(st.sampled_from(INTERPOLATIONS)),
        "data_scale": draw(st.floats(-0.1, 10.0)),
        "power": draw(st.floats(0.9, 4.1)),
        "last_step": draw(st.sampled_from(LAST_STEPS)),
    }
    return lambda model, x, sigmas: sample_res_multistep(model, x, sigmas, disable=True, time=time, **options)


def _check(sample, values, dtype, shape):
    calls = 0

    def model(x, sigma):
        nonlocal calls
        calls += 1
        assert sigma.shape == (shape[0],) and sigma.isfinite().all() and (sigma > 0).all()
        return 0.5 * x / (1.0 + sigma.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype))

    x = torch.ones(shape, dtype=dtype)
    try:
        result = sample(model, x, torch.tensor(values))
    except ValueError as error:
        assert calls == 0 and len(str(error)) > 20
        return
    assert result.shape == x.shape and result.dtype == dtype
    assert result.isfinite().all()


DTYPES = st.sampled_from([torch.float32, torch.float64, torch.bfloat16])
SHAPES = st.sampled_from([(1, 2), (3, 1, 4), (2, 4, 2, 2), (1, 2, 3, 2, 2)])
_common = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


@settings(max_examples=500, **_common)
@given(samplers(), grids(), DTYPES, SHAPES)
def test_finite_or_refused(sample, values, dtype, shape):
    _check(sample, values, dtype, shape)


@pytest.mark.long
@settings(max_examples=10_000, **_common)
@given(samplers(), grids(), DTYPES, SHAPES)
def test_finite_or_refused_at_length(sample, values, dtype, shape):
    _check(sample, values, dtype, shape)
