"""Every order condition is needed: with one condition violated, RES-2S and RES-3S have the lower order of the theory."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from embedded.mixture import ring
from samplers.lab.distances import relative_distance
from samplers.loop import run
from samplers.single_step import single_step_plan
from samplers.tableaus import Tableau, Term, order_conditions, res_2s, res_3s

SIZE = 0.05  # size of the residual, the same at every h
ENDS = (10.0, 0.1)  # sigmas
# (stages, violated condition, remaining order)
VIOLATIONS = [
    (2, "", 2), (2, "psi_1", 0), (2, "psi_1,2", 1), (2, "psi_2", 1),
    (3, "", 3), (3, "psi_1", 0), (3, "psi_1,3", 1), (3, "psi_2", 1), (3, "psi_3(0)", 2), (3, "sum b psi_2", 2),
    (3, "psi_1,2", 2),  # with c = (1/3, 2/3) b_2 is 0, so that the second stage acts only through the third
]  # fmt: skip


class Unchecked(Tableau):
    """A tableau that may violate the order conditions."""

    def __post_init__(self):
        pass


def constant(value):
    return (Term(value, 0, 0.0),) if value else ()


def negative(weight):
    return tuple(term._replace(coefficient=-term.coefficient) for term in weight)


def violating_2s(psi_2=0.0, c2=0.5):
    """RES-2S with a given residual of psi_2."""
    exact, b2 = res_2s(c2), (Term(1.0 / c2, 2, 1.0), *constant(-psi_2 / c2))
    return Unchecked(exact.name, 2, exact.c, exact.a, ((Term(1.0, 1, 1.0), *negative(b2)), b2))


def violating_3s(psi_2=0.0, psi_3=0.0, mixed=0.0, c2=1 / 3, c3=2 / 3):
    """RES-3S with given residuals of psi_2, of psi_3 at h = 0, and of sum_i b_i psi_{2,i} over b_3.

    As in RES-3S b_2 = gamma b_3. The sums of b_i c_i and b_i c_i^2 at h = 0 are 1/2 - psi_2 and 1/3 - 2 psi_3, which give gamma.
    """
    moments = (1.0 / 3.0 - 2.0 * psi_3) / (0.5 - psi_2)
    gamma = (c3**2 - moments * c3) / (moments * c2 - c2**2)
    size = 1.0 / (gamma * c2 + c3)
    b3 = (Term(size, 2, 1.0), *constant(-psi_2 * size))
    b2 = tuple(term._replace(coefficient=gamma * term.coefficient) for term in b3)
    a32 = (Term(gamma * c2, 2, c2), Term(c3**2 / c2, 2, c3), *constant(-mixed / c2))
    a = (((Term(c2, 1, c2),),), ((Term(c3, 1, c3), *negative(a32)), a32))
    return Unchecked(res_3s(c2, c3).name, 3, (0.0, c2, c3), a, ((Term(1.0, 1, 1.0), *negative(b2), *negative(b3)), b2, b3))


def plan(sigmas, stages, condition):
    """A plan with violated conditions. Plans check psi_1 and psi_{1,i}, so these are violated afterwards, in its weights."""
    names = {"psi_2": "psi_2", "psi_3(0)": "psi_3", "sum b psi_2": "mixed"}
    options = {names[condition]: SIZE} if condition in names else {}
    made = single_step_plan(sigmas, (violating_2s if stages == 2 else violating_3s)(**options))
    places = {"psi_1": stages - 1, "psi_1,2": 0, "psi_1,3": 1}
    return weakened(made, places[condition]) if condition in places else made


def weakened(made, place):
    """The plan with a smaller weight of the step's first output in stage `place` of every step."""
    stages, first = [], 0
    for call, stage in enumerate(made.stages):
        if call - first == place and np.isfinite(stage.h):
            weights = dict(stage.weights)
            weights[first] = weights.get(first, 0.0) - SIZE * stage.h
            stages.append(replace(stage, weights=tuple(weights.items())))
        else:
            stages.append(stage)
        first = call + 1 if stage.closes_step else first
    return replace(made, stages=tuple(stages))


def solve(planner, steps):
    """The state at the end of a grid uniform in lambda."""
    sigmas = torch.tensor(np.geomspace(*ENDS, steps + 1))
    x = ENDS[0] * torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return run(planner(sigmas), ring().denoise, x, sigmas, disable=True)


@pytest.fixture(scope="module")
def exact():
    return solve(partial(single_step_plan, tableau=res_3s()), 256)


@pytest.mark.parametrize("stages, condition, order", VIOLATIONS)
def test_a_violated_condition_lowers_the_order(exact, stages, condition, order):
    planner = partial(plan, stages=stages, condition=condition)
    coarse, fine = (float(relative_distance(solve(planner, steps), exact).median()) for steps in (16, 32))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.2)
    assert (order < stages) == bool(condition)


def test_a_tableau_violates_only_one_condition():
    tableaus = {("psi_2", 2): violating_2s(SIZE), ("psi_2", 3): violating_3s(SIZE), ("psi_3(0)", 3): violating_3s(psi_3=SIZE)}
    for (condition, _), tableau in tableaus.items():
        for h in (0.01, 0.7, 2.0):
            result = order_conditions(tableau, h)
            assert result.pop(condition) == pytest.approx(SIZE)
            assert all(abs(residual) < 1e-12 for residual in result.values()), (condition, result)
    mixed = order_conditions(violating_3s(mixed=SIZE), 0.7)
    assert mixed.pop("sum b psi_2") == pytest.approx(SIZE * violating_3s().b_weights(0.7)[2])
    assert all(abs(residual) < 1e-12 for residual in mixed.values())
