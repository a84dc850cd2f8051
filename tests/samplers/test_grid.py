"""Bad grids are refused by name before the model is called."""

import math

import pytest
import torch

from samplers.res import SAMPLERS
from samplers.time_maps import FLOW, VE

BAD = {
    "nan": ([10.0, math.nan, 0.0], r"sigmas\[1\] is nan"),
    "inf": ([math.inf, 1.0, 0.0], r"sigmas\[0\] is inf"),
    "negative": ([10.0, 1.0, -0.5], r"sigmas\[2\] is -0.5"),
    "rising": ([1.0, 3.0, 0.0], r"sigmas\[1\] is 3, above sigmas\[0\] = 1"),
    "from zero": ([0.0, 0.0], r"sigmas\[0\] is 0 with more to come"),
    "two-dimensional": ([[1.0, 0.0]], "one-dimensional"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("name", SAMPLERS)
def test_bad_grid(name, case):
    sigmas, match = BAD[case]
    with pytest.raises(ValueError, match=match):
        SAMPLERS[name].sample(None, torch.ones(1, 2), torch.tensor(sigmas), disable=True)


def test_flow_ends_at_one():
    with pytest.raises(ValueError, match=r"sigmas\[0\] is 14.6.*flow model ends at sigma 1"):
        SAMPLERS["exp_res_2m"].sample(None, torch.ones(1, 2), torch.tensor([14.6, 0.0]), disable=True, time=FLOW)


@pytest.mark.parametrize("time, sigma", [(VE, 4518.0), (VE, 1e-4), (FLOW, 0.999), (FLOW, 1e-4), (FLOW, 1 - 1e-7)])
def test_time_maps_invert(time, sigma):
    assert time.sigma(time.lam(sigma)) == pytest.approx(sigma, rel=1e-12)
    assert math.log(time.alpha(sigma) / sigma) == pytest.approx(time.lam(sigma), rel=1e-9)
