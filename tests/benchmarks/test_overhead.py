"""The overhead table's targets that do not depend on the machine, and with a margin the one that does."""

import pytest

from benchmarks import overhead


@pytest.mark.parametrize(
    "name, terms",
    [
        ("exp_res", 13),  # its rules weigh up to five outputs and five states, and keep inner products of differences
        ("exp_res_2m", 2),
        ("exp_res_3m", 3),
        ("exp_res_2mc", 3),
        ("exp_res_3mc", 4),
        ("exp_res_2s", 2),
        ("exp_res_3s", 2),
    ],
)
def test_operations_reads_and_buffers(pack, name, terms):
    ours, hosts = overhead.counts(name), overhead.counts("res_multistep")
    assert ours.latent_operations <= (1 + terms) * ours.model_calls
    assert ours.host_reads_in_loop == 0 < hosts.host_reads_in_loop
    # x, the step's anchor, the state and its successor, and the outputs and earlier states combined
    assert ours.peak_buffers <= 4 + terms
    assert ours.peak_buffers <= hosts.peak_buffers + 4 * (name == "exp_res")


@pytest.mark.parametrize("name", ["exp_res", "exp_res_2mc", "exp_res_2m"])
def test_time_per_step(pack, name):
    shape = overhead.LATENTS["1x16x128x128"]
    ours, hosts = (overhead.time_per_step(sampler, shape, seconds=0.5) for sampler in (name, "res_multistep"))
    assert ours <= {"exp_res": 1.0, "exp_res_2m": 0.6, "exp_res_2mc": 0.8}[name] * hosts
