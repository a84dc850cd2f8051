"""The report for GPUs, tried on the CPU."""

import pytest
import torch

from benchmarks import gpu, gpu_checks
from benchmarks.runner import run


def test_every_sampler_is_checked_for_waits_and_noise(pack):
    rows = {line.split("|")[1].strip(): line for line in gpu_checks.loop_table("cpu").splitlines() if line.startswith("| ")}
    methods = gpu_checks.host.pack("samplers").METHODS
    assert {*(case.name for case in gpu_checks.cases()), *gpu_checks.HOSTS, "sampler"} == set(rows) >= set(methods)
    assert not any("failed" in row or "NOT" in row for row in rows.values())
    for name, method in methods.items():
        assert "| none |" in rows[name]
        assert ("independent all of" in rows[name] and "brownian all of" in rows[name]) == method.stochastic


def test_latents_that_differ_are_marked(pack, monkeypatch):
    case, shape = gpu_checks.cases()[0], (1, 4, 8, 8)
    assert gpu_checks._worst(case, [shape], torch.float32, "cpu") == "0.0e+00"
    monkeypatch.setattr(gpu_checks, "_curved", lambda x, sigma: 0.5 * x * torch.rand(()))
    assert gpu_checks._worst(case, [shape], torch.float32, "cpu").startswith("**")


def test_a_nan_and_an_interrupt_stop_a_run_at_once(pack):
    assert "the run stops after 5 calls" in gpu_checks.nan_guard("cpu")
    assert gpu_checks.interrupt("cpu").endswith("stops after 5.")


def test_a_part_that_fails_leaves_its_reason_and_the_others_run(pack, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "OUTPUT", tmp_path)
    monkeypatch.setattr(gpu, "parts", lambda device, quick: {"share": lambda: 1 / 0, "stops": lambda: "It stops."})
    report = gpu.report(quick=True)
    assert report["share"] == "**failed:** ZeroDivisionError: division by zero" and report["stops"] == "It stops."
    assert report[""] == (tmp_path / "gpu.md").read_text(encoding="utf-8")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    with pytest.raises(SystemExit, match="gpu: there is no GPU that torch can use; --quick"):
        run("benchmarks", "gpu", quick=False)
