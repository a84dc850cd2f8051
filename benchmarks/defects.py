"""Numerical defects of our samplers and the host's deterministic ones, at equal model calls, on the same noise.

    .host/venv/bin/python -m benchmarks.defects [--quick] [--csv FILE]

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
from .cases import at_most, grids, standard_cases, width_cases

OURS = ("exp_res_2m", "exp_res_3m", "exp_res_2s", "exp_res_3s")
BUDGETS = (5, 7, 9, 10, 15, 20, 30)


def measure(module, budgets=BUDGETS, names=(*OURS, *host.DETERMINISTIC), batch: int = 64) -> list[dict]:
    """One row per case, grid, budget and sampler."""
    rows = []
    for case in standard_cases(module, batch):
        for grid_name, grid in grids(case).items():
            for budget in budgets:
                for name in names:
                    found = at_most(case, host.sampler(name), grid, budget)
                    if found is None:
                        continue
                    defect = case.defect(found[0])
                    quartiles = [float(defect.quantile(q)) for q in (0.25, 0.5, 0.75)]
                    row = {"case": case.name, "grid": grid_name, "budget": budget, "sampler": name, "calls": found[1]}
                    rows.append({**row, "q25": quartiles[0], "median": quartiles[1], "q75": quartiles[2]})
            print(f"  {case.name}, {grid_name} done", file=sys.stderr, flush=True)
    return rows


def table(rows: list[dict], budgets=(10, 20)) -> str:
    """Markdown: our four, DPM-Solver++ and the best of the host, per case and grid."""
    shown = ("exp_res_2m", "exp_res_3m", "exp_res_2s", "exp_res_3s", "dpmpp_2m", "dpmpp_2s (eta 0)")
    lines = ["| case | grid | calls | " + " | ".join(s.removesuffix(" (eta 0)") for s in shown) + " | best of the host |"]
    lines.append("|---|---|--:|" + "--:|" * len(shown) + "---|")
    for case, grid in dict.fromkeys((r["case"], r["grid"]) for r in rows):
        for budget in budgets:
            cell = {r["sampler"]: r["median"] for r in rows if (r["case"], r["grid"], r["budget"]) == (case, grid, budget)}
            best = min((name for name in cell if name not in OURS), key=cell.get)
            least = min(cell.values())
            values = [f"**{cell[s]:.4f}**" if cell[s] == least else f"{cell[s]:.4f}" for s in shown]
            lines.append(f"| {case} | {grid} | {budget} | {' | '.join(values)} | {best} {cell[best]:.4f} |")
    return "\n".join(lines)


def headline(module, batch: int = 64, calls: int = 9) -> str:
    """RES-2S over DPM-Solver++(2S), the paper's headline comparison, for data from sharp to smooth."""
    lines = ["| case | karras | logsnr_uniform |", "|---|--:|--:|"]
    ratios = []
    for case in width_cases(module, batch=batch):
        row = []
        for grid_name in ("karras", "logsnr_uniform"):
            runs = [at_most(case, host.sampler(s), grids(case)[grid_name], calls)[0] for s in ("exp_res_2s", "dpmpp_2s (eta 0)")]
            res, dpm = (float(case.defect(samples).median()) for samples in runs)
            row.append(res / dpm)
        ratios += row
        lines.append(f"| {case.name} | {row[0]:.2f} | {row[1]:.2f} |")
    lines.append(f"\nMedian of the {len(ratios)}: {statistics.median(ratios):.2f}")
    return "\n".join(lines)


def flow_times(module, budgets=(7, 10, 13, 20), batch: int = 64) -> str:
    """Markdown: each of our samplers on flow in its two time variables; geometric mean of the medians."""
    import comfy.samplers

    from samplers.time_maps import FLOW, VE

    registry = sys.modules[module.__name__.replace("digits_model", "registry")]
    times = {"logsnr": registry.SAMPLERS["exp_res_2m"].flow_time, "log_sigma": registry.VE}
    assert (times["logsnr"].name, times["log_sigma"].name) == (FLOW.name, VE.name)
    lines = ["| sampler | logsnr | log_sigma | default |", "|---|--:|--:|---|"]
    for name in OURS:
        sample, default = registry.SAMPLERS[name]
        means = {}
        for label, time in times.items():
            sampler = comfy.samplers.KSAMPLER(registry.for_host(sample, time))
            medians = [
                float(case.defect(at_most(case, sampler, grid, budget)[0]).median())
                for case in standard_cases(module, batch) if case.kind == "flow"
                for grid in grids(case).values() for budget in budgets
            ]  # fmt: skip
            means[label] = statistics.geometric_mean(medians)
        chosen = next(label for label, time in times.items() if time is default)
        lines.append(f"| `{name}` | {means['logsnr']:.4f} | {means['log_sigma']:.4f} | {chosen} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables; write every number to a CSV file on demand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="16 items and three budgets, in a minute")
    parser.add_argument("--csv", help="file for every number")
    options = parser.parse_args()
    module = host.load()
    torch.set_num_threads(1)  # latents this small run slower on more
    batch = 16 if options.quick else 64
    rows = measure(module, (9, 10, 20) if options.quick else BUDGETS, batch=batch)
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    print("Median relative defect\n\n" + table(rows))
    print("\nRES-2S / DPM-Solver++(2S) at 9 calls\n\n" + headline(module, batch))
    print("\nTime variable on flow, geometric mean of the defect over cases, grids and 7 to 20 calls\n")
    print(flow_times(module, batch=batch))


if __name__ == "__main__":
    main()
