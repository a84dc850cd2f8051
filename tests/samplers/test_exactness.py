"""Cases in which a solver must be exact: the linear part of the ODE is integrated in closed form."""

import pytest
import torch
from exact import DETERMINISTIC, GRIDS, grid

from samplers.catalogue import METHODS
from samplers.time_maps import FLOW, VE

ON_GRIDS = [(name, VE) for name in GRIDS] + [(name, FLOW) for name, (flow, _) in GRIDS.items() if flow]


@pytest.mark.parametrize("grid_name, time", ON_GRIDS, ids=lambda v: getattr(v, "name", v))
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_constant_denoiser_on_any_grid(name, grid_name, time):
    """For data at one point D is constant, so steps of any size are exact."""
    constant = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    for steps, tolerance in ((9, 1e-12), (1, 1e-13)):
        sigmas = grid(grid_name, steps)
        result = METHODS[name].sample(lambda x, sigma: constant, x, sigmas, disable=True, time=time)
        # (x - D) / sigma is constant along dx/dsigma = (x - D) / sigma
        expected = constant + (x - constant) * (sigmas[-1] / sigmas[0])
        torch.testing.assert_close(result, expected, rtol=tolerance, atol=tolerance)
