"""The measurement of what gDDIM's polynomials are in."""

import numpy as np
import pytest
import torch
from exact import denoiser, noisy

from benchmarks.choices import VARIABLES, _by_polynomials
from samplers.gddim.isotropic import gddim_plan
from samplers.loop import run


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_in_log_rho_it_is_the_plan(degree):
    """On equal steps, where no node is passed over; of degree 0 in every variable."""
    x, sigmas = noisy(10.0, False), np.geomspace(10.0, 0.05, 13).tolist()
    expected = run(gddim_plan(sigmas, degree), denoiser(False), x, torch.tensor(sigmas), disable=True)
    for name, variable in VARIABLES.items():
        if degree == 0 or name == "log rho":
            torch.testing.assert_close(_by_polynomials(denoiser(False), x, sigmas, degree, variable), expected)
