"""Calibrated solvers compared with analytic plans and ComfyUI's samplers at equal calls, on seeds that had no part in the fit.

A calibration fits its weights to pilot items, selects among the fits on the same number of selection items, and is measured on
the same number of test items. The preset *careful* uses 16 pilots on the digits and 8 on a network; *quick* uses 4. All pilots
share one batch. The errors are median relative distances to the converged solution over the test items. *Analytic* is the
method before the fit, which was the best of seven on the pilots and selection items; *kept* means that no fit was better. *The
best other* is the sampler that was the best of eight on the test items themselves. *Gain* is the calibrated error
divided by the error of the best other. *Calls* are all model calls of the calibration (each call takes a whole batch),
including the reference and the eight samplers, and the smallest and largest number that was announced before the run.
"""

import statistics
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from samplers.lab.calibration.fitting import bases
from samplers.lab.calibration.results import CAREFUL, QUICK, Settings
from samplers.loop import run

from . import host_samplers, pages
from .calibrating import Maker, Outcome, as_sampler, calibrate
from .cases import NetworkCase, digits_case, network_case

PAGE, PARTS, MINUTES = "docs/calibration.md", ("summary",), 16

TEST_SEED = 32000
# The changes of setting under which a calibration is measured; CFG is added to the calibration's own.
PLACES = {
    "the same, other seeds": {},
    **{f"CFG {change:+d}": {"cfg": change} for change in (-2, -1, 1, 2)},
    "another resolution": {"enlarged": 2},
}
_ELSEWHERE = """This table shows how much of its gain a calibration keeps at another guidance scale and at another resolution.
These are the careful calibrations for 10 calls, on other items. Below 1 the calibrated plan still has a smaller error than the
analytic plan. At another resolution a network sees latents of a size that it was not trained on, and both errors are large."""
FINER = {"first": 256, "levels": 2}
_FINER = """The number of steps of the reference follows from the errors that are to be fitted. This table compares the careful
calibrations of the networks with calibrations whose reference has 512 steps. A ratio of 1 means that the finer reference, which
needs more calls, gains nothing."""


class Row(NamedTuple):
    """A calibration to run: what makes the case, the scheduler, the steps, and the number of pilots of the careful preset."""

    make: Maker
    grid: str
    calls: int
    pilots: int = 16


_EPS, _FLOW = partial(digits_case, "eps"), partial(digits_case, "flow", cfg=4.0)
_GUIDED = (("emoji_ddpm_early", 7.0), ("emoji_sd", 4.0), ("emoji_flow", 4.0))
_EMOJI = tuple(partial(network_case, name, cfg=cfg) for name, cfg in _GUIDED)
SMOOTH = tuple(Row(make, grid, calls) for make, grid in ((_EPS, "karras"), (_FLOW, "simple")) for calls in (6, 10, 20))
ROUGH = tuple(Row(make, grid, 10, 8) for make, grid in zip(_EMOJI, ("karras", "karras", "simple")))
ELSEWHERE = (SMOOTH[1], SMOOTH[4], *ROUGH)


def settings_of(row: Row) -> dict[str, Settings]:
    """The presets of a row, by name."""
    pilots = {"pilots": row.pilots, "selection": row.pilots, "test": row.pilots}
    return {"careful": replace(CAREFUL, **pilots), "quick": QUICK}


def measure(rows) -> dict[Row, dict[str, Outcome]]:
    """Run both presets on every row."""
    results = {}
    for row in rows:
        results[row] = {name: calibrate(row.make, row.grid, row.calls, settings) for name, settings in settings_of(row).items()}
        pages.say("\n  ".join(" | ".join(line) for line in _lines(row, results[row])))
    return results


def _lines(row: Row, results: dict[str, Outcome]) -> list[list[str]]:
    lines = []
    for name, result in results.items():
        of, best = result.calibrated, result.best_other
        fitted = f"{of.analytic}, kept" if of.kept else of.base
        pilots = f"{name}, {len(of.seeds.pilot) * settings_of(row)[name].pilots}"
        calls = f"{result.calls} of {' to '.join(map(str, sorted(set(result.cost))))}"
        errors = (f"{result.error(name):.4f}" for name in ("base", "calibrated", best))
        gain = f"{result.error() / result.error(best):.2f}"
        lines.append([result.case.name, f"{row.grid} {row.calls}", pilots, fitted, *errors, best, gain, calls])
    return lines


def table(results: dict[Row, dict[str, Outcome]]) -> str:
    """Markdown: one line per row and preset."""
    head = ["case", "grid, calls", "pilots", "fitted", "analytic", "calibrated", "the best other", "", "gain", "calls"]
    return pages.table(head, [line for row, result in results.items() for line in _lines(row, result)], (0, 1, 2, 3, 7))


def summary(results: dict[Row, dict[str, Outcome]]) -> str:
    """Geometric means of the calibrated error over others, by preset and kind of model."""
    lines = []
    for preset in ("careful", "quick"):
        for kind, rows in (("digits", SMOOTH), ("networks", ROUGH)):
            chosen = [results[row][preset] for row in rows if row in results]
            if chosen:
                analytic = statistics.geometric_mean(result.error() / result.error("base") for result in chosen)
                other = statistics.geometric_mean(result.error() / result.error(result.best_other) for result in chosen)
                lines.append([preset, kind, f"{analytic:.2f}", f"{other:.2f}", str(max(result.calls for result in chosen))])
    return pages.table(["preset", "cases", "over the best analytic", "over the best other", "most calls"], lines, 2)


def elsewhere(homes: list[tuple[Maker, Outcome]], items: int, of_networks: int, places=tuple(PLACES)) -> str:
    """Markdown: median errors of the best analytic plan and of the calibrated plan, over `items` items, by place."""
    rows = []
    for make, (home, result, *_) in homes:
        analytic = bases(result.sigmas, home.time)[result.analytic]
        for place in places:
            change = {name: value + home.cfg if name == "cfg" else value for name, value in PLACES[place].items()}
            count = of_networks if isinstance(home, NetworkCase) else items
            case = make(max(count // change.get("enlarged", 1), 2), TEST_SEED, **change)
            samples = (case.sample(as_sampler(partial(run, plan)), result.sigmas)[0] for plan in (analytic, result.plan))
            theirs, ours = (float(case.error(of).median()) for of in samples)
            rows.append([home.name, place, f"{theirs:.4f}", f"{ours:.4f}", f"{ours / theirs:.2f}"])
            pages.say(", ".join(rows[-1]))
    return pages.table(["case", "where", "analytic", "calibrated", "ratio"], rows, 2)


def with_finer_reference(rows: Sequence[Row], results: dict[Row, dict[str, Outcome]]) -> str:
    """Markdown: calls and calibrated errors of the careful preset, and of the same preset with the reference of FINER."""
    lines = []
    for row in rows:
        usual = results[row]["careful"]
        finer = calibrate(row.make, row.grid, row.calls, replace(settings_of(row)["careful"], **FINER))
        counts = (str(count) for result in (usual, finer) for count in (result.calibrated.reference.steps, result.calls))
        errors = f"{usual.error():.4f}", f"{finer.error():.4f}", f"{usual.error() / finer.error():.2f}"
        lines.append([usual.case.name, *counts, *errors])
        pages.say(", ".join(lines[-1]))
    head = ["case", "steps", "calls", "steps, finer", "calls, finer", "calibrated", "calibrated, finer", "ratio"]
    return pages.table(head, lines)


def report(quick: bool = False) -> pages.Report:
    """docs/calibration.md; the part is the summary."""
    host_samplers.load()
    rows = SMOOTH[:1] if quick else (*SMOOTH, *ROUGH)
    results = measure(rows)
    homes = [(row.make, results[row]["careful"]) for row in (SMOOTH[:1] if quick else ELSEWHERE)]
    parts = {"summary": summary(results)}
    sections = [
        *pages.paragraphs(__doc__),
        parts["summary"],
        "## Every row",
        table(results),
        "## With other settings",
        " ".join(_ELSEWHERE.split()),
        elsewhere(homes, 4 if quick else 48, 4),
        "## With a finer reference",
        " ".join(_FINER.split()),
        with_finer_reference(SMOOTH[:1] if quick else ROUGH, results),
    ]
    return {"": pages.page("benchmarks calibrated", "Calibrated solvers", *sections), **parts}
