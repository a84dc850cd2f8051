"""This table shows how much of its gain a calibration keeps at another guidance scale and at another resolution."""

from functools import partial
from typing import NamedTuple

from samplers.lab.calibration.fitting import bases
from samplers.loop import run

from . import pages
from .calibrating import Maker, Outcome, as_sampler, time_of
from .cases import Case, NetworkCase

TEST_SEED = 32000


class Place(NamedTuple):
    """A change of setting under which a calibration is measured.

    Attributes:
        name: name in tables.
        change: the settings that differ from those of the fit: cfg (added to the fit's), label, enlarged.
    """

    name: str
    change: dict


PLACES = (
    Place("the same, other seeds", {}),
    *(Place(f"CFG {change:+d}", {"cfg": change}) for change in (-2, -1, 1, 2)),
    Place("another resolution", {"enlarged": 2}),
)


def table(homes: list[tuple[Maker, Outcome]], items: int, of_networks: int, places=PLACES) -> str:
    """Markdown: median errors of the best analytic plan and of the calibrated plan over `items` items, in every place."""
    rows = []
    for make, result in homes:
        rows += _rows(make, result, of_networks if isinstance(result.case, NetworkCase) else items, places)
    return pages.table(["case", "where", "analytic", "calibrated", "ratio"], rows, 2)


def _rows(make: Maker, result: Outcome, items: int, places) -> list[list[str]]:
    plan, sigmas = result.calibrated.plan, result.calibrated.sigmas
    analytic = bases(sigmas, time_of(result.case))[result.calibrated.analytic]
    rows = []
    for place in places:
        change = dict(place.change)
        if "cfg" in change:
            change["cfg"] = result.case.cfg + change["cfg"]
        case = make(max(items // change.get("enlarged", 1), 2), TEST_SEED, **change)
        theirs, ours = (_median(case, partial(run, of), sigmas) for of in (analytic, plan))
        rows.append([result.case.name, place.name, f"{theirs:.4f}", f"{ours:.4f}", f"{ours / theirs:.2f}"])
        pages.say(", ".join(rows[-1]))
    return rows


def _median(case: Case, sampler, sigmas) -> float:
    return float(case.error(case.sample(as_sampler(sampler), sigmas)[0]).median())
