"""The samplers for readers equal the samplers of the pack."""

import numpy as np
import pytest
import torch

from samplers import readable
from samplers.catalogue import METHODS


def _model(x, sigma):
    return torch.tanh(x) / (1.0 + sigma)


@pytest.mark.parametrize("last", [0.0, 0.02], ids=["to 0", "to 0.02"])
@pytest.mark.parametrize("name", ["res_2m", "res_2s"])
def test_equal_to_the_plan(name, last):
    sigmas = [*np.geomspace(20.0, 0.05, 9), last]
    x = 20.0 * torch.randn(4, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    planned = METHODS[f"exp_{name}"].sample(lambda x, sigma: _model(x, float(sigma[0])), x, torch.tensor(sigmas), disable=True)
    torch.testing.assert_close(getattr(readable, name)(_model, x, sigmas), planned, rtol=1e-12, atol=1e-12)
