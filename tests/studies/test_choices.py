"""The measurements behind the defaults, on little: of what gDDIM's polynomials are in, and that every table is made."""

import numpy as np
import pytest
import torch
from exact import denoiser, noisy

from samplers.gddim_rule import gddim_plan
from samplers.loop import run
from studies import choices
from studies.choices import VARIABLES, _by_polynomials


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


def test_time_variables_on_flow(pack):
    """Each deterministic sampler of the report by its registered name; "auto" is the variable it is registered with."""
    rows = [line.split("|")[1:-1] for line in choices.flow_times(2, 100, (7,)).splitlines()[2:]]
    auto = {name.strip(" `"): chosen.strip() for name, _, _, chosen in rows}
    assert list(auto) == list(choices.FLOW_SAMPLERS)
    assert {name for name, chosen in auto.items() if chosen == "log_sigma"} == {"exp_res_2s", "exp_res_3s"}
    assert all(0.0 < float(logsnr) != float(log_sigma) > 0.0 for _, logsnr, log_sigma, _ in rows)
