"""The choice among rules during the run: for each item, without host reads, and safe if outputs follow no trend."""

import math

import numpy as np
import pytest
import torch
from exact import denoiser, noisy

from samplers import multistep, sample_exp_res, sample_exp_res_2m
from samplers.catalogue import EXP_RES
from samplers.choice import ALL_MOVED, ALL_TREND, DIFFERENCES, MOST_GAIN, NO_TREND, NOT_MOVED, Choice, difference_weights
from samplers.churn import Churn
from samplers.grid import GridStep
from samplers.interpolation import InAlpha
from samplers.loop import run
from samplers.multistep import choice_plan, kriging_rule, res_rule, rule_plan, steady_sde_plan
from samplers.plan import Noise
from samplers.rule import Node, correct, predict
from samplers.time_maps import FLOW, VE


def karras(n, low=0.03, high=14.6):
    return [*np.linspace(high ** (1 / 7), low ** (1 / 7), n) ** 7, 0.0]


def exponential(n, high=14.6):
    return [*np.geomspace(high, 0.03, n), 0.0]


def ends_far(n):
    return [*np.geomspace(157.0, 2.0, n), 0.0]


def simple(n, shift=3.0):
    u = 1.0 - np.arange(n) / n
    return [*(shift * u / (1.0 + (shift - 1.0) * u)), 0.0]


def beta(n):
    """A VE grid that is dense at both ends, like the beta schedule: quantiles of an arcsine law over timesteps."""
    t = np.sin(np.linspace(0.98, 0.04, n) * math.pi / 2.0) ** 2
    return [*np.exp(math.log(0.03) + t * math.log(14.6 / 0.03)), 0.0]


def arctan(n):
    lam = 0.5 + 1.9 * np.tan(1.05 * np.linspace(-1.0, 1.0, n)) / math.tan(1.05) * 1.7
    return [*np.exp(-lam), 0.0]


GRIDS = {
    "simple, flow": (FLOW, simple),
    "karras": (VE, karras),
    "beta": (VE, beta),
    "logsnr_arctan": (VE, arctan),
    "far": (VE, lambda n: karras(n, 0.002, 4518.0)),
}
STEPS = (4, 5, 6, 8, 12, 20)
on_every_grid = pytest.mark.parametrize("time, grid", GRIDS.values(), ids=GRIDS)


def sample(model, x, sigmas, time=VE, **options):
    return sample_exp_res(model, x, torch.tensor(sigmas, dtype=torch.float64), disable=True, time=time, **options)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_element(x, sigma):
    """A model that treats every element separately, with operations that round equally in any batch."""
    sigma = sigma.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)
    return x / (1.0 + sigma * sigma) + (x / (1.0 + sigma)).clamp(-1.0, 1.0) * 0.5


@on_every_grid
def test_shares_sum_to_one_and_the_rule_that_missed_least_has_most(time, grid):
    """A miss is, by definition, the predicted step in D minus the step redone with the output at its end instead of the oldest
    of four. At first the rule of low order is charged only a part of its squared miss.
    """
    sigmas = grid(12)
    plan, state = choice_plan(sigmas, EXP_RES, time), drawn(3, 50)
    choice = Choice(plan.stages, state)
    nodes, outputs = [], {}
    for call, stage in enumerate(plan.stages):
        before = nodes
        nodes = [Node(call, stage.sigma), *nodes[:DIFFERENCES]]
        # the outputs of each item turn at a sigma of its own, with a small new part in each
        turns = torch.tensor([0.3, 1.0, 5.0], dtype=torch.float64)[:, None]
        outputs[call] = state / torch.sqrt(1.0 + (time.s(stage.sigma) / turns) ** 4) + 1e-3 * drawn(3, 50, seed=call)
        given = {**outputs}
        choice.settled(call, outputs)
        torch.testing.assert_close(choice.weights.sum(1), torch.ones(3, dtype=torch.float64))
        if call < 2:
            assert (choice.weights[:, 0] == 1.0).all(), "nothing to compare yet"
            continue
        misses = []
        for rule in EXP_RES:
            step = GridStep(call - 1, before[0].sigma, stage.sigma)
            predicted = predict(rule.without_eps(), step, before, time)
            redone = correct(predicted._replace(nodes=predicted.nodes[: max(rule.order, 3) - 1]), nodes[0])
            change = redone.sum.plus(predicted.sum, -1.0).outputs
            charged = min(1.0, 0.06 * 2.0 ** (call - 2)) if rule.order < 4 else 1.0
            misses.append(charged**0.5 * sum(weight * given[c] for c, weight in change.items()).norm(dim=1))
        misses = torch.stack(misses, 1)
        merits = ((misses / misses.amax(1, keepdim=True)) ** 2 + 1e-6) ** -1.5  # miss^-3, with the floor for rounding
        torch.testing.assert_close(choice.weights, merits / merits.sum(1, keepdim=True), atol=1e-6, rtol=1e-6)
        assert torch.equal(choice.weights.argmax(1), misses.argmin(1))


@pytest.mark.parametrize(
    "time, grid", [*GRIDS.values(), (VE, exponential), (VE, ends_far)], ids=[*GRIDS, "exponential", "ends far"]
)
def test_an_output_moves_by_a_share_of_the_correction_of_its_state(time, grid):
    """The share is largest after long steps between s of 1 and 10, and none where the output may be the result."""
    sigmas, n = grid(8), 8
    plan, x = choice_plan(sigmas, EXP_RES, time), drawn(3, 50)
    choice, outputs, shares = Choice(plan.stages, x), {}, []
    for call, stage in enumerate(plan.stages):
        outputs[call] = x * (1.0 + 0.1 * call) + 0.02 * drawn(3, 50, seed=call)  # no change reaches a bound
        given, previous = {**outputs}, choice.weights
        choice.settled(call, outputs)
        if call:
            step = GridStep(call - 1, sigmas[call - 1], stage.sigma)
            nodes = [Node(j, sigmas[j]) for j in range(call - 1, -1, -1)][:DIFFERENCES]
            before = [predict(rule.without_eps(), step, nodes, time) for rule in EXP_RES]
            redone = [correct(planned, Node(call, stage.sigma)) or planned for planned in before]
            change = mixed(choice.weights, redone, given) - mixed(previous, before, given)
            s_from, s = time.s(sigmas[call - 1]), time.s(stage.sigma)
            share = 0.5 * min(1.0, (1.0 - s / s_from) / 0.85) ** 3 / (1.0 + s * s / 100.0)
            share *= math.isfinite(s_from) and s > 1.0 and call < n - 1 and share > 0.02
            shares.append(share)
            moved = given[call] + share * change / time.alpha(stage.sigma)
            torch.testing.assert_close(outputs[call], moved, atol=1e-9, rtol=1e-6)
        assert torch.equal(outputs[call], given[call]) == (not call or not share)
    assert max(shares) > 0.02
    newest = [outputs[n - 1 - age] - outputs[n - 2 - age] for age in range(DIFFERENCES)]
    by_age = [(n - 1 - age) % DIFFERENCES for age in range(DIFFERENCES)]
    products = torch.stack([torch.stack([(a * b).sum(1) for b in newest], 1) for a in newest], 1)
    torch.testing.assert_close(choice._gram[:, by_age][:, :, by_age], products, atol=1e-6, rtol=1e-6)


def mixed(weights, steps, outputs):
    """What steps add in D, weighted for every item."""
    added = [sum(weight * outputs[call] for call, weight in step.sum.outputs.items()) for step in steps]
    return sum(weight[:, None] * one for weight, one in zip(weights.unbind(1), added))


@pytest.mark.parametrize("top", [2.0, 8.0, 30.0])
@pytest.mark.parametrize("start", [14.6, 80.0])
def test_moving_outputs_is_nearer_on_data_with_a_wide_spectrum(top, start, monkeypatch):
    """Gaussian data whose standard deviations reach from 0.05 to a top, where the solution is known, in 5 and 6 calls."""
    std = torch.from_numpy(np.geomspace(0.05, top, 400))
    x = drawn(4, 400) * torch.sqrt(std**2 + start**2)
    exact = x * std / torch.sqrt(std**2 + start**2)

    def errors():
        multistep._choice_plan.cache_clear()
        grids = [grid for n in (5, 6) for grid in (karras(n, high=start), exponential(n, start))]
        ends = [sample(lambda x, sigma: x * std**2 / (std**2 + sigma[:, None] ** 2), x, grid) for grid in grids]
        return torch.stack([(end - exact).norm() for end in ends])

    moved = errors()
    monkeypatch.setattr(multistep, "_RESPONSE", 0.0)
    ratios = moved / errors()
    multistep._choice_plan.cache_clear()
    assert ratios.log().mean().exp() < 0.85


@pytest.mark.parametrize("level", [1.0, 0.1])
@pytest.mark.parametrize("name", [name for name in GRIDS if name != "far"])
@pytest.mark.parametrize("n", STEPS)
def test_fresh_noise_of_a_model_is_hardly_amplified(name, n, level):
    """The outputs are a picture that appears as sigma falls, with noise as strong as the picture or a tenth of it."""
    time, grid = GRIDS[name]
    sigmas = grid(n)
    x, picture = drawn(1, 4000) * sigmas[0], drawn(1, 4000, seed=7)

    def end(level):
        calls = iter(range(n))
        outputs = lambda s: picture / math.hypot(1.0, time.s(s)) + level * drawn(1, 4000, seed=100 + next(calls))  # noqa: E731
        return sample(lambda x, sigma: outputs(float(sigma[0])), x, sigmas, time)

    assert (end(level) - end(0.0)).std() <= 1.6 * level


@on_every_grid
@pytest.mark.parametrize("n", STEPS)
def test_a_model_whose_outputs_are_all_new_pictures_ends_on_the_last(time, grid, n):
    outputs = [drawn(2, 4000, seed=i) for i in range(n)]
    given = iter(outputs)
    result = sample(lambda x, sigma: next(given), drawn(2, 4000) * grid(n)[0], grid(n), time)
    assert torch.equal(result, outputs[-1])


@pytest.mark.parametrize("turn", [0.05, 1.0, 20.0])
def test_a_step_leaves_eulers_by_a_share_of_the_newest_output_at_most(turn):
    """Under guidance an output can change so sharply that extrapolation would lead the run away from the data."""
    time, grid = GRIDS["karras"]
    sigmas = grid(8)
    states, given = [], iter([drawn(3, 400), drawn(3, 400) / (1.0 + turn), *[drawn(3, 400)] * 6])
    newest = drawn(3, 400) / (1.0 + turn)

    def model(x, sigma):
        states.append(x)
        return next(given)

    sample(model, drawn(3, 400) * sigmas[0], sigmas, time)
    euler = newest + sigmas[2] / sigmas[1] * (states[1] - newest)
    left = (states[2] - euler).norm(dim=1) / newest.norm(dim=1)
    correction, extrapolation = 0.5, 0.2  # bounds of the first ones; the share of eps is not among what they bound
    assert (left <= 1.5 * (correction + extrapolation)).all()
    assert turn > 0.05 or (left > 0.0).all()


@pytest.mark.parametrize("n", [2, 3, 4])
def test_few_calls_from_near_the_image_are_no_eulers_but_end_on_the_last_output(n):
    """Ordinary models are run with few steps from a latent; for step-distilled models the last output is the result."""
    time, grid = GRIDS["karras"]
    sigmas, outputs = grid(20)[-n - 1 :], []

    def model(x, sigma):
        outputs.append(by_element(x, sigma))
        return outputs[-1]

    assert sigmas[0] < 2.0
    assert torch.equal(sample(model, drawn(2, 100), sigmas, time), outputs[-1])
    assert "choice" in choice_plan(sigmas, EXP_RES, time).method


@on_every_grid
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_up_to_four_calls_it_is_euler(time, grid, n):
    """This is for step-distilled models, whose outputs are final images."""
    sigmas, outputs = grid(n), []
    euler = x = drawn(4, 100) * sigmas[0]
    for sigma, after in zip(sigmas, sigmas[1:]):
        denoised = by_element(euler, torch.tensor(sigma))
        euler = denoised + (after / sigma) * (euler - denoised) if after else denoised
    result = sample(lambda x, sigma: outputs.append(by_element(x, sigma)) or outputs[-1], x, sigmas, time)
    torch.testing.assert_close(result, euler)
    assert torch.equal(result, outputs[-1])


@pytest.mark.parametrize("moved", [0.0, 0.1, 0.4, 0.6, 1.0, 1.1, 2.0, -1.0])
@pytest.mark.parametrize("aside", [0.0, 0.5, 1.0, 2.0])
@on_every_grid
def test_the_end_extrapolates_if_the_last_output_moved_in_the_direction_of_the_trend(time, grid, moved, aside):
    """Items move along the trend, less far, farther, or back, and aside of it by a multiple of that."""
    plan = choice_plan(grid(12), EXP_RES, time)
    last, x = len(plan.stages) - 1, drawn(1, 60)
    outputs = {call: x * (1.0 - 0.05 * call) ** 2 + 0.01 * drawn(1, 60, seed=call) for call in range(last)}
    s = [time.s(stage.sigma) for stage in plan.stages]
    used = range(last - 1, last - DIFFERENCES, -1)
    weights = EXP_RES[0].last.interpolation.value_weights([s[call] for call in used], s[last])
    expected = sum(w * outputs[call] for call, w in zip(used, weights))
    trend, other = expected - outputs[last - 1], drawn(1, 60, seed=99)
    other -= (other * trend).sum() / trend.square().sum() * trend
    outputs[last] = outputs[last - 1] + moved * (trend + aside * other * trend.norm() / other.norm())
    choice = Choice(plan.stages, x)
    for call in range(last + 1):
        previous = choice.weights
        numbers = choice.settled(call, {c: outputs[c] for c in range(call + 1)})
    alternatives, cosine = plan.stages[last].alternatives, math.copysign(bool(moved), moved) / math.hypot(1.0, aside)
    along, far = (cosine - NO_TREND) / (ALL_TREND - NO_TREND), (moved - NOT_MOVED) / (ALL_MOVED - NOT_MOVED)
    kept = min(max(moved, 1.0), MOST_GAIN) * min(max(along, 0.0), 1.0) * min(max(far, 0.0), 1.0)
    rows = torch.tensor([alternatives.steps, alternatives.redone], dtype=torch.float64).sum(0)
    after = choice.weights @ rows - previous @ torch.tensor(alternatives.before, dtype=torch.float64)
    assert alternatives.reach == 1.0
    newest = torch.zeros_like(after)
    newest[:, 0] = 1.0
    torch.testing.assert_close(numbers, kept * after + (1.0 - kept) * newest, atol=1e-9, rtol=1e-6)


def test_nearly_repeated_sigmas_do_not_amplify_rounding():
    x = noisy(14.6, False)
    near = sorted([*karras(8), *(sigma * 0.99999 for sigma in karras(8)[:-1])], reverse=True)
    error = [sample(denoiser(False), x, near), sample(denoiser(False), x, karras(8))]
    assert (error[0] - error[1]).abs().max() < 0.3


@pytest.mark.parametrize("time, top", [(VE, 10.0), (FLOW, 0.99)], ids=["ve", "flow"])
def test_on_a_rising_grid_and_with_churn_it_is_the_first_rule(time, top):
    sigmas, churn = np.geomspace(0.02, top, 9).tolist(), Churn(3.0)
    assert choice_plan(sigmas, EXP_RES, time).stages == rule_plan(sigmas, EXP_RES[0], time).stages
    assert sample(by_element, drawn(2, 30), sigmas, time).isfinite().all()
    assert choice_plan(sigmas[::-1], EXP_RES, time, churn=churn) == rule_plan(sigmas[::-1], EXP_RES[0], time, churn=churn)


def test_shares_are_reported_after_every_call_and_kept():
    """They are the choice's tensors on the device, and reading them changes nothing."""
    shares, x = [], drawn(3, 50) * 14.6
    result = sample(by_element, x, karras(8), on_shares=shares.append)
    assert torch.equal(result, sample(by_element, x, karras(8)))
    assert [tuple(of.shape) for of in shares] == [(3, len(EXP_RES))] * 8
    for of in shares:
        torch.testing.assert_close(of.sum(1), torch.ones(3, dtype=torch.float64))
    assert torch.equal(shares[0], shares[1]) and not torch.equal(shares[1], shares[7])
    with pytest.raises(TypeError, match="on_shares"):  # a single rule leaves nothing to choose
        sample_exp_res_2m(by_element, x, torch.tensor(karras(8)), disable=True, on_shares=shares.append)


def test_a_plan_is_kept_and_shows_the_other_rules_if_printed():
    """A node that samples the same grid again starts at once."""
    plan = choice_plan(karras(8), EXP_RES)
    assert choice_plan(torch.tensor(karras(8)), EXP_RES) is plan
    text = str(plan)
    assert text.splitlines()[0].startswith("a choice of RES-4MC by kriging (roughness 0.001, sharpness 4)")
    for rule in range(1, len(EXP_RES)):
        assert text.count(f"or rule {rule}:") == plan.calls
        of = plan.stages[5].alternatives
        assert f"{of.steps[rule][0] + of.redone[rule][0]:+.6f}" in text


def test_the_numbers_of_the_stage_are_the_first_rules():
    """They are used before the first comparison, and tools that read a plan see a method."""
    x = noisy(14.6, False)
    first = rule_plan(karras(8), EXP_RES[0])
    chosen = choice_plan(karras(8), EXP_RES)
    for stage, other in zip(chosen.stages, first.stages):
        assert stage.scale == pytest.approx(other.scale, rel=1e-12)
        assert {c: w for c, w in stage.weights if w} == pytest.approx({c: w for c, w in other.weights if w})
    one_rule = run(choice_plan(karras(8), EXP_RES[:1]), denoiser(False), x, torch.tensor(karras(8)), disable=True)
    two_alike = run(choice_plan(karras(8), EXP_RES[:1] * 2), denoiser(False), x, torch.tensor(karras(8)), disable=True)
    torch.testing.assert_close(one_rule, two_alike)


@pytest.mark.parametrize(
    "plan",
    [
        choice_plan(karras(8), [kriging_rule(1e-3), kriging_rule(1.0)]),
        steady_sde_plan(karras(8), res_rule(2, InAlpha(6.0, 1.5), corrector=True), noise=Noise(1.0)),
    ],
    ids=["choice", "SDE"],
)
def test_the_changes_that_are_bounded_are_those_that_are_made(plan):
    """From the first step on, which takes one output: a correction is the step redone minus the step as it was."""
    bounded = 0
    for call, stage in enumerate(plan.stages):
        rules = stage.alternatives
        if not rules.changes:
            continue
        bounded += 1
        redone, before, _ = np.array(rules.changes).reshape(3, len(rules.steps), -1)
        scale = dict(zip(rules.states, rules.steps[0][len(rules.outputs) :]))[call]
        for rule in range(len(rules.steps)):
            made = dict(zip(rules.outputs, np.subtract(rules.redone[rule], rules.before[rule])))
            weights = [made.get(call - age, 0.0) for age in range(DIFFERENCES + 1)]
            assert difference_weights(weights) == pytest.approx(tuple(scale * (redone[rule] - before[rule])), abs=1e-12)
    assert bounded == len(plan.stages) - 2  # all but the first call and the step to sigma = 0
