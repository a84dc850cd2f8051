"""Calibrated solvers against every deterministic sampler of the host, at equal model calls, on seeds that had no part in fitting.

A calibration takes 24 pilots and 24 selection items of the digits, 16 and 16 of a trained network. Pilots are fitted on, and
selection items choose base, ridge and history. Every number below is the median relative distance to the converged solution over
other items, the test items: 64 of the digits, 32 of a network, from seeds that nothing here was chosen on. The converged solution
of the test items is not the calibration's own reference but that of the other benchmarks, on 400 steps.
"""

import statistics
import time
from typing import NamedTuple

from samplers.lab.calibration.budget import Settings, cost
from samplers.lab.calibration.calibration import Calibrated, Calibration, bases, function_of
from samplers.time_maps import FLOW, VE

from . import host, pages
from .cases import Case, NetworkCase, at_most, grids, network_cases, standard_cases

PAGE, PARTS, MINUTES = "docs/calibration.md", ("summary", "others"), 20
BUDGETS = (6, 8, 10, 15, 20)
TARGETS = ("digits CFG 5", "digits flow CFG 4", "unet CFG 3", "sd3 CFG 3")
FEW = ("dpmpp_2m", "ipndm_v")  # of the host's samplers, to see that it runs
TAKEN_APART = ("digits CFG 5", "digits flow CFG 4", "sd3 CFG 3")
FIT_SEED, TEST_SEED = 31000, 32000
# (case, grid, calls) beside the target: without guidance, and on grids whose last step is short
OTHERS = (
    ("digits CFG 5", "logsnr_uniform", 8),
    *(("unet", "karras", calls) for calls in (6, 10, 20)),
    *((name, "logsnr_uniform", calls) for name in ("digits flow CFG 4", "sd3 CFG 3") for calls in (10, 20)),
)


class CaseProblem:
    """A case of the benchmarks as what a calibration samples: one batch a seed.

    Args:
        make: a case of (batch, seed).
        batch: items.
    """

    def __init__(self, make, batch: int):
        self.make, self.batch, self.calls = make, batch, 0
        self._cases: dict[int, Case] = {}

    def __call__(self, sampler, sigmas, seed):
        samples, calls = self._case(seed).sample(as_sampler(sampler), sigmas)
        self.calls += calls
        return samples

    def _case(self, seed: int) -> Case:
        if seed not in self._cases:
            self._cases[seed] = self.make(self.batch, seed)
        return self._cases[seed]


def as_sampler(sampler):
    """A SAMPLER, of one or of a function."""
    import comfy.samplers

    return sampler if isinstance(sampler, comfy.samplers.Sampler) else comfy.samplers.KSAMPLER(sampler)


def maker(name: str):
    """case of (batch, seed), by its name."""

    def make(batch, seed):
        return next(c for c in (*standard_cases(batch, seed), *network_cases(batch, seed)) if c.name == name)

    return make


def grid_of(case: Case):
    """The grid of the target: what most users sample the kind of model on."""
    return grids(case)["simple" if case.kind == "flow" else "karras"]


def time_of(case: Case):
    """The case's time map."""
    return FLOW if case.kind == "flow" else VE


def floor_of(case: Case) -> float:
    """Where the case's own reference steps to sigma 0."""
    if isinstance(case, NetworkCase):
        return FLOW.sigma(6.0) if case.kind == "flow" else float(case.model_sampling.sigma_min)
    return time_of(case).sigma(9.0)


def calibrated(make, sigmas, items: int, test: int = 0, **settings) -> tuple[Calibrated, CaseProblem, Settings]:
    """A calibration on a case, what it sampled, and what it was to spend."""
    case, problem = make(items, FIT_SEED), CaseProblem(make, items)
    spent = Settings(items, items, test, **settings)
    return Calibration(problem, sigmas, time_of(case), floor_of(case), FIT_SEED, items, spent).run(), problem, spent


def median(case: Case, sampler, sigmas) -> float:
    """The case's defect."""
    return float(case.defect(case.sample(as_sampler(sampler), sigmas)[0]).median())


class Row(NamedTuple):
    """Medians on test items: of the host's best sampler, of the best analytic plan, and calibrated."""

    case: str
    grid: str
    calls: int
    best: str
    theirs: float
    base: float
    ours: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def row(make, test: Case, grid_name: str, calls: int, items: int, names) -> Row:
    """One line of the table; `names` are samplers of the host."""
    grid = grids(test)[grid_name]
    theirs = {}
    for name in names:
        run = at_most(test, host.sampler(name), grid, calls)
        if run is not None and run[0].isfinite().all():
            theirs[name] = float(test.defect(run[0]).median())
    best, sigmas = min(theirs, key=theirs.get), grid(calls)
    found = calibrated(make, sigmas, items)[0]
    base = min(bases(sigmas, time_of(test)), key=lambda name: found.selection[name].log_mean)
    analytic = median(test, function_of(bases(sigmas, time_of(test))[base]), sigmas)
    ours = median(test, function_of(found.plan), found.sigmas)
    return Row(test.name, grid_name, calls, best, theirs[best], analytic, ours)


def table(rows: list[Row]) -> str:
    """Markdown: every row."""
    lines = [
        "| case | grid | calls | analytic base | calibrated | the host's best | | ratio |",
        "|---|---|--:|--:|--:|---|--:|--:|",
    ]
    for r in rows:
        numbers = f"{r.base:.5f} | {r.ours:.5f} | {r.best} | {r.theirs:.5f} | {r.ratio:.2f}"
        lines.append(f"| {r.case} | {r.grid} | {r.calls} | {numbers} |")
    return "\n".join(lines)


def summary(rows: list[Row]) -> str:
    """Geometric means of the ratios."""
    groups = {"all": rows} | {name: [r for r in rows if r.case == name] for name in dict.fromkeys(r.case for r in rows)}
    lines = []
    for name, group in groups.items():
        means = (statistics.geometric_mean(ratios) for ratios in zip(*((r.ratio, r.ours / r.base) for r in group)))
        lines.append([name, *(f"{mean:.2f}" for mean in means)])
    return pages.table(["rows", "calibrated / the host's best", "calibrated / analytic base"], lines)


def losses(rows: list[Row]) -> str:
    """The rows that were lost, and by how much."""
    base = [f"{r.case} at {r.calls} ({r.ours / r.base:.2f})" for r in rows if r.ours > r.base]
    best = [f"{r.case} at {r.calls} ({r.ratio:.2f})" for r in rows if r.ratio > 1.0]
    return "\n".join(
        f"Lost against {whom}: {', '.join(lost) or 'none'}."
        for whom, lost in (("the analytic base", base), ("the host's best", best))
    )


def parts(calls: int, items: int, names=TAKEN_APART) -> str:
    """Markdown: what weighting outliers down and moving the grid are worth, and what it costs."""
    lines = [
        "| case | calls | grid | fit | calibrated | model calls | of at most | seconds |",
        "|---|--:|---|---|--:|--:|--:|--:|",
    ]
    for name in names:
        make = maker(name)
        test = make(items, TEST_SEED)
        sigmas = grid_of(test)(calls)
        for settings in ({"robust": False}, {}, {"move_grid": True}):
            started = time.perf_counter()
            found, problem, spent = calibrated(make, sigmas, 8, **settings)
            seconds = time.perf_counter() - started
            error, most = median(test, function_of(found.plan), found.sigmas), cost(sigmas, spent, 8).most
            moved = "moved" if found.moved else "kept" if spent.move_grid else "given"
            words = f"{moved} | {'robust' if spent.robust else 'least squares'}"
            lines.append(f"| {name} | {calls} | {words} | {error:.4f} | {problem.calls} | {most} | {seconds:.0f} |")
        pages.say(f"parts of {name} done")
    return "\n".join(lines)


def measure(targets, budgets, items: int, names) -> tuple[list[Row], list[Row]]:
    """The rows of the targets, and those of OTHERS at as many calls; `names` are samplers of the host."""
    wanted = [(name, None, calls) for name in targets for calls in budgets]
    more = [key for key in OTHERS if key[2] in budgets]
    found, tests = [], {}
    for name, wished, calls in [*wanted, *more]:
        network = "digits" not in name
        make = maker(name)
        if name not in tests:
            tests[name] = make(64 * items // 24 // (1 + network), TEST_SEED)
        grid = wished or ("simple" if tests[name].kind == "flow" else "karras")
        found.append(row(make, tests[name], grid, calls, items * 2 // 3 if network else items, names))
        r = found[-1]
        pages.say(f"{name}, {grid}, {calls}: {r.ours:.5f}, base {r.base:.5f}, {r.best} {r.theirs:.5f}")
    return found[: len(wanted)], found[len(wanted) :]


def report(quick: bool = False) -> pages.Report:
    """docs/calibration.md; the parts are the summaries of the target's rows and of the others."""
    from . import calibrated_robustness

    host.load()
    items = 6 if quick else 24
    targets, more = measure(*((TARGETS[:2], (8,), items, FEW) if quick else (TARGETS, BUDGETS, items, host.DETERMINISTIC)))
    summaries = {"summary": summary(targets), "others": summary(more)}
    sections = [
        *pages.paragraphs(__doc__),
        "## In short",
        "The target's rows: on `karras` for eps models and `simple` for flow.",
        f"{summaries['summary']}\n\n{losses(targets)}",
        "The step of `simple` to sigma 0 is so long that it is all that is seen of the host's samplers on flow. On a grid that "
        "ends near 0, uniform in logSNR, and unguided, less is gained:",
        f"{summaries['others']}\n\n{losses(more)}",
        "## Every row",
        "*analytic base*: the best of the five analytic plans on the selection items. Where it equals *calibrated* it was kept.",
        table(targets),
        table(more),
        "## Away from home",
        " ".join(calibrated_robustness.__doc__.split()) + " Below 1 the calibrated solver is still the better one.",
        calibrated_robustness.table(10, items, *[1] * quick),
        "## What its parts are worth, and cost",
        "8 pilots and 8 selection items in one batch, on one core of a busy machine; a call is one of the whole batch.",
        parts(10, 8, TAKEN_APART[:1]) if quick else parts(10, 64),
    ]
    return {"": pages.page("calibrated", "Calibrated solvers", *sections), **summaries}
