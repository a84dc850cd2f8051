"""The report for GPUs, tried on the CPU."""

import pytest
import torch

from benchmarks import gpu


def test_every_sampler_has_a_row(pack, monkeypatch):
    monkeypatch.setattr(gpu.overhead, "time_per_step", lambda name, shape, device: 1.0)
    lines = list(gpu.report("cpu"))
    for name in gpu.SAMPLERS:
        [row] = [line for line in lines if line.startswith(f"| {name} | ") and "1.000" not in line]
        assert "| none |" in row and "NOT" not in row
        assert ("independent: all of" in row and "brownian: all of" in row) == gpu.SAMPLERS[name].stochastic
    assert all(any(line.startswith(f"| {name} | 1.000 |") for line in lines) for name in gpu.TIMED)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(monkeypatch):
    monkeypatch.setattr("sys.argv", ["gpu"])
    with pytest.raises(SystemExit, match="there is no GPU that torch can use; --device cpu"):
        gpu.main()
