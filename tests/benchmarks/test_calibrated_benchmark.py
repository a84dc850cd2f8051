"""The report on calibrated solvers: its rows, on little, and how it counts them."""

import pytest
import torch

from benchmarks import calibrated as measured
from benchmarks.calibrated import FIT_SEED, TARGETS, TEST_SEED, Row, losses, summary, table
from benchmarks.calibrated_robustness import PLACES, digits_case


def row(case="digits CFG 5", ours=0.002, base=0.004, theirs=0.008, calls=8):
    return Row(case, "karras", calls, "ipndm_v", theirs, base, ours)


def test_no_test_item_was_fitted_on():
    """Calibrations take two or three seeds from FIT_SEED on; tests have TEST_SEED and the one after."""
    assert FIT_SEED + 100 < TEST_SEED
    assert {"digits CFG 5", "digits flow CFG 4", "unet CFG 3", "sd3 CFG 3"} == set(TARGETS)


def test_ratios_are_geometric_means_and_losses_are_named():
    rows = [row(ours=0.002), row(ours=0.008, calls=10), row("unet CFG 3", ours=0.016)]
    text = summary(rows)
    assert "| all | 0.79 | 1.59 |" in text and "| digits CFG 5 | 0.50 | 1.00 |" in text
    lost = losses(rows)
    assert "digits CFG 5 at 10 (2.00), unet CFG 3 at 8 (4.00)" in lost and "host's best: unet CFG 3 at 8 (2.00)" in lost
    assert table(rows).count("\n") == len(rows) + 1


def test_the_enlarged_digits_are_the_same_data():
    """Every pixel four times."""
    large, small = (digits_case(4, 0, enlarged=enlarged) for enlarged in (2, 1))
    for corner in ((0, 0), (1, 0), (0, 1), (1, 1)):
        of_corner = large.mixture.means.reshape(-1, 16, 16)[:, corner[0] :: 2, corner[1] :: 2].flatten(1)
        assert torch.equal(of_corner, small.mixture.means)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_places_differ_from_home_in_one_thing(place):
    home = digits_case(4, 0)
    change = {name: value + home.cfg if name == "cfg" else value for name, value in place.change.items()}
    case = digits_case(4, 0, **change)
    differs = [case.cfg != home.cfg, case.shape != home.shape, not torch.equal(case.class_weights, home.class_weights)]
    assert sum(differs) == len(change)


def test_a_row_of_a_case(pack):
    """On flow without guidance, where the last step of simple is all that is seen of others."""
    make = measured.maker("digits flow")
    found = measured.row(make, make(16, TEST_SEED), "simple", 8, 8, ("dpmpp_2m", "euler"))
    assert found.best in ("dpmpp_2m", "euler") and found.ratio < 0.7 and found.ours < found.base


def test_the_parts(pack):
    """A line for each way of fitting, and none took more calls than announced."""
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in measured.parts(5, 8, ("digits CFG 5",)).splitlines()[2:]
    ]
    assert [line[3] for line in lines] == ["least squares", "robust", "robust"]
    assert all(int(made) <= int(most) for *_, made, most, _ in lines)
