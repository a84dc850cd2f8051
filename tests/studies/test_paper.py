"""The report on the RES paper: violated conditions cost what the theory says, and verdicts follow the numbers."""

import math
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from benchmarks.cases import at_most, grids, network_cases, standard_cases
from benchmarks.host_samplers import sampler
from samplers.single_step import single_step_plan
from samplers.tableaus import order_conditions, res_2s, res_3s
from samplers.time_maps import FLOW, VE
from studies import paper, paper_bench, paper_claims, paper_conditions, paper_noise, paper_velocity
from studies.paper_claims import Comparison, concordance, decided, rank_correlation, ratio, rising
from studies.paper_conditions import VIOLATIONS, dpm_solver_2s, plan, violating_2s, violating_3s


@pytest.fixture(scope="module")
def cases(pack):
    found = {case.name: case for case in (*standard_cases(4), *network_cases(2))}
    for case in found.values():
        case.converging = 40
    return found


def test_a_tableau_violates_one_condition_alone():
    tableaus = {
        ("psi_2",): violating_2s(0.05),
        ("psi_2", 3): violating_3s(psi_2=0.05),
        ("psi_3(0)", 3): violating_3s(psi_3=0.05),
    }
    for (condition, *_), tableau in tableaus.items():
        for h in (0.01, 0.7, 2.0):
            found = order_conditions(tableau, h)
            assert found.pop(condition) == pytest.approx(0.05)
            assert all(abs(residual) < 1e-12 for residual in found.values()), (condition, found)
    mixed = order_conditions(violating_3s(mixed=0.05), 0.7)
    assert mixed.pop("sum b psi_2") == pytest.approx(0.05 * violating_3s().b_weights(0.7)[2])
    assert all(abs(residual) < 1e-12 for residual in mixed.values())


def test_without_residuals_they_are_the_methods_themselves():
    for ours, theirs in (
        (violating_2s(), res_2s()),
        (violating_3s(), res_3s()),
        (violating_3s(c2=0.4, c3=0.9), res_3s(0.4, 0.9)),
    ):
        for h in (0.1, 2.0):
            assert ours.b_weights(h) == pytest.approx(theirs.b_weights(h), abs=1e-13)
            assert ours.a_weights(ours.stages - 1, h) == pytest.approx(theirs.a_weights(ours.stages - 1, h), abs=1e-13)


@pytest.mark.parametrize("place, stages", [(1, 2), (0, 2), (2, 3), (0, 3), (1, 3)])
def test_what_is_weakened_in_a_plan_is_one_sum_of_weights(place, stages):
    """A constant output of 1: every stage of the method must end at 1, the weakened one misses it by h times the residual."""
    sigmas = [8.0, 4.0, 2.0, 0.0]
    made = paper_conditions.weakened(single_step_plan(sigmas, (res_2s if stages == 2 else res_3s)()), place, 0.05)
    assert len(made.stages) == 2 * stages + 1
    for call, stage in enumerate(made.stages):
        missing = 1.0 - stage.scale - sum(weight for _, weight in stage.weights)
        expected = 0.05 * math.log(2.0) if call % stages == place and call < 2 * stages else 0.0
        assert missing == pytest.approx(expected, abs=1e-12)


def test_every_violated_condition_lowers_the_order(cases):
    curves = paper_conditions.errors(cases["ring"], [partial(plan, violation=violation) for violation in VIOLATIONS], (16, 32))
    for violation, curve in zip(VIOLATIONS, curves):
        assert paper_conditions.slope([float(errors.median()) for errors in curve]) == pytest.approx(violation.order, abs=0.2), (
            violation.name
        )
        assert (violation.order < violation.stages) == bool(violation.condition)


def test_the_tableau_of_dpm_solver_is_the_hosts(cases):
    case = cases["digits"]
    ours = paper_conditions.sampler(partial(single_step_plan, tableau=dpm_solver_2s()))
    runs = [at_most(case, s, grids(case)["karras"], 15)[0] for s in (ours, sampler("dpmpp_2s (eta 0)"))]
    torch.testing.assert_close(*runs, rtol=0.0, atol=1e-4)
    assert order_conditions(dpm_solver_2s(), 1e-3)["psi_2"] == pytest.approx(1e-3 / 12.0, rel=1e-3)


@pytest.mark.parametrize("name", paper_bench.LABELS)
def test_steps_for_calls_are_those_of_the_host(cases, name):
    """One more step would not fit."""
    case, made = cases["ring"], []
    for steps in (paper_bench.steps_of(name, 9), paper_bench.steps_of(name, 9) + 1):
        made.append(case.sample(sampler(name), grids(case)["karras"](steps))[1])
    assert made[0] <= 9 < made[1]


def test_verdicts_follow_the_numbers():
    low, high = [1.0, 1.1, 0.9], [2.0, 2.1, 2.2]
    assert "**Holds.**" in Comparison("a", [(low, high)]).sentence()
    assert "**Does not hold: the reverse is true.**" in Comparison("a", [(high, low)]).sentence()
    assert "**Not decided.**" in Comparison("a", [(low, low)]).sentence()
    far = [0.1 * value for value in low]
    mixed = Comparison("a", [(far, high), (far, high), (high, low)]).sentence()
    assert "**Holds in the mean, not in every row.**" in mixed and "of 3 rows 2 below 1, 1 above, 0 undecided" in mixed
    assert "**Holds.**" in decided("a", high, 1.0) and "**Does not hold.**" in decided("a", high, 3.0)
    assert "**Does not hold.**" in decided("a", high, 1.0, above=False)
    assert "**Holds.**" in rising("a", [0.8, 0.9, 0.85]) and "reverse" in rising("a", [-0.8, -0.9, -0.85])
    assert "**Not decided.**" in rising("a", [0.8, -0.9, 0.1])


def test_verdicts_against_a_published_ratio():
    found = ratio([0.5, 0.52, 0.51], [1.0, 1.0, 1.0])
    assert "by more than that" in paper_claims.against_published(found, 0.75, "")
    assert "within the interval" in paper_claims.against_published(found, 0.51, "")
    assert "Not reached" in paper_claims.against_published(found, 0.4, "")


def test_a_ratio_is_a_geometric_mean_with_students_interval():
    found = ratio([math.exp(1.0), math.exp(2.0), math.exp(3.0)], [1.0, 1.0, 1.0])
    assert [math.log(v) for v in found] == pytest.approx([2.0, 2.0 - 2.484, 2.0 + 2.484], rel=1e-3)
    assert ratio([math.inf, 1.0], [1.0, 1.0]).high == math.exp(700.0), "diverged"


def test_the_median_row_is_not_moved_by_one_that_is_far():
    rows = [([v * row for v in (1.0, 1.1, 0.9)], [1.0, 1.0, 1.0]) for row in (0.01, 0.9, 1.2)]
    found = Comparison("a", rows)
    assert found.over(np.median).mean == pytest.approx(0.9, rel=0.01) and found.ratio.mean == pytest.approx(0.22, rel=0.02)


def test_rank_correlation():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 20))
    b[:3] = b[0]  # ties
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(a, np.exp(a)) == pytest.approx(1.0) and rank_correlation(a, -a) == pytest.approx(-1.0)
    assert rank_correlation(a, np.ones(20)) == 0.0


def test_concordance_counts_pairs_that_are_apart():
    assert concordance([(1.0, 5.0), (2.0, 6.0), (4.0, 5.5)]) == (2, 3)
    assert concordance([(1.0, 5.0), (1.05, 1.0)]) == (0, 0)


@pytest.mark.parametrize("time", [VE, FLOW], ids=["ve", "flow"])
def test_derivatives_of_a_known_path(time):
    """D = sigma: dv/dsigma = -1/sigma and dN/dlambda = -alpha sigma."""
    lam = np.linspace(-1.0, 3.0, 400)
    sigmas = np.array([time.sigma(v) for v in lam])
    found = paper_velocity.derivatives(np.broadcast_to(sigmas[:, None, None], (400, 2, 3)), sigmas, time)
    alpha = np.array([time.alpha(s) for s in sigmas])
    inner = slice(1, -1)
    np.testing.assert_allclose(found.lambda_form[inner, 0], (alpha * sigmas)[inner], rtol=1e-4)
    np.testing.assert_allclose(found.sigma_form[inner, 0], (1.0 / sigmas)[inner], rtol=1e-4)
    assert found.lambda_length == pytest.approx(4.0) and found.sigma_length == pytest.approx(sigmas[0] - sigmas[-1])


def test_trajectories_of_an_eps_network_visit_its_timesteps(cases):
    case = cases["unet"]
    sigmas = paper_velocity.fine_grid(case, 30)
    assert set(sigmas[:-1].tolist()) <= set(case.model_sampling.sigmas.tolist()) and bool((sigmas.diff() < 0).all())


@pytest.mark.parametrize("name", paper_noise.METHODS)
def test_total_weights_add_up_to_one(cases, name):
    """From nothing but a constant output every method makes that output."""
    weights = paper_noise.total_weights(cases["digits"], name, grids(cases["digits"])["karras"](6).double())
    assert weights.sum() == pytest.approx(1.0, abs=1e-5)


def test_noise_is_added_to_every_output(cases):
    """Of DDIM, the last output alone ends up in the sample."""
    case = cases["digits"]
    clean = paper_noise.solved(case, "euler")
    small, large = (float(paper_noise.amplification(case, "euler", size, clean).median()) for size in (1e-3, 1e-2))
    assert 0.9 < small < 2.0 and large == pytest.approx(small, rel=0.3)


def test_pixels_of_a_networks_latents_are_the_digit():
    from training import networks

    digits = torch.rand(3, 64)
    for name in ("unet", "sd3"):
        network = networks.NETWORKS[name]
        case = paper_bench.NetworkCase(name, network.shape, network.kind, network=name)
        found = paper_bench.pixels(case, networks.to_latent(digits, network))
        np.testing.assert_allclose(found, digits.numpy(), atol=1e-5)


def test_every_verdict_is_counted_once():
    low, high = [1.0, 1.1, 0.9], [2.0, 2.1, 2.2]
    pairs = [(low, high), (high, low), (low, low)]
    rows = [[pair] for pair in pairs] + [[(high, low)] * 2 + [([0.9, 0.9, 0.91], [1.0, 1.0, 1.0])]]
    sentences = [Comparison("a", row).sentence() for row in rows]
    sentences += [paper_claims.against_published(ratio(*pair), 1.0, "b") for pair in pairs]
    assert "| (a) | 3 | 0 | 1 | 2 | 1 |" in paper.in_short(["\n".join(["## (a)", *sentences])])


@pytest.mark.parametrize("claims", ["de", pytest.param("abcfg", marks=pytest.mark.long)])
def test_the_report_on_little(pack, tmp_path, claims):
    """On too little to mean anything; its numbers are numbers, its figures are there."""
    size = replace(paper_bench.QUICK, items=2, steps=12, network_steps=8, calls=(9,), judged=24, fine=8, slope_steps=(8, 16))
    text = paper.document(paper_bench.Bench(size), tmp_path, claims)[""]
    assert "nan" not in text and "{" not in text
    assert re.findall(r"^## \((.)\)", text, re.MULTILINE) == list(claims)
    for figure in re.findall(r"\]\((results_\w+\.png)\)", text):
        assert (tmp_path / figure).stat().st_size > 5_000


def test_every_claim_has_a_section():
    assert "".join(paper.SECTIONS) == "abcdefg"
