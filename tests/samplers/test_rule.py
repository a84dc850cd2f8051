"""Multistep methods as rules: a new rule works, and bad rules are refused."""

import math

import pytest
import torch
from exact import denoiser, noisy

from samplers.churn import Churn
from samplers.gddim_rule import gddim_rule
from samplers.grid import GridStep
from samplers.interpolation import IN_RHO, InAlpha
from samplers.loop import run
from samplers.multistep import kriging_rule, res_rule, rule_plan
from samplers.plan import Noise
from samplers.rule import Node, Rule, correct, predict
from samplers.time_maps import FLOW, VE


def test_a_new_method_is_a_rule():
    """DEIS of two values of eps in rho is such a rule: it has order 2 and makes one call per step."""
    rule = Rule("DEIS-2", 2, IN_RHO, eps_share=1.0)
    model, x = denoiser(False), noisy(10.0, False)

    def end(steps):
        sigmas = torch.linspace(10.0**0.2, 0.1**0.2, steps + 1, dtype=torch.float64) ** 5
        plan = rule_plan(sigmas, rule)
        assert plan.calls == steps
        return run(plan, model, x, sigmas, disable=True)

    exact = end(2000)
    errors = [(end(steps) - exact).norm(dim=1).median() for steps in (60, 120)]
    assert float(torch.log2(errors[0] / errors[1])) == pytest.approx(2.0, abs=0.25)


@pytest.mark.parametrize("time", [VE, FLOW], ids=lambda t: t.name)
@pytest.mark.parametrize("rule", [res_rule(1), res_rule(1, InAlpha(6.0, 1.5), eps_share=0.33)], ids=["lambda", "alpha"])
def test_of_order_one_every_rule_is_ddim(rule, time):
    sigmas = [0.9, 0.6, 0.2, 0.0]
    model, x = denoiser(time is FLOW), noisy(0.9, time is FLOW)
    ends = [run(rule_plan(sigmas, r, time), model, x, torch.tensor(sigmas), disable=True) for r in (rule, gddim_rule(0))]
    torch.testing.assert_close(*ends)


def test_a_step_can_be_planned_without_a_loop():
    """Both steps are exact for constant outputs. At a flow model's sigma 1 gDDIM has no node, so nothing is corrected."""
    step = GridStep(1, 1.0, 0.5)
    planned = predict(res_rule(3), step, [Node(1, 1.0), Node(0, 2.0)], VE)
    redone = correct(planned, Node(2, 0.5))
    assert [node.call for node in redone.nodes] == [2, 1, 0]
    for each in (planned, redone):
        assert each.scale + math.fsum(each.sum.outputs.values()) == pytest.approx(1.0)
    planned = predict(gddim_rule(2, "PEC"), GridStep(0, 1.0, 0.8), [Node(0, 1.0)], FLOW)
    assert correct(planned, Node(1, 0.8)) is None


@pytest.mark.parametrize("end", [0.8, 0.2])
def test_a_step_is_redone_with_the_interpolation_of_its_length(end):
    rule, nodes = kriging_rule(1e-3), [1.0, 1.3, 2.0]
    planned = predict(rule, GridStep(2, 1.0, end), [Node(2 - i, s) for i, s in enumerate(nodes)], VE)
    weights = rule.interpolation.correcting(1.0, end).weights([end, *nodes], 1.0, end)
    assert correct(planned, Node(3, end)).sum.outputs == pytest.approx(dict(zip((3, 2, 1, 0), weights)), abs=1e-12)
    assert weights != pytest.approx(rule.interpolation.weights([end, *nodes], 1.0, end), abs=1e-4)


@pytest.mark.parametrize("added", [{"noise": Noise(1.0)}, {"churn": Churn(2.0)}], ids=lambda v: next(iter(v)))
def test_a_second_call_at_the_corrected_point_is_refused_with_noise(added):
    with pytest.raises(ValueError, match="corrector must be 'none' or 'PEC' for a sampler with noise, got 'PECE'"):
        rule_plan([3.0, 1.0, 0.0], gddim_rule(2, "PECE"), **added)
