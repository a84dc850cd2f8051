"""The report on pairs of a sampler and a scheduler: the pairs that it compares, and verdicts that follow the numbers."""

import pytest

from benchmarks import host_samplers, schedule_pairs
from benchmarks.schedule_pairs import Measured
from benchmarks.worlds.bench import Bench
from benchmarks.worlds.world_cases import exact_cases
from samplers.lab.store import Store

ERRORS = {
    ("exp_res", "logsnr_arctan"): 0.1, ("exp_res", "simple"): 0.4, ("euler", "simple"): 1.0, ("euler", "logsnr_arctan"): 0.05,
    ("deis", "beta"): 0.2, ("dpmpp_2m", "simple"): 0.5,
}  # fmt: skip


def row(**errors):
    return Measured(next(case for case in exact_cases(seed=3) if case.world == "latent"), 6, ERRORS | errors)


def test_the_best_pair_is_comfyuis_on_its_own_schedulers():
    """One of ComfyUI's samplers on our grid is not ComfyUI's pair."""
    assert row().best() == ("deis", "beta") and row().best("simple") == ("dpmpp_2m", "simple")
    assert row().ratio(("exp_res", "logsnr_arctan"), row().best()) == pytest.approx(0.5)


def test_verdicts_follow_the_numbers():
    assert schedule_pairs.verdict([0.5, 0.6], 0.6, 1.2) == "met"
    assert schedule_pairs.verdict([0.1, 1.3], 0.6, 1.2) == "missed: worst row 1.30 above 1.2"
    assert schedule_pairs.verdict([1.0, 4.0], 0.8, 1.3) == "missed: geometric mean 2.00 above 0.8, worst row 4.00 above 1.3"
    lines = schedule_pairs.targets([row()], [row()]).splitlines()[2:]
    assert [line.split(" | ")[2] for line in lines] == ["0.50", "0.10", "0.80", "0.50"]
    assert [line.endswith("| met |") for line in lines] == [True, True, False, True]


def test_the_samplers_take_one_call_a_step(pack):
    names = schedule_pairs.single_call("flow")
    assert "euler" in names and "uni_pc" in names and "heun" not in names and set(names) < set(host_samplers.DETERMINISTIC)


def test_a_quick_report(pack, monkeypatch, tmp_path):
    monkeypatch.setattr(schedule_pairs, "Bench", lambda: Bench(Store(tmp_path)))
    monkeypatch.setattr(schedule_pairs, "single_call", lambda kind: ["euler", "dpmpp_2m"])
    monkeypatch.setattr(schedule_pairs, "FLOW", ("ring flow",))
    monkeypatch.setattr(schedule_pairs, "EPS", ("", "ring eps"))
    report = schedule_pairs.report(quick=True)
    assert set(report) == set(schedule_pairs.PARTS) and all(report.values())
    assert report["flow"].count("\n") == 2, "a row a case and number of calls"
