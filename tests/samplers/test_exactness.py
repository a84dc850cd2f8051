"""Cases in which a solver must be exact: the linear part of the ODE is integrated in closed form."""

import pytest
import torch
from exact import DETERMINISTIC, GRIDS, grid

from samplers.catalogue import METHODS
from samplers.time_maps import FLOW, VE

TIMES = [VE, FLOW]
ON_GRIDS = [(name, VE) for name in GRIDS] + [(name, FLOW) for name, (flow, _) in GRIDS.items() if flow]


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_dirac_data_in_one_step(name, time):
    """For data at one point D is constant, so steps of any size are exact."""
    point = torch.tensor([0.3, -1.2], dtype=torch.float64)
    noise = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigmas = torch.tensor([0.9, 0.2], dtype=torch.float64)
    alpha = [time.alpha(float(s)) for s in sigmas]
    x = alpha[0] * point + sigmas[0] * noise
    result = METHODS[name].sample(lambda x, sigma: point.expand_as(x), x, sigmas, disable=True, time=time)
    torch.testing.assert_close(result, alpha[1] * point + sigmas[1] * noise, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("grid_name, time", ON_GRIDS, ids=lambda v: getattr(v, "name", v))
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_constant_denoiser_on_any_grid(name, grid_name, time):
    sigmas = grid(grid_name, 9)
    constant = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    result = METHODS[name].sample(lambda x, sigma: constant, x, sigmas, disable=True, time=time)
    # (x - D) / sigma is constant along dx/dsigma = (x - D) / sigma
    torch.testing.assert_close(result, constant + (x - constant) * (sigmas[-1] / sigmas[0]), rtol=1e-12, atol=1e-12)
