"""Numerical defects of our samplers and the host's deterministic ones, at equal model calls, on the same noise.

    .host/venv/bin/python -m benchmarks.defects [--quick] [--csv FILE] [--markdown FILE]

The defect is the median over items of the relative distance to the converged solution. All runs go through
the host's own sampling in this process; calls are counted at the model. A sampler that cannot use the budget
exactly takes the most steps that fit.
"""

import argparse
import csv
import statistics
import sys

import torch

from . import host
from .cases import at_most, grids, network_cases, standard_cases, width_cases

OURS = ("exp_res", "exp_res_2m", "exp_res_3m", "exp_res_2mc", "exp_res_3mc", "exp_res_2s", "exp_res_3s", *host.NODE_FORMS)
IN_README = ("exp_res", "exp_res_2mc", "exp_res_2m", "exp_res_3s", "dpmpp_2m")
IN_FULL = (*OURS, "dpmpp_2m", "dpmpp_2s (eta 0)")
BUDGETS = (6, 8, 10, 15, 20)
HEADLINE = ("exp_res_2s", "dpmpp_2s (eta 0)")  # the RES paper's, at 9 calls: four steps of two and a last one


def measure(cases, budgets=BUDGETS, names=(*OURS, *host.DETERMINISTIC)) -> list[dict]:
    """One row per case, grid, budget and sampler."""
    rows = []
    for case in cases:
        for grid_name, grid in grids(case).items():
            for budget in budgets:
                for name in names:
                    found = at_most(case, host.sampler(name), grid, budget)
                    if found is None:
                        continue
                    row = {"case": case.name, "grid": grid_name, "budget": budget, "sampler": name, "calls": found[1]}
                    rows.append({**row, **quartiles(case.defect(found[0]))})
            print(f"  {case.name}, {grid_name} done", file=sys.stderr, flush=True)
    return rows


def quartiles(defect: torch.Tensor) -> dict[str, float]:
    """Of the defects of a case's items."""
    return {name: float(defect.quantile(q)) for name, q in (("q25", 0.25), ("median", 0.5), ("q75", 0.75))}


def table(rows: list[dict], shown, budgets, grid_names=None) -> str:
    """Markdown: some samplers and the best of the host, per case, grid and budget; the least of a row is bold."""
    header = ["case", "grid", "calls", *(s.removesuffix(" (eta 0)") for s in shown), "best of the host"]
    lines = ["| " + " | ".join(header) + " |", "|---|---|--:|" + "--:|" * len(shown) + "---|"]
    for (case, grid, budget), cell in _cells(rows).items():
        if budget not in budgets or (grid_names and grid not in grid_names):
            continue
        best = min((name for name in cell if name in host.DETERMINISTIC), key=cell.get)
        least = min(cell[name] for name in (*shown, best))
        values = [_bold(f"{cell[s]:.4f}", cell[s] == least) for s in shown]
        last = f"{best} {_bold(f'{cell[best]:.4f}', cell[best] == least)}"
        lines.append(f"| {case} | {grid} | {budget} | {' | '.join(values)} | {last} |")
    return "\n".join(lines)


def _cells(rows: list[dict]) -> dict:
    """(case, grid, budget) -> {sampler: median defect}."""
    cells: dict = {}
    for r in rows:
        cells.setdefault((r["case"], r["grid"], r["budget"]), {})[r["sampler"]] = r["median"]
    return cells


def _bold(text: str, yes: bool) -> str:
    return f"**{text}**" if yes else text


def summary(rows: list[dict], against=("dpmpp_2m", None), budgets=BUDGETS) -> str:
    """Markdown: each of our samplers against DPM-Solver++(2M) and against the best of the host in each row.

    Geometric mean of the ratio of defects (below 1 ours wins) and rows won, over all cases and budgets, on the grids
    whose last step does not limit every sampler (not: simple, uniform sigma).
    """
    cells = [c for (_, grid, budget), c in _cells(rows).items() if budget in budgets and grid not in ("simple", "uniform sigma")]
    lines = ["| sampler | against dpmpp_2m | rows won | against the best of the host | rows won |", "|---|--:|--:|--:|--:|"]
    for name in OURS:
        text = []
        for other in against:
            ratios = [
                c[name] / (c[other] if other else min(c[n] for n in host.DETERMINISTIC if n in c)) for c in cells if name in c
            ]
            text += [f"{statistics.geometric_mean(ratios):.2f}", f"{sum(r < 1 for r in ratios)} of {len(ratios)}"]
        lines.append(f"| {name} | {' | '.join(text)} |")
    return "\n".join(lines)


def medians(case, grid, calls: int, samplers) -> list[float]:
    """Of the defects of a case's items, one a sampler, at equal calls."""
    return [float(case.defect(at_most(case, sampler, grid, calls)[0]).median()) for sampler in samplers]


def headline(module, batch: int = 64, calls: int = 9) -> str:
    """RES-2S over DPM-Solver++(2S), the paper's headline comparison, for data from sharp to smooth."""
    lines = ["| case | karras | logsnr_uniform |", "|---|--:|--:|"]
    ratios: dict[tuple[str, str], list[float]] = {}
    standard: list[float] = []
    for case in width_cases(module, batch=batch):
        row = []
        for grid_name in ("karras", "logsnr_uniform"):
            res, dpm = medians(case, grids(case)[grid_name], calls, map(host.sampler, HEADLINE))
            row.append(res / dpm)
        standard += row if case.name.startswith(("ring of width 0.2", "digits of width 0.1")) else []
        ratios.setdefault((case.name.split()[0], f"CFG {case.cfg:g}"), []).extend(row)
        lines.append(f"| {case.name} | {row[0]:.2f} | {row[1]:.2f} |")
    every = [ratio for group in ratios.values() for ratio in group]
    groups = ", ".join(f"{data} {cfg}: {statistics.median(group):.2f}" for (data, cfg), group in ratios.items())
    lines.append(f"\nMedian of all {len(every)}: {statistics.median(every):.2f} ({groups}).")
    lines.append(f"Of the eight with the standard widths (ring 0.2, digits 0.1): {statistics.median(standard):.2f}.")
    return "\n".join(lines)


def flow_times(module, budgets=(7, 10, 13, 20), batch: int = 64) -> str:
    """Markdown: each of our samplers on flow in its two time variables; geometric mean of the medians."""
    import comfy.samplers

    registry = sys.modules[module.__name__.replace("digits_model", "registry")]
    # the pack's own time maps, as the host imported them
    times = {"logsnr": registry.SAMPLERS["exp_res_2m"].flow_time, "log_sigma": registry.SAMPLERS["exp_res_2s"].flow_time}
    cases = [case for case in standard_cases(module, batch) if case.kind == "flow"]  # once: their solutions are what takes long
    lines = ["| sampler | logsnr | log_sigma | auto |", "|---|--:|--:|---|"]
    for name in [name for name in OURS if name in registry.SAMPLERS]:
        registered, means = registry.SAMPLERS[name], {}
        for label, time in times.items():
            sampler = comfy.samplers.KSAMPLER(registry.for_host(registered._replace(flow_time=time)))
            found = [
                medians(case, grid, budget, [sampler])[0] for case in cases for grid in grids(case).values() for budget in budgets
            ]
            means[label] = statistics.geometric_mean(found)
        chosen = next(label for label, time in times.items() if time is registered.flow_time)
        lines.append(f"| `{name}` | {means['logsnr']:.4f} | {means['log_sigma']:.4f} | {chosen} |")
    return "\n".join(lines)


def report(module, rows: list[dict], batch: int) -> str:
    """docs/defects.md."""
    parts = [
        "# Numerical defects",
        "Generated by `.host/venv/bin/python -m benchmarks.defects --markdown docs/defects.md`.",
        "Median relative distance to the converged solution over 64 items, equal model calls counted at the model, the same "
        "noise, one process, through ComfyUI's own sampling. *ring*: 12 Gaussians of width 0.2 in the plane; *digits*: the "
        "embedded model, width 0.1; flow models have shift 3; *unet* and *sd3*: the networks of `training/`, 32 items. "
        "*VP alpha 4, corrector*: RES Multistep of order 4 in alpha with data_scale 1.5 and power 2. "
        "Of the host's samplers those marked (eta 0) or (ODE) are run with options that make them "
        "deterministic, by SamplerCustom nodes or code, not by their KSampler names.",
        "## In short\n\n" + summary.__doc__.strip().replace("\n    ", "\n"),
        summary(rows),
        "## Every row",
        table(rows, IN_FULL, BUDGETS),
        "## RES-2S / DPM-Solver++(2S) at 9 calls",
        headline(module, batch),
        "## Time variable on flow",
        "Geometric mean of the defect over the flow cases and grids and 7 to 20 calls.",
        flow_times(module, batch=batch),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Print the README's table and the summary; write every row to a file on demand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="16 items and three budgets, in two minutes")
    parser.add_argument("--csv", help="file for every number")
    parser.add_argument("--markdown", help="file for the whole report")
    options = parser.parse_args()
    module = host.load()
    torch.set_num_threads(1)  # latents this small run slower on more
    batch = 16 if options.quick else 64
    cases = (*standard_cases(module, batch), *network_cases(batch // 2))
    rows = measure(cases, (8, 10, 20) if options.quick else BUDGETS)
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    print(table(rows, IN_README, (10, 20), ("karras", "logsnr_uniform", "kl_optimal")) + "\n\n" + summary(rows))
    if options.markdown:
        with open(options.markdown, "w") as file:
            file.write(report(module, rows, batch))


if __name__ == "__main__":
    main()
