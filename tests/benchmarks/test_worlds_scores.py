"""Scores compare with the best of the row and with Euler, and the report is complete."""

import math

import pytest
import torch

from benchmarks import host_samplers, worlds
from benchmarks.worlds import exact_worlds, sde_worlds
from benchmarks.worlds.bench import Bench
from benchmarks.worlds.scores import GROUPS, Row, comparison, errors, rows_of, score, summary, table
from benchmarks.worlds.world_cases import exact_cases, from_noise
from samplers.lab.store import Store


def row(error, best, euler=1.0, calls=6, world="photo", visible=0.0):
    return Row("exp_res", world, f"{world} eps", 4.0, "karras", calls, error, "deis", best, euler, visible)


def test_a_score_is_of_all_rows():
    result = score([row(1.0, 2.0), row(4.0, 1.0), row(1.05, 1.05), row(2.0, 2.0, euler=1.9)])
    assert result.rows == 4 and result.mean == pytest.approx((0.5 * 4.0) ** 0.25) and result.worst == 4.0
    assert result.above == 0.25 and result.behind_euler == 1


def test_errors_that_nobody_sees_are_equal():
    assert row(4e-3, 1e-6, visible=5e-3).ratio == 1.0 and row(5e-2, 1e-6, visible=5e-3).ratio == 10.0
    assert row(4e-3, 1.0, euler=1e-6, visible=5e-3).over_euler == 1.0


def test_tables_have_every_group():
    rows = [row(1.0, 2.0), row(1.0, 1.0, calls=10), row(3.0, 1.0, world="latent")]
    text = summary(rows)
    for label in ("all", "photo", "latent", "6 calls", "10 calls"):
        assert f"\n| {label} |" in text
    assert "CFG 4" not in text and "karras" not in text, "one group says no more than all"
    assert "| all | 3 | 1.14 | 3.0 | 33% | 1 |" in text and len(GROUPS) == 4
    assert table(rows).count("\n") == 4 and "`exp_res`" in comparison(rows)


def test_errors_by_number_of_calls():
    text = errors([row(1.0, 1.0, calls=10), row(0.5, 1.0), row(0.1, 1.0)], ["exp_res"])
    head, _, cells = (line.split(" | ") for line in text.strip().splitlines())
    columns = [f"{calls} calls, {what}" for calls in (6, 10) for what in ("mean", "largest")]
    assert [cell.strip("| ") for cell in head] == ["sampler", *columns]
    assert [cell.strip("| ") for cell in cells] == ["`exp_res`", "0.3000", "0.5000", "1.0000", "1.0000"]


def test_rows_are_against_the_best_of_the_row(pack, tmp_path):
    case = next(case for case in exact_cases(seed=3) if case.name.startswith("ring eps"))
    case.calls = (4, 6)
    result = rows_of(Bench(Store(tmp_path)), case, "karras", ("exp_res_2m", *host_samplers.DETERMINISTIC))
    for calls in case.calls:
        cell = {r.sampler: r for r in result if r.calls == calls}
        theirs = {name: cell[name].error for name in host_samplers.DETERMINISTIC if name in cell}
        best = min(theirs.values())
        assert all(r.best_error == best == theirs[r.best] and r.euler_error == theirs["euler"] for r in cell.values())
        assert min(cell[name].ratio for name in theirs) == 1.0 and not math.isnan(cell["exp_res_2m"].ratio)


def test_distributions_of_sde_samplers(pack, tmp_path):
    """Draws of the right distribution have no visible error; with a tenth of the steps a sampler has more of it."""
    bench = sde_worlds.Distributions(Store(tmp_path))
    case = next(case for case in sde_worlds.cases(3) if case.world == "ring")
    case.batch = 400
    draws = bench.draws(case)
    first, *_ = draws.sets
    least = bench.error(first, draws)
    few, many = (bench.judge("dpmpp_2m_sde", case, "karras", calls) for calls in (4, 40))
    assert 0.0 < least <= many < 0.5 * few
    assert bench.error(first + 0.5 * first.std(), draws) == pytest.approx(0.5, rel=0.3)


def test_guided_distributions_are_those_of_fine_runs(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(sde_worlds, "STEPS", 20)
    bench = sde_worlds.Distributions(Store(tmp_path))
    case = from_noise("ring", exact_worlds.ring, "eps", 5.0, 200, seed=3)
    draws = bench.draws(case)
    first, second, _ = draws.sets
    unguided = case.denoiser.draw_any(200, torch.Generator().manual_seed(1))
    assert not torch.allclose(first, second), "the sets are independent"
    assert bench.error(first, draws) < 0.1 < bench.error(unguided, draws)
    monkeypatch.setattr(sde_worlds, "sampled", None)
    assert torch.equal(sde_worlds.Distributions(Store(tmp_path)).draws(case).sets[0], first), "read from the disk"


def test_results_of_another_definition_of_the_error_are_not_read(pack, tmp_path, monkeypatch):
    case = from_noise("ring", exact_worlds.ring, "eps", 1.0, 100, seed=3, grids=("karras",), calls=(4,))

    def errors():
        return sde_worlds.Distributions(Store(tmp_path)).errors(case, "karras", ["euler_ancestral"])

    first = errors()
    with monkeypatch.context() as patch:
        patch.setattr(sde_worlds.Distributions, "judge", None)
        assert errors() == first, "read from the disk"
    error = sde_worlds.Distributions.error
    monkeypatch.setattr(sde_worlds.Distributions, "error", lambda *given: 2.0 * error(*given))
    assert errors() == pytest.approx({key: 2.0 * value for key, value in first.items()})


def test_a_quick_report(pack, monkeypatch, tmp_path):
    monkeypatch.setattr(worlds.pages, "OUTPUT", tmp_path)
    monkeypatch.setattr(worlds, "Bench", lambda: Bench(Store(tmp_path / "worlds")))
    monkeypatch.setattr(Bench, "theirs", ("euler", "deis"))
    report = worlds.report(quick=True)
    assert set(report) == {"", *worlds.PARTS} and (tmp_path / "worlds.png").stat().st_size > 5000
    assert all(report[part] in report[""] for part in worlds.PARTS)
