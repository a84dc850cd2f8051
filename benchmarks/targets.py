"""The recommended samplers on cases that had no part in choosing them: other seeds, and data never used before.

Named beforehand, with fixed options: `exp_res`, deterministic, and `exp_res_sde`, stochastic. A row is a case, a grid and a
number of model calls; all samplers start from the same noise on the same grid. Numbers are the relative distance to the
converged solution: median over items, quartiles in brackets. The ratio is that of the medians, the recommended sampler's over the
best one's of the host in that row alone, a different one from row to row; below 1 the row is won.

`exp_res` runs through the host's own sampling, against its 24 deterministic samplers. Some grids end so far from sigma 0 that
their last step is all that is seen. Its share, the column "last step", is the defect of an exact solution down to the last sigma
above 0, ended by the denoised output there. Rows in which both `exp_res` and the host's best are within a factor 1.25 of it are
listed apart: what else goes wrong there is below three quarters of it. A row in which one of the two gets below it, or only one
reaches it, counts. The grid uniform in sigma, the RES paper's stress test and no scheduler of the host, is listed apart too.

`exp_res_sde` runs on the exact denoisers, at eta 1, its default, and 0.5, on grids uniform in logSNR, against the host's SDE
samplers on the same noise path. At few calls some items end at another digit than the converged run, a distance of about 0.5
instead of about 0.02; where about half of them do, the median is a matter of luck, for every sampler.
"""

import statistics
from typing import NamedTuple

import numpy as np
import torch

from embedded.digits import digits
from embedded.mixture import GaussianMixture, ring
from samplers.time_maps import FLOW, VE

from . import host, pages, stochastic
from .cases import CONVERGING, ROUGH, Case, MixtureCase, grids, network_cases, standard_cases
from .defects import BUDGETS, measure, quartiles

PAGE, PARTS, MINUTES = "docs/targets.md", ("exp_res", "exp_res_sde"), 13
SEED = 1000
SDE_BUDGETS = (*BUDGETS, 24, 48)
ETAS = (1.0, 0.5)
DETERMINISTIC, STOCHASTIC = PARTS
LIMIT = 1.25
UNIFORM = "uniform sigma"
_SUITE = ("ring", "digits", "digits CFG 5", "digits flow", "sd3", "unet")


class Row(NamedTuple):
    """A case, a grid (or eta) and a number of calls: the recommended sampler, and the host's best.

    Attributes:
        ours, theirs: quartiles, see `defects.quartiles`.
        last_step: median defect of the grid's last step alone; 0 where it is not asked for.
    """

    case: str
    grid: str
    calls: int
    ours: dict[str, float]
    best: str
    theirs: dict[str, float]
    last_step: float = 0.0

    @property
    def ratio(self) -> float:
        return self.ours["median"] / self.theirs["median"]

    @property
    def limited(self) -> bool:
        """Whether the last step is all that is seen, of either sampler."""
        return all(self.last_step / LIMIT < found["median"] < LIMIT * self.last_step for found in (self.ours, self.theirs))


def cases(batch: int, converging: int = CONVERGING) -> list[Case]:
    """The suite on unseen seeds, and the unseen data: a ring of unequal widths, the odd digits with classes of their own.

    Networks take a quarter of the items.
    """
    seen = {case.name: case for case in (*standard_cases(batch, SEED, converging), *network_cases(batch // 4, SEED, converging))}
    widths = torch.linspace(0.05, 0.35, 12, dtype=torch.float64)
    everything = digits(dtype=torch.float64)
    odd = everything.labels % 2 == 1
    some = GaussianMixture(everything.means[odd], everything.std, everything.labels[odd] // 2)
    common = {"batch": batch, "seed": SEED + 1, "converging": converging}
    new = [
        MixtureCase("ring, unequal widths", (2, 1, 1), "eps", mixture=ring(std=widths), **common),
        MixtureCase("odd digits CFG 4", (1, 8, 8), "eps", 4.0, mixture=some, **common),
        MixtureCase("odd digits flow CFG 3", (1, 8, 8), "flow", 3.0, mixture=some, **common),
    ]
    return [*(seen[name] for name in _SUITE if name in seen), *new]


def last_step_error(case: Case, first: float, last: float, steps: int = 120) -> float:
    """Median defect of an exact solution from sigma `first` to `last`, ended by the denoised output there."""
    time = FLOW if case.kind == "flow" else VE
    lam = np.linspace(max(time.lam(first), -7.0), time.lam(last), steps)
    fine = torch.tensor([first, *(time.sigma(v) for v in lam[1:]), 0.0], dtype=torch.float32)
    return float(case.defect(case.sample(host.sampler("exp_res_3s"), fine)[0]).quantile(0.5))


def deterministic_rows(cases: list[Case], budgets) -> list[Row]:
    """exp_res against the host's deterministic samplers."""
    cells: dict[tuple[str, str, int], dict[str, dict]] = {}
    for found in measure(cases, budgets, (DETERMINISTIC, *host.DETERMINISTIC)):
        cells.setdefault((found["case"], found["grid"], found["budget"]), {})[found["sampler"]] = found
    last_steps: dict[tuple[str, float], float] = {}
    rows = []
    for case in cases:
        for name, grid in grids(case).items():
            for budget in budgets:
                sigmas = grid(budget)
                ends = float(sigmas[0]), float(sigmas[-2])
                if (case.name, ends[1]) not in last_steps:
                    last_steps[case.name, ends[1]] = last_step_error(case, *ends)
                cell = cells[case.name, name, budget]
                rows.append(_row(case, name, budget, DETERMINISTIC, cell)._replace(last_step=last_steps[case.name, ends[1]]))
    return rows


def stochastic_rows(cases: list[Case], budgets) -> list[Row]:
    """exp_res_sde against the host's SDE samplers, on the same noise path."""
    rows = []
    for case in cases:
        for eta in ETAS if isinstance(case, MixtureCase) else ():
            found = stochastic.distances(case, eta, budgets, case.seed, (STOCHASTIC,))
            for budget in budgets:
                cell = {name: quartiles(distance) for (name, calls), distance in found.items() if calls == budget}
                rows.append(_row(case, f"eta {eta:g}", budget, STOCHASTIC, cell))
    return rows


def _row(case: Case, grid: str, calls: int, ours: str, cell: dict[str, dict]) -> Row:
    best = min((name for name in cell if name != ours), key=lambda name: cell[name]["median"])
    return Row(case.name, grid, calls, cell[ours], best, cell[best])


def summary(rows: list[Row]) -> str:
    """Markdown: geometric mean of the ratio, rows won and the worst row; over all, and by calls, grid and case."""
    lines, groups = [], {"all": rows}
    for group_of in (lambda row: f"{row.calls} calls", lambda row: row.grid, lambda row: row.case):
        for row in rows:
            groups.setdefault(group_of(row), []).append(row)
    for name, group in groups.items():
        if group:
            ratios = [row.ratio for row in group]
            won = f"{sum(r < 1 for r in ratios)} of {len(ratios)}"
            mean, lost = statistics.geometric_mean(ratios), sum(r > 1.5 for r in ratios)
            lines.append([name, f"{mean:.2f}", won, str(lost), f"{max(ratios):.2f}"])
    return pages.table(["rows", "ratio to the host's best", "won", "above 1.5", "worst"], lines)


def table(rows: list[Row]) -> str:
    """Markdown: every row."""
    lines = ["| case | grid | calls | ours | the host's best | | ratio | last step |", "|---|---|--:|---|---|---|--:|--:|"]
    for row in rows:
        ours, theirs = ("{median:.4f} [{q25:.4f}, {q75:.4f}]".format(**found) for found in (row.ours, row.theirs))
        last = f"{row.last_step:.4f}" if row.last_step else ""
        name = f"{row.case} | {row.grid} | {row.calls}"
        lines.append(f"| {name} | {ours} | {row.best} | {theirs} | {row.ratio:.2f} | {last} |")
    return "\n".join(lines)


def counted(rows: list[Row]) -> list[Row]:
    """Without those that are listed apart."""
    return [row for row in rows if not row.limited and row.grid != UNIFORM]


def section(title: str, rows: list[Row]) -> str:
    """The report on a recommended sampler."""
    uniform = [row for row in rows if row.grid == UNIFORM]
    limited = [row for row in rows if row.limited and row not in uniform]
    kept = counted(rows)
    lost = sorted((row for row in kept if row.ratio > 1.0), key=lambda row: -row.ratio)
    parts = [f"## {title}", summary(kept)]
    if lost:
        parts += ["### Lost rows, and to whom", table(lost)]
    parts += ["### Every row", table(kept)]
    if limited:
        parts += ["### Apart: rows limited by the grid's last step", summary(limited), table(limited)]
    if uniform:
        parts += ["### Apart: the grid uniform in sigma", summary(uniform), table(uniform)]
        everything = statistics.geometric_mean(row.ratio for row in rows)
        parts.append(f"Ratio over all {len(rows)} rows, those listed apart among them: {everything:.2f}.")
    return "\n\n".join(parts)


def report(quick: bool = False) -> pages.Report:
    """docs/targets.md; the parts are the summaries."""
    host.load()
    batch, budgets, sde_budgets = (4, (6,), (6,)) if quick else (128, BUDGETS, SDE_BUDGETS)
    suite = cases(batch, ROUGH if quick else CONVERGING)
    rows = {DETERMINISTIC: deterministic_rows(suite, budgets), STOCHASTIC: stochastic_rows(suite, sde_budgets)}
    items = f"{batch} items, {batch // 4} of a network, seeds {SEED} and {SEED + 1}."
    sections = (section(f"`{name}`", found) for name, found in rows.items())
    title = "The recommended samplers on unseen cases"
    whole = pages.page("targets", title, items, *pages.paragraphs(__doc__), *sections)
    return {"": whole, **{name: summary(counted(found)) for name, found in rows.items()}}
