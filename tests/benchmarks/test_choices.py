"""The measurements behind the defaults, on little: of what gDDIM's polynomials are in, and that every table is made."""

import numpy as np
import pytest
import torch
from exact import denoiser, noisy

from benchmarks import choices
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


@pytest.fixture(scope="module")
def one_problem():
    """Of a kind of model, the first case with two items."""
    return {flow: choices.problems(flow, batch=2)[:1] for flow in (False, True)}


@pytest.mark.parametrize(
    "part, rows, columns", [("interior", 6, 7), ("nodes", 12, 2), ("power", 8, 2), ("gddim", len(VARIABLES), 3)]
)
def test_tables_are_of_finite_errors(one_problem, part, rows, columns):
    _, table = choices.TABLES[part]
    errors = np.array([line.split("|")[2:-1] for line in table(one_problem, (7,)).splitlines()[2:]], dtype=float)
    assert errors.shape == (rows, columns) and (errors > 0.0).all() and np.isfinite(errors).all()
