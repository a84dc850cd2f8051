"""The report on gDDIM: it is written, its numbers mean what they say, and a network is a second model."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from samplers.processes.cld import CLD
from studies import gddim_metrics, gddim_models, gddim_patterns
from studies import gddim_tables as report
from studies.gddim_metrics import Cell, HeldData, interval, smaller


@pytest.fixture(scope="module")
def held():
    return HeldData(4000)


@pytest.fixture(scope="module")
def bench(held):
    return gddim_metrics.Bench(gddim_models.mixture_model(), report.QUICK, held)


def test_the_report(tmp_path):
    few = replace(report.QUICK, items=4, solved=2)
    models = [(gddim_models.mixture_model(), few), (gddim_models.trained_model(), few)]
    text = report.document(models, tmp_path)[""]
    assert "nan" not in text and "{" not in text
    for title in (
        "The exact mixture",
        "The trained network",
        "RES on processes",
        "Tables 1 and 6",
        "Correctors",
        "Table 2",
        "Table 8",
        "whether it holds here",
    ):
        assert title in text
    for rows in ("R, q = 3", "L, q = 0", "q = 2, PECE", "Euler-Maruyama", "SSCS", "RK45, tolerance 0.1", "RES-3S"):
        assert f"| {rows} " in text
    for figure in ("trajectories", "eps", "lambda"):
        assert f"gddim_{figure}.png" in text
        assert 5_000 < (tmp_path / f"gddim_{figure}.png").stat().st_size < 150_000


def test_data_are_near_the_data_and_noise_is_not(held):
    data = held.draws(1000, 1)
    assert held.frechet(data) < 0.2 and held.sliced(data) < 0.05
    assert held.spread(data) == pytest.approx(1.0, abs=0.02)
    shifted = data + 0.1
    # in pixels it would be 0.64; 20 components do not see all of it
    assert 0.3 < held.frechet(shifted) - held.frechet(data) < 0.65
    assert held.sliced(shifted) == pytest.approx(0.1, abs=0.03)
    noisy = data + 0.1 * np.random.default_rng(0).normal(size=data.shape)
    assert held.spread(noisy) == pytest.approx(2**0.5, abs=0.03)
    assert held.frechet(np.full_like(data, np.inf)) == np.inf


def test_intervals():
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2.484), rel=1e-3)
    assert interval([1.0, np.inf]) == (np.inf, np.inf)
    assert smaller([1.0, 5.0, 3.0], [1.1, 5.1, 3.1]) and not smaller([1.1, 5.1, 3.1], [1.0, 5.0, 3.0])
    assert not smaller([1.0, 2.0, 3.0], [3.0, 2.1, 1.5])
    assert smaller([1.0, 2.0], [np.inf, np.inf]) and not smaller([np.inf, 1.0], [np.inf, 1.0])


def test_verdicts():
    low, high = (Cell([v, v + 1e-3], [v, v + 1e-3], [1.0 + v, 1.0 - v - 1e-3], [v, v + 1e-3], 1) for v in (0.1, 0.2))
    pattern = gddim_patterns.Pattern("", "", [(low, high), (low, high)])
    assert [pattern.verdict(error) for error in gddim_patterns.ERRORS] == ["**holds**: 2 of 2 (2)"] * 4
    assert pattern._replace(pairs=[(low, high), (high, low)]).verdict("Frechet") == "in part: 1 of 2, reverse in 1 (1)"
    assert pattern._replace(pairs=[(low, low)]).verdict("Frechet") == "no: 0 of 1 (1)"
    diverged = Cell(*([float("inf")] * 2 for _ in range(4)), 1)
    assert pattern._replace(pairs=[(low, diverged)]).verdict("defect") == "**holds**: 1 of 1 (diverges)"
    assert pattern._replace(deterministic=False).verdict("defect") == ""


def test_every_method_makes_the_calls_it_is_given(bench):
    for name, (method, deterministic) in gddim_models.COMPARED.items():
        cell = bench.cell(method, 12)
        assert cell.calls == 12, name
        assert bench.cell(partial(method), 12) is cell, "measured once"
        assert np.isfinite(cell.defect).all() or not deterministic
    assert bench.cell(partial(gddim_models.gddim, corrector="PECE"), 12).calls == 11
    assert bench.cell(partial(gddim_models.rk45, tolerance=0.1), None).calls > 12


def test_the_network_is_read_as_eps_of_both_kinds():
    """Near the exact one where that is smooth, in either parameterisation, and its positions are digits."""
    exact, model = gddim_models.mixture_model(), gddim_models.trained_model()
    assert model.sde == CLD() and model.kind == "R"
    u, t = model.start(300, 0), torch.full((300,), 0.7)
    for kind in ("R", "L"):
        found, expected = (m.eps(u, t, kind) for m in (model, exact))
        assert (found - expected).norm() < 0.02 * expected.norm()
    samples = gddim_models.gddim(model, u[:32], 20)
    assert samples.shape == (32, 1, 8, 8) and 0.6 < samples.std() < 1.0
