"""Sigma, alpha and lambda of a time map are consistent, up to both ends."""

import math

import pytest

from samplers.time_maps import FLOW, FLOW_LOG_SIGMA, VE


@pytest.mark.parametrize("time, sigma", [(VE, 4518.0), (VE, 1e-4), (FLOW, 0.999), (FLOW, 1e-4), (FLOW, 1 - 1e-4)])
def test_time_maps_invert(time, sigma):
    assert time.sigma(time.lam(sigma)) == pytest.approx(sigma, rel=1e-12)
    assert math.log(time.alpha(sigma) / sigma) == pytest.approx(time.lam(sigma), rel=1e-9)


@pytest.mark.parametrize("sigma", [1.0, 1.0 + 1e-6, 1.0 - 1e-6])
def test_a_flow_model_at_its_end_is_all_noise(sigma):
    """This includes the host's float32 rounding on both sides."""
    assert FLOW.allows(sigma) and FLOW.is_pure_noise(sigma)
    assert FLOW.alpha(sigma) == 0.0 and FLOW.lam(sigma) == -math.inf and FLOW.s(sigma) == math.inf


def test_the_ode_of_flow_models_is_that_of_ve():
    """dx/dsigma = (x - D) / sigma holds for both, so VE's variable is valid for flow, up to its end."""
    x0, noise = 0.3, -1.1
    for sigma in (0.2, 0.9):
        x, slope = (1.0 - sigma) * x0 + sigma * noise, noise - x0
        assert (x - x0) / sigma == pytest.approx(slope, rel=1e-12)
    assert FLOW_LOG_SIGMA.lam(0.5) == VE.lam(0.5) and not FLOW_LOG_SIGMA.allows(1.1)
    assert FLOW_LOG_SIGMA.process == FLOW.process == "flow"
