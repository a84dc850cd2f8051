"""The report for GPUs, tried on the CPU."""

import pytest
import torch

from benchmarks import gpu
from benchmarks.runner import run


def test_every_sampler_has_a_row(pack, monkeypatch):
    monkeypatch.setattr(gpu.overhead, "time_per_step", lambda name, shape, device, seconds: 1.0)
    tables = (gpu.loop_table("cpu"), gpu.time_table("cpu", 0.0))
    loop, time = ({line.split("|")[1].strip(): line for line in table.splitlines()} for table in tables)
    for name in gpu.METHODS:
        assert "| none |" in loop[name] and "NOT" not in loop[name]
        assert ("independent: all of" in loop[name] and "brownian: all of" in loop[name]) == gpu.METHODS[name].stochastic
    assert all("| 1.000 | 1.000 |" in time[name] for name in gpu.TIMED)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so():
    with pytest.raises(SystemExit, match="gpu: there is no GPU that torch can use; --quick"):
        run("benchmarks", "gpu", quick=False)
