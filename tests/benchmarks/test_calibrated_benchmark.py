"""The report on calibrated solvers: its rows on few items, and its counts."""

import pytest
import torch

from benchmarks import calibrated as measured
from benchmarks.calibrating import FIT_SEED
from benchmarks.cases import digits_case


def test_no_test_item_was_fitted_on():
    """Calibrations use three or a few more seeds from FIT_SEED on."""
    assert FIT_SEED + 100 < measured.TEST_SEED


def test_the_enlarged_digits_are_the_same_data():
    """Every pixel occurs four times."""
    large, small = (digits_case("eps", 4, 0, enlarged=enlarged) for enlarged in (2, 1))
    enlarged = small.mixture.means.reshape(-1, 8, 8).repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal(large.mixture.means, enlarged.flatten(1))


@pytest.mark.parametrize("place", measured.PLACES)
def test_places_differ_from_home_in_one_thing(place):
    home = digits_case("eps", 4, 0)
    change = {name: value + home.cfg if name == "cfg" else value for name, value in measured.PLACES[place].items()}
    case = digits_case("eps", 4, 0, **change)
    assert [case.cfg != home.cfg, case.shape != home.shape].count(True) == len(change)


def test_a_row_of_both_presets_and_away_from_home(pack):
    """On the digits at 10 calls: careful beats all others, costs what was announced, and keeps its gain elsewhere."""
    row = measured.SMOOTH[1]
    results = measured.measure([row])
    careful, quick = results[row]["careful"], results[row]["quick"]
    others = [error.median for name, error in careful.calibrated.test.items() if name != "calibrated"]
    assert careful.calibrated.test["calibrated"].median < 0.6 * min(others)
    assert all(result.calls <= result.cost.most for result in (careful, quick)) and quick.calls < 400
    assert measured.table(results).count("\n") == 3 and "| careful | digits |" in measured.summary(results)
    [line] = measured.elsewhere([(row.make, careful)], 32, 4, ["the same, other seeds"]).splitlines()[2:]
    assert "the same, other seeds" in line and float(line.split("|")[-2]) < 1.0
