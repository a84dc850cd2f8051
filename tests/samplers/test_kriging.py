"""Weights by kriging: compared with dense quadrature, their sums, their sizes, and their order."""

import math

import numpy as np
import pytest
import torch
from exact import GRIDS, converged, denoiser, grid

from samplers import multistep
from samplers.catalogue import EXP_RES, METHODS
from samplers.interpolation import IN_LAMBDA
from samplers.kriging import Kriging
from samplers.loop import run
from samplers.multistep import kriging_rule, rule_plan

RULES = [Kriging(1e-3), Kriging(1.0), Kriging(1e-2, sharpness=8.0), Kriging(1e-5), Kriging(1e-6, sharpness=2.0)]
# (nodes, newest first; s_from; s_to)
STEPS = [
    ([3.0, 6.0, 12.0, 20.0], 3.0, 1.0),
    ([1.0, 3.0], 1.0, 0.05),
    ([10.0, math.inf], 10.0, 3.0),
    ([157.0, 4518.0], 157.0, 60.0),
    ([0.2, 0.5, 1.0, 2.0], 0.2, 0.01),
    ([2.0, 3.0, 5.0, 9.0], 3.0, 2.0),  # for the corrector, with the end of the step
    ([5.0, math.inf], math.inf, 5.0),
]
ENDS = [([0.2, 0.5, 1.0, 2.0], 0.2, 0.0), ([0.01, math.inf], 0.01, 0.0), ([7.0], 7.0, 0.0), ([math.inf], math.inf, 0.0)]
named = {"ids": lambda value: getattr(value, "name", None)}


def components(s, rule, eps=False):
    """phi_c(s), or eps of every component, (n, components)."""
    ratio = np.asarray(s)[:, None] / np.geomspace(0.05, 100.0, 60)
    with np.errstate(over="ignore"):
        phi = (1.0 + ratio**rule.sharpness) ** -0.5
    return ratio * (1.0 + ratio**rule.sharpness) ** (-1.0 / rule.sharpness) if eps else phi


def brute_force(rule, nodes, wanted, total, eps=False):
    """Kriging with an unknown mean in the textbook form: the covariance matrix, bordered by ones.

    The roughness of the newest output is assumed to last through the step, so it is also in the covariance with the result.
    """
    at, n = components(nodes, rule, eps), len(nodes)
    to_result = at @ wanted / at.shape[1]
    to_result[0] += rule.roughness
    bordered = np.ones((n + 1, n + 1))
    bordered[n, n] = 0.0
    bordered[:n, :n] = at @ at.T / at.shape[1] + rule.roughness * np.eye(n)
    return np.linalg.solve(bordered, [*(total * to_result), total])[:n]


def mean_of(edges, rule, eps=False):
    """Mean of the components by the midpoint rule over short pieces."""
    lengths, middles = np.diff(edges), (edges[1:] + edges[:-1]) / 2.0
    return (lengths / lengths.sum()) @ components(middles if eps else 1.0 / middles, rule, eps)


@pytest.mark.parametrize("rule", RULES, **named)
@pytest.mark.parametrize("nodes, s_from, s_to", STEPS, ids=str)
def test_weights_are_those_of_dense_quadrature(rule, nodes, s_from, s_to):
    """This holds for outputs, and for eps between finite nodes."""
    from_pure_noise = math.isinf(s_from)
    edges = np.linspace(0.0, 1.0 / s_to, 6001) if from_pure_noise else np.geomspace(1.0 / s_from, 1.0 / s_to, 6001)
    total = 1.0 if from_pure_noise else 1.0 - s_to / s_from
    expected = brute_force(rule, nodes, mean_of(edges, rule), total)
    assert rule.weights(nodes, s_from, s_to) == pytest.approx(expected, abs=1e-6 * abs(expected).max())
    if math.isfinite(max(nodes)):
        wanted = mean_of(np.geomspace(s_to, s_from, 6001), rule, eps=True)
        expected = brute_force(rule, nodes, wanted, s_to - s_from, eps=True)
        assert rule.eps_weights(nodes, s_from, s_to) == pytest.approx(expected, abs=1e-6 * abs(expected).max())


@pytest.mark.parametrize("rule", RULES, **named)
@pytest.mark.parametrize("nodes, s_from, s_to", STEPS + ENDS, ids=str)
def test_a_constant_output_or_eps_is_integrated_exactly(nodes, s_from, s_to, rule):
    for eta in (0.0, 0.5, 1.0):
        total = 1.0 if math.isinf(s_from) else 1.0 - (s_to / s_from) ** (1.0 + eta)
        weights = rule.weights(nodes, s_from, s_to, eta)
        assert np.isfinite(weights).all() and math.fsum(weights) == pytest.approx(total, abs=1e-12)
    if math.isfinite(max(nodes)):
        assert math.fsum(rule.eps_weights(nodes, s_from, s_to)) == pytest.approx(s_to - s_from, abs=1e-10 * s_from)


@pytest.mark.parametrize("rule", RULES, **named)
def test_the_estimate_of_a_constant_is_itself(rule):
    for s in (0.0, 0.3, 50.0, math.inf):
        assert math.fsum(rule.value_weights([1.0, 3.0, math.inf], s)) == pytest.approx(1.0, abs=1e-12)


def gaussian(c, s):
    """y = x / alpha and D of Gaussian data of standard deviation c along an ODE that starts from y / s = 1 in pure noise."""
    return math.hypot(c, s), c * c / math.hypot(c, s)


@pytest.mark.parametrize("s_from, s_to", [(10.0, 2.0), (3.0, 0.3), (1.0, 0.1)])
def test_a_long_step_is_right_for_gaussian_data_of_any_size(s_from, s_to):
    """For standard deviations from 0.1 to 30 the worst error is below that of RES-2M, which also has two nodes."""
    nodes = [s_from, 2.0 * s_from]

    def worst(interpolation):
        weights, errors = interpolation.weights(nodes, s_from, s_to), []
        for c in np.geomspace(0.1, 30.0, 25):
            y = s_to / s_from * gaussian(c, s_from)[0] + sum(w * gaussian(c, s)[1] for w, s in zip(weights, nodes))
            errors.append(abs(y / gaussian(c, s_to)[0] - 1.0))
        return max(errors)

    assert worst(Kriging(1e-9, sharpness=2.0)) < 0.8 * worst(IN_LAMBDA)


@pytest.mark.parametrize("rule", [rule.interpolation for rule in EXP_RES if rule.order == 4], **named)
@pytest.mark.parametrize("ratio", [2.0, 10.0, 100.0])
@pytest.mark.parametrize("s", [0.1, 1.0, 10.0, 100.0])
def test_weights_stay_small_in_a_long_step_after_short_ones(s, ratio, rule):
    """The weights of the polynomial through four outputs grow to thousands there."""
    nodes = [s * 1.05**i for i in range(4)]
    absolute = [math.fsum(map(abs, i.weights(nodes, s, s / ratio))) for i in (rule, IN_LAMBDA)]
    assert absolute[0] < {1e-5: 32.0, 1e-3: 8.5, 1e-2: 2.5, 1.0: 1.5}[rule.roughness]
    assert absolute[0] < 0.05 * absolute[1]


def test_of_large_roughness_only_the_newest_output_counts():
    assert Kriging(1e9).weights([1.0, 2.0, 4.0], 1.0, 0.25) == pytest.approx([0.75, 0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("rule", [rule.interpolation for rule in EXP_RES], **named)
def test_a_correction_uses_known_outputs_in_short_steps_and_the_newest_one_in_long_steps(rule):
    def newest(interpolation, length):
        s = math.exp(-length)
        return interpolation.weights([s, 1.0, math.exp(length), math.exp(2.0 * length)], 1.0, s)[0] / (1.0 - s)

    smooth = Kriging(1e-12, rule.sharpness)
    for length in (0.2, 0.4):
        there, here = (newest(i, length) for i in (rule.correcting(1.0, math.exp(-length)), rule))
        assert abs(there - newest(smooth, length)) < abs(here - newest(smooth, length))
    for length in (0.9, 1.5):
        assert newest(rule.correcting(1.0, math.exp(-length)), length) > newest(rule, length)
    assert rule.correcting(math.inf, 1.0) == rule


def _errors(name, n, sample):
    x, exact = converged(name)
    sigmas = grid(name, n)
    return (sample(denoiser(GRIDS[name][0]), x, sigmas, disable=True) - exact).norm(dim=1)


SMOOTH = ["ve, uniform in lambda", "ve, rho", "flow, rho"]


@pytest.mark.parametrize("name", SMOOTH)
def test_without_roughness_the_order_is_that_of_its_outputs(name):
    def sample(model, x, sigmas, **options):
        return run(rule_plan(sigmas, kriging_rule(1e-9)), model, x, sigmas, **options)

    coarse, fine = (_errors(name, n, sample).median() for n in (10, 40))
    assert torch.log2(coarse / fine) / 2.0 >= 2.5


@pytest.mark.parametrize("name", SMOOTH)
def test_exp_res_is_nearer_than_res_2m_and_gets_better_with_more_steps(name):
    ours = {n: _errors(name, n, METHODS["exp_res"].sample).median() for n in (20, 40, 80, 320)}
    for n in (20, 40):
        assert ours[n] < 0.8 * _errors(name, n, METHODS["exp_res_2m"].sample).median()
    assert torch.log2(ours[80] / ours[320]) / 2.0 >= 1.4


@pytest.mark.parametrize("n", [20, 30])
def test_exp_res_is_nearer_by_corrections_whose_roughness_follows_the_length(n, monkeypatch):
    def errors():
        multistep._choice_plan.cache_clear()
        return torch.stack([_errors(name, n, METHODS["exp_res"].sample).median() for name in GRIDS])

    by_length = errors()
    monkeypatch.setattr(Kriging, "correcting", lambda self, s_from, s_to: self)
    ratios = by_length / errors()
    multistep._choice_plan.cache_clear()
    assert ratios.log().mean().exp() < 0.7
