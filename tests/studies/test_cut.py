"""A split costs a single-step method nothing, and a multistep method about its own error."""

from benchmarks import host_samplers
from benchmarks.cases import standard_cases
from studies import cut


def test_every_sampler_on_every_case(pack):
    for case in (case for case in standard_cases(batch=4, converging=200) if case.name in cut.GRIDS):
        sigmas = case.grid(cut.GRIDS[case.name], 20)
        for name in cut.SAMPLERS:
            distance, whole, parts = cut.cut(case, host_samplers.sampler(name), sigmas, 10)
            assert max(whole, parts) < 0.025, name
            if name in ("exp_res_2s", "exp_res_3s"):
                assert distance < 2e-5
            else:
                assert 1e-4 < distance < 0.01, "a method with a history can tell"
