"""gDDIM on CLD: the tables and figures of arXiv 2206.05564 on digits instead of CIFAR-10.

Two models of the same digits: the exact eps of a mixture, on which every error is the sampler's, and the network that comes with
the pack. All samplers start from the same noise, count the same calls, and end with the same step to t = 0; the grid is
uniform in t^(1/2). Cells are means over seeds with their 95 % confidence intervals (Student's t). Bold is what no other row of
its column beats by more than the 95 % confidence interval of the difference, seed by seed.

Frechet: squared 2-Wasserstein distance of Gaussians fitted to samples and to {held} draws of the data, on the first 20
principal components of the digits, {share:.0%} of their variance. Sliced Wasserstein: root mean square over 200 directions of
the 64 pixels. Both have a floor, the same distance for draws of the data in the place of samples. Spread: distance to the
nearest digit over that of the data; below 1 samples are too clean, above 1 noisy. Defect: median relative distance to the
converged solution from the same start, for samplers without noise.

What it cannot show: FID on photographs. A mixture of 1,797 digits has no detail between its centres, eight pixels a side leave
little for a sampler to blur, and the Frechet distance of a few hundred items is near its floor as soon as a sampler works at
all; the defect and the spread still tell samplers apart there. On the mixture eps has no error of its own, so that what noise
does to such an error is not seen there.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import pages
from samplers.gddim_rule import CORRECTORS
from samplers.processes.linear_sde import KINDS

from . import gddim_figures, gddim_res
from .gddim_metrics import Bench, Cell, HeldData, Size, interval, smaller
from .gddim_models import COMPARED, euler_maruyama, gddim, mixture_model, rk45, trained_model
from .gddim_patterns import DEGREES, ERRORS, noisy, patterns

PAGE, PARTS, MINUTES = "docs/gddim_results.md", ("short",), 25
FULL = Size()
# An item costs a network far more than the formula.
_FEWER = {"compared": FULL.compared[:-1], "tolerances": FULL.tolerances[:-2], "corrected": (2,)}
NETWORK = replace(FULL, seeds=3, items=200, solved=50, converging=201, **_FEWER)
QUICK = Size(2, 24, 8, 21, 500, (6, 8), (1, 2), (0.0, 1.0), 8, (6, 12), (0.1,), 20)
METRICS: dict[str, Callable[[Cell], list[float]]] = {
    "Frechet distance": lambda cell: cell.frechet,
    "Sliced Wasserstein distance": lambda cell: cell.sliced,
    "Spread": lambda cell: cell.spread,
    "Defect": lambda cell: cell.defect,
}
_DIVERGES = 1000.0  # a distance of this size, where data have a variance below 1


def report(quick: bool = False) -> pages.Report:
    """docs/gddim_results.md; the part compares gDDIM with RES on processes."""
    models = [(mixture_model(), QUICK if quick else FULL), (trained_model(), QUICK if quick else NETWORK)]
    return document(models, pages.OUTPUT)


def document(models: list, folder: Path) -> pages.Report:
    """The report on models, each with its Size; writes the figures."""
    size = models[0][1]
    held = HeldData(size.held)
    what, metrics, limits = pages.paragraphs(__doc__)
    metrics = metrics.format(held=f"{size.held:,}", share=held.share)
    parts = [what, metrics, limits, _figures([model for model, _ in models], size, folder)]
    for model, its_size in models:
        began = time.perf_counter()
        parts.append(section(Bench(model, its_size, held)))
        pages.say(f"{model.name}: {time.perf_counter() - began:.0f} s, {model.calls} calls")
    on_processes, short = gddim_res.section(size)
    return {"": pages.page("studies gddim", "gDDIM on CLD", *parts, on_processes), "short": short}


def section(bench: Bench) -> str:
    """All tables on one model, and the verdicts."""
    size, model = bench.size, bench.model
    rounding, reference = bench.rounding(size.calls[-1]), bench.reference_error()
    parts = [
        f"## The {model.name}",
        f"{size.seeds} seeds of {size.items} items; converged solutions of {size.solved} of them by {size.converging} calls of "
        f"degree 3 with PECE, which are within {reference:.0e} of themselves with half the calls. float32 against float64 at "
        f"{size.calls[-1]} calls: {rounding:.0e}.",
    ]
    for build in (_verdicts, _table_1_and_6, _correctors, _table_2, _table_8):
        parts.append(build(bench))
        pages.say(f"{model.name}: {build.__name__.strip('_')} done")
    return "\n\n".join(parts)


def _verdicts(bench: Bench) -> str:
    rows = [[pattern.claim, pattern.published, *(pattern.verdict(error) for error in ERRORS)] for pattern in patterns(bench)]
    found = pages.table(
        ["published finding", "published FID, CIFAR-10", *(f"by {error}" for error in ERRORS)], rows, 2 + len(ERRORS)
    )
    about = (
        "A comparison is won where the difference, seed by seed, exceeds its 95 % confidence interval; a finding holds where all "
        "of its comparisons are won. In brackets the error of what should be worse over the other's, geometric mean. By spread, "
        "the error is its distance from 1. Rows without FID are comparisons beyond the published ones."
    )
    return "\n\n".join(["### What was published, and whether it holds here", about, found])


def _table_1_and_6(bench: Bench) -> str:
    rows = {
        f"{kind}, q = {q}": {n: bench.cell(partial(gddim, degree=q, kind=kind), n) for n in bench.size.calls}
        for kind in KINDS
        for q in DEGREES
    }
    return _tables(bench, "Tables 1 and 6: K and q", rows, "{} calls")


def _correctors(bench: Bench) -> str:
    def cell(q, corrector, n):
        return bench.cell(partial(gddim, degree=q, kind="R", corrector=corrector), n)

    rows = {f"q = {q}, {c}": {n: cell(q, c, n) for n in bench.size.calls} for q in bench.size.corrected for c in CORRECTORS}
    title = "Correctors at equal calls, R (PECE takes two a step, so an even number leaves one unused)"
    return _tables(bench, title, rows, "{} calls")


def _table_2(bench: Bench) -> str:
    n, lambdas = bench.size.noisy_calls, bench.size.lambdas
    rows = {
        "gDDIM, q = 0": {lam: bench.cell(noisy(lam), n) for lam in lambdas},
        "Euler-Maruyama": {lam: bench.cell(partial(euler_maruyama, lam=lam), n) for lam in lambdas},
    }
    return _tables(bench, f"Table 2: lambda, {n} calls", rows, "lambda = {:g}", defects=False)


def _table_8(bench: Bench) -> str:
    runs = [(name, bench.cell(m, n), known) for name, (m, known) in COMPARED.items() for n in bench.size.compared]
    tolerances = {t: bench.cell(partial(rk45, tolerance=t), None) for t in bench.size.tolerances}
    runs += [(f"RK45, tolerance {t:g}", cell, True) for t, cell in tolerances.items()]
    rows = []
    for name, cell, deterministic in [("draws of the data", bench.floor(), False), *runs]:
        cells = [_text(read(cell)) if metric != "Defect" or deterministic else "" for metric, read in METRICS.items()]
        rows.append([name, f"{cell.calls:g}" if cell.calls else "", *cells])
    return "### Table 8: gDDIM against other samplers\n\n" + pages.table(["sampler", "calls", *METRICS], rows)


def _tables(bench: Bench, title: str, rows: dict[str, dict], column: str, defects: bool = True) -> str:
    """A table a metric."""
    parts, floor = [f"### {title}"], bench.floor()
    columns = list(next(iter(rows.values())))
    for (metric, read), error in zip(METRICS.items(), ERRORS.values()):
        if metric == "Defect" and not defects:
            continue
        best = {c: min((error(cells[c]) for cells in rows.values()), key=lambda e: interval(e)[0]) for c in columns}
        lines = [
            [name, *(_text(read(cells[c]), not smaller(best[c], error(cells[c]))) for c in columns)]
            for name, cells in rows.items()
        ]
        if metric != "Defect":
            lines.append(["draws of the data", *[_text(read(floor))] * len(columns)])
        parts.append(pages.table([metric, *(column.format(c) for c in columns)], lines))
    return "\n\n".join(parts)


def _text(values: list[float], bold: bool = False) -> str:
    mean, half = interval(values)
    if not abs(mean) < _DIVERGES:
        return "diverges"
    decimals = 2 - math.floor(math.log10(abs(mean) or 1.0))
    text = f"{mean:.{decimals}f} ± {half:.{decimals}f}" if 0 <= decimals <= 5 else f"{mean:.2g} ± {half:.1g}"
    return pages.bold(text, bold)


def _figures(models: list, size: Size, folder: Path) -> str:
    gddim_figures.trajectories(size.drawn, folder / "gddim_trajectories.png")
    variation = gddim_figures.eps_along(models, size.drawn, folder / "gddim_eps.png")
    gddim_figures.noise_strengths(models, size.drawn, size.noisy_calls, folder / "gddim_lambda.png")
    varies = "; ".join(f"{r:.1f} for eps_R and {ell:.1f} for eps_L on the {name}" for name, (r, ell) in variation.items())
    return "\n\n".join(
        [
            "## Figures",
            "![x and v along the probability-flow ODE](gddim_trajectories.png)",
            "Data at -0.7 (a third) and 0.8, width 0.1. Grey: the converged ODE. Most of what L gives is outside of the picture.",
            "![eps along trajectories](gddim_eps.png)",
            f"Eight pixels of a digit along its trajectory. The mean total variation of eps of v is {varies}. "
            "eps_L of x does not enter: noise drives v alone, and L is triangular.",
            "![samples by lambda](gddim_lambda.png)",
            "x on the line, and digits, by lambda. Starts and noises are the same in a row.",
        ]
    )
