"""The recommended samplers on cases that had no part in choosing them: other seeds, and data never used before.

    .host/venv/bin/python -m benchmarks.targets --markdown docs/targets.md    # about ten minutes; --quick takes two

Named beforehand, with fixed options: `exp_res`, deterministic, and `exp_res_sde`, stochastic. A row is a case, a grid and a
number of model calls; all samplers start from the same noise on the same grid, through the host's own sampling. The defect
is the relative distance to the converged solution: median over items, quartiles in brackets. `exp_res` is held against
the best of the host's 24 deterministic samplers in that row alone, a different one from row to row.

Some grids end so far from sigma 0 that their last step is all that is seen: rows where the best of the host is within a
factor 1.5 of an exact solution up to there, ended by the denoised output, are listed apart. So is the grid uniform
in sigma, which is the RES paper's stress test and no scheduler of the host.
"""

import argparse
import statistics
import sys

import numpy as np
import torch

from embedded.digits import digits
from embedded.mixture import GaussianMixture, ring
from samplers.time_maps import FLOW, VE

from . import host, stochastic
from .cases import Case, MixtureCase, at_most, grids, network_cases, standard_cases

SEED = 1000
BUDGETS = (6, 8, 10, 15, 20)
SDE_BUDGETS = (6, 8, 10, 15, 20, 24, 48)
DETERMINISTIC, STOCHASTIC = "exp_res", "exp_res_sde"
_SUITE = ("ring", "digits", "digits CFG 5", "digits flow", "sd3", "unet")


def cases(module, batch: int) -> list[Case]:
    """The suite on unseen seeds, and the unseen data: a ring of unequal widths, the odd digits with classes of their own."""
    seen = {case.name: case for case in (*standard_cases(module, batch, SEED), *network_cases(batch, SEED))}
    widths = torch.linspace(0.05, 0.35, 12, dtype=torch.float64)
    everything = digits(dtype=torch.float64)
    odd = everything.labels % 2 == 1
    some = GaussianMixture(everything.means[odd], everything.std, everything.labels[odd] // 2)
    common = {"batch": batch, "seed": SEED + 1, "module": module}
    new = [
        MixtureCase("ring, unequal widths", (2, 1, 1), "eps", mixture=ring(std=widths), **common),
        MixtureCase("odd digits CFG 4", (1, 8, 8), "eps", 4.0, mixture=some, **common),
        MixtureCase("odd digits flow CFG 3", (1, 8, 8), "flow", 3.0, mixture=some, **common),
    ]
    return [*(seen[name] for name in _SUITE), *new]


def last_step_error(case: Case, sigmas: torch.Tensor) -> float:
    """Median defect of an exact solution up to the grid's last sigma above 0, ended by the denoised output."""
    time = FLOW if case.kind == "flow" else VE
    first, last = float(sigmas[0]), float(sigmas[-2])
    lam = np.linspace(max(time.lam(first), -7.0), time.lam(last), 60)
    fine = torch.tensor([first, *(time.sigma(v) for v in lam[1:]), 0.0], dtype=torch.float32)
    return float(case.defect(case.sample(host.sampler("exp_res_3s"), fine)[0]).quantile(0.5))


def row(case: Case, grid_name: str, grid, budget: int) -> dict:
    """The quartiles of exp_res and of the host's best, their ratio, and whether the last step is the limit."""
    runs = {name: at_most(case, host.sampler(name), grid, budget) for name in (DETERMINISTIC, *host.DETERMINISTIC)}
    defects = {name: case.defect(run[0]) for name, run in runs.items() if run is not None}
    medians = {name: float(defect.quantile(0.5)) for name, defect in defects.items()}
    best = min(host.DETERMINISTIC, key=lambda name: medians.get(name, float("inf")))
    return {
        "case": case.name, "grid": grid_name, "calls": budget, "ours": _quartiles(defects[DETERMINISTIC]), "best": best,
        "bests": _quartiles(defects[best]), "ratio": medians[DETERMINISTIC] / medians[best],
        "limited": 2 / 3 < medians[best] / last_step_error(case, grid(budget)) < 3 / 2,
    }  # fmt: skip


def _quartiles(defect: torch.Tensor) -> tuple[float, float, float]:
    return tuple(float(defect.quantile(q)) for q in (0.25, 0.5, 0.75))


def _text(quartiles: tuple[float, float, float]) -> str:
    return "{1:.4f} [{0:.4f}, {2:.4f}]".format(*quartiles)


def summary(rows: list[dict], budgets) -> str:
    """Markdown: geometric mean of the ratio, rows won and the worst row; over all and by case and calls."""
    lines = ["| rows | ratio to the best of 24 | won | above 1.5 | worst |", "|---|--:|--:|--:|--:|"]
    groups = {"all": rows}
    groups |= {f"{n} calls": [r for r in rows if r["calls"] == n] for n in budgets}
    groups |= {name: [r for r in rows if r["case"] == name] for name in dict.fromkeys(r["case"] for r in rows)}
    for name, group in groups.items():
        ratios = [r["ratio"] for r in group]
        if ratios:
            counts = f"{sum(r < 1 for r in ratios)} of {len(ratios)} | {sum(r > 1.5 for r in ratios)}"
            lines.append(f"| {name} | {statistics.geometric_mean(ratios):.2f} | {counts} | {max(ratios):.2f} |")
    return "\n".join(lines)


def table(rows: list[dict]) -> str:
    """Markdown: every row."""
    lines = ["| case | grid | calls | exp_res | best of the host | | ratio |", "|---|---|--:|---|---|---|--:|"]
    for r in rows:
        ours, bests = _text(r["ours"]), _text(r["bests"])
        lines.append(f"| {r['case']} | {r['grid']} | {r['calls']} | {ours} | {r['best']} | {bests} | {r['ratio']:.2f} |")
    return "\n".join(lines)


def deterministic(module, budgets, batch: int) -> str:
    """The report on exp_res."""
    rows = []
    for case in cases(module, batch):
        for name, grid in grids(case).items():
            rows += [row(case, name, grid, budget) for budget in budgets]
        print(f"  {case.name} done", file=sys.stderr, flush=True)
    uniform = [r for r in rows if r["grid"] == "uniform sigma"]
    limited = [r for r in rows if r["limited"] and r not in uniform]
    counted = [r for r in rows if r not in limited and r not in uniform]
    lost = sorted((r for r in counted if r["ratio"] > 1.0), key=lambda r: -r["ratio"])
    return "\n\n".join(
        [
            f"## exp_res against the best of the host, row by row\n\n{summary(counted, budgets)}",
            f"### Lost rows, and to whom\n\n{table(lost)}",
            f"### Rows won\n\n{table([r for r in counted if r['ratio'] <= 1.0])}",
            f"### Apart: rows limited by the grid's last step\n\n{summary(limited, budgets)}\n\n{table(limited)}",
            f"### Apart: the grid uniform in sigma\n\n{summary(uniform, budgets)}\n\n{table(uniform)}",
        ]
    )


def sde(module, budgets, batch: int) -> str:
    """The report on exp_res_sde: distance to a very fine run on the same noise path, at eta 1."""
    suite = [case for case in cases(module, batch) if isinstance(case, MixtureCase)]
    found = {case.name: stochastic.distances(case, 1.0, budgets, SEED) for case in suite}
    names = (STOCHASTIC, *stochastic.THEIRS)
    lines = ["| case | calls | " + " | ".join(names) + " |", "|---|--:|" + "---|" * len(names)]
    ratios: dict[tuple[str, int], list[float]] = {}
    for case, distances in found.items():
        for budget in budgets:
            cells = [distances.get((name, budget)) for name in names]
            lines.append(f"| {case} | {budget} | " + " | ".join("" if c is None else _text(_quartiles(c)) for c in cells) + " |")
            for name, cell in zip(names[1:], cells[1:]):
                if cell is not None:
                    ratios.setdefault((name, budget), []).append(float(cells[0].median() / cell.median()))
    head = ["| exp_res_sde against |" + "".join(f" {n} calls |" for n in budgets), "|---|" + "--:|" * len(budgets)]
    for name in names[1:]:
        means = [f"{statistics.geometric_mean(ratios[name, n]):.2f}" if (name, n) in ratios else "" for n in budgets]
        head.append(f"| {name} | " + " | ".join(means) + " |")
    return "## exp_res_sde on one noise path, eta 1\n\n" + "\n".join(head) + "\n\n" + "\n".join(lines)


def main() -> None:
    """Print the report, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="6 and 20 calls, few items")
    parser.add_argument("--markdown", help="write the report to this file")
    options = parser.parse_args()
    module = host.load()
    torch.set_num_threads(1)
    batch, budgets = (8, (6, 20)) if options.quick else (32, BUDGETS)
    parts = [deterministic(module, budgets, batch), sde(module, budgets if options.quick else SDE_BUDGETS, batch)]
    about = "# The recommended samplers on unseen cases\n\n" + "\n\n".join(p for p in __doc__.split("\n\n")[2:])
    text = "\n\n".join([about.strip(), *parts]) + "\n"
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            file.write(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
