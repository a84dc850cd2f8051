"""The overhead table's targets that do not depend on the machine, and with a margin the one that does."""

import pytest

from benchmarks import overhead
from samplers.catalogue import SOLVERS


@pytest.mark.parametrize("name", SOLVERS)
def test_reads_and_buffers(pack, name):
    ours, hosts = overhead.counts(name), overhead.counts("res_multistep")
    assert ours.host_reads_in_loop == 0 < hosts.host_reads_in_loop
    assert ours.peak_buffers <= hosts.peak_buffers + 4 * (name == "exp_res")


@pytest.mark.parametrize("name", ["exp_res", "exp_res_2mc", "exp_res_2m"])
def test_time_per_step(pack, name):
    ours, hosts = (overhead.time_per_step(sampler, (1, 16, 128, 128), seconds=0.5) for sampler in (name, "res_multistep"))
    assert ours <= {"exp_res": 1.0, "exp_res_2m": 0.6, "exp_res_2mc": 0.8}[name] * hosts


def test_costs_are_measured_for_every_noise(pack):
    rows = [line.split("|")[1:-1] for line in overhead.noise_table(steps=3).splitlines()[2:]]
    assert [name.strip() for name, *_ in rows][:2] == ["independent", "brownian"]
    assert all(float(ms) >= 0.0 and float(megabytes) >= 0.0 for _, ms, megabytes in rows)
