"""The report on gDDIM: it is written, its numbers mean what they say, and a checkpoint becomes a second model."""

import sys
import types
from functools import partial

import numpy as np
import pytest
import torch

from benchmarks import gddim as report
from benchmarks import gddim_metrics, gddim_models, gddim_patterns
from benchmarks.gddim_metrics import Cell, HeldData, interval, smaller
from samplers.gddim.cld import CLD


@pytest.fixture(scope="module")
def held():
    return HeldData(4000)


@pytest.fixture(scope="module")
def bench(held):
    return gddim_metrics.Bench(gddim_models.mixture_model(), report.QUICK, held)


def test_the_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "trained_model", lambda: None)
    report.main(["--quick", "--folder", str(tmp_path)])
    assert "digits_cld.safetensors is not there; the trained network is left out" in capsys.readouterr().err
    text = (tmp_path / "gddim.md").read_text()
    assert "nan" not in text and "There was no checkpoint" in text and "{" not in text
    for title in ("Tables 1 and 6", "Correctors", "Table 2", "Table 8", "whether it holds here"):
        assert title in text
    for rows in ("R, q = 3", "L, q = 0", "q = 2, PECE", "Euler-Maruyama", "SSCS", "RK45, tolerance 0.1"):
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


def test_without_a_checkpoint_there_is_no_network(tmp_path):
    assert gddim_models.trained_model(tmp_path / "none.safetensors") is None


@pytest.mark.parametrize("kind", ["R", "L"])
def test_a_checkpoint_is_read_as_eps_of_both_kinds(kind, tmp_path, monkeypatch):
    exact = gddim_models.mixture_model()

    def network(x, timesteps, context):
        assert x.dtype == timesteps.dtype == torch.float32
        return exact.eps(x, timesteps / 999.0, kind)

    loader = types.SimpleNamespace(load=lambda path: ({"beta": 4.0, "mass": 0.25}, kind, network))
    monkeypatch.setitem(sys.modules, "embedded.cld_checkpoint", loader)
    file = tmp_path / "checkpoint.safetensors"
    file.touch()
    model = gddim_models.trained_model(file)
    assert model.sde == CLD()
    u, t = model.start(300, 0), torch.full((300,), 0.3)
    for asked in ("R", "L"):
        torch.testing.assert_close(model.eps(u, t, asked), exact.eps(u, t, asked), rtol=1e-4, atol=1e-4)
    samples = [gddim_models.gddim(m, u[:8].double(), 30) for m in (model, exact)]
    torch.testing.assert_close(*samples, rtol=1e-2, atol=1e-2)
