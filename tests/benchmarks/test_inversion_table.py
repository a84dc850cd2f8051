"""The report on round trips: errors vanish with more calls, and samplers without rising grids are marked."""

import pytest

from benchmarks import inversion
from benchmarks.cases import MixtureCase
from embedded.digits import digits


@pytest.mark.parametrize("start", inversion.STARTS)
def test_a_row_a_sampler(pack, start):
    names = ("exp_res_2m", "euler", "uni_pc")
    rows = [line.split("|")[1:-1] for line in inversion.table(start, names, 2, 6).splitlines()[2:]]
    assert [row[0].strip() for row in rows] == list(names)
    assert all(len(row) == 1 + 2 * len(inversion.SETTINGS) for row in rows)
    for column in list(zip(*rows))[1:]:
        assert 2 <= sum("**" in cell for cell in column) <= 3, "the best two, and what equals them"


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_a_round_trip_ends_where_it_began_in_the_limit(pack, kind):
    case = MixtureCase(kind, (1, 8, 8), kind, 1.0, 2, mixture=digits(0.3))
    coarse, fine = (inversion.round_trips(case, "exp_res_2s", "invert", calls) for calls in (11, 41))
    for before, after in zip(coarse, fine):
        assert after < 0.4 * before and after < 0.1
