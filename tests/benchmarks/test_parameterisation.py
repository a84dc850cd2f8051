"""What exp_res was chosen by: every form is a sampler, and a ratio is to dpmpp_2m in the same row."""

import pytest

from benchmarks import host, parameterisation
from benchmarks.cases import ROUGH
from benchmarks.parameterisation import PARTS, TITLES, forms, measure, rows, table


@pytest.fixture(scope="module")
def problems(pack):
    """One of a mixture, one of a network."""
    found = rows((6,), 2, 0, ROUGH)
    return [next(row for row in found if row[0] == of_network) for of_network in (False, True)]


def test_a_ratio_is_to_the_baseline(problems):
    baseline = measure(host.sampler("dpmpp_2m"), problems)
    lines = table({"itself": host.sampler("dpmpp_2m"), "euler": host.sampler("euler")}, problems, baseline).splitlines()
    assert lines[0] == "| form | mixtures | networks | 6 calls | worst row |"
    assert lines[2] == "| itself | 1.00 | 1.00 | 1.00 | 1.00 |"
    euler = [float(cell) for cell in lines[3].split("|")[2:-1]]
    assert euler[3] == pytest.approx(max(euler[:2]), abs=0.01) and min(euler[:2]) < euler[2] < max(euler[:2])


def test_every_form_samples(problems):
    tables = forms()
    assert tuple(tables) == PARTS == tuple(TITLES)
    mixture = problems[:1]
    for samplers in tables.values():
        for name, sampler in samplers.items():
            assert 0.0 < measure(sampler, mixture)[0] < 2.0, name
    assert len({measure(sampler, mixture)[0] for sampler in tables["share"].values()}) == len(tables["share"])
    assert parameterisation.CALLS[0] == mixture[0][4]
