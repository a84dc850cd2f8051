"""Numerical defects of our samplers and the host's deterministic ones, at equal model calls, on the same noise.

The defect is the median over items of the relative distance to the converged solution. All runs go through
the host's own sampling in this process; calls are counted at the model. A sampler that cannot use the budget
exactly takes the most steps that fit.
"""

import statistics

import torch

from . import host, pages
from .cases import CONVERGING, ROUGH, at_most, grids, network_cases, standard_cases, width_cases
from .defects_figure import draw

PAGE, PARTS, MINUTES = "docs/defects.md", ("table", "summary", "headline", "flow_times"), 15
OURS = ("exp_res", "exp_res_2m", "exp_res_3m", "exp_res_2mc", "exp_res_3mc", "exp_res_2s", "exp_res_3s", *host.NODE_FORMS)
SHORT = ("exp_res", "exp_res_2mc", "exp_res_2m", "exp_res_3s", "dpmpp_2m")
IN_FULL = (*OURS, "dpmpp_2m", "dpmpp_2s (eta 0)")
BUDGETS, FLOW_BUDGETS = (6, 8, 10, 15, 20), (7, 10, 13, 20)
ABOUT_SUMMARY = """Each of our samplers against DPM-Solver++(2M) and against the best of the host in each row: geometric mean
of the ratio of defects (below 1 ours wins) and rows won, over all cases and budgets, on the grids whose last step does not limit
every sampler (not: simple, uniform sigma)."""
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
            pages.say(f"{case.name}, {grid_name} done")
    return rows


def quartiles(defect: torch.Tensor) -> dict[str, float]:
    """Of the defects of a case's items."""
    return {name: float(defect.quantile(q)) for name, q in (("q25", 0.25), ("median", 0.5), ("q75", 0.75))}


def table(rows: list[dict], shown, budgets, grid_names=None) -> str:
    """Markdown: some samplers and the best of the host, per case, grid and budget; the least of a row is bold."""
    lines = []
    for (case, grid, budget), cell in _cells(rows).items():
        if budget not in budgets or (grid_names and grid not in grid_names):
            continue
        best = min((name for name in cell if name in host.DETERMINISTIC), key=cell.get)
        least = min(cell[name] for name in (*shown, best))
        values = [pages.bold(f"{cell[name]:.4f}", cell[name] == least) for name in (*shown, best)]
        lines.append([case, grid, str(budget), *values[:-1], f"{best} {values[-1]}"])
    head = ["case", "grid", "calls", *(name.removesuffix(" (eta 0)") for name in shown), "best of the host"]
    return pages.table(head, lines, (0, 1, len(head) - 1))


def _cells(rows: list[dict]) -> dict:
    """(case, grid, budget) -> {sampler: median defect}."""
    cells: dict = {}
    for r in rows:
        cells.setdefault((r["case"], r["grid"], r["budget"]), {})[r["sampler"]] = r["median"]
    return cells


def summary(rows: list[dict]) -> str:
    """Markdown: each of our samplers against DPM-Solver++(2M) and against the best of the host; see ABOUT_SUMMARY."""
    cells = [cell for (_, grid, _), cell in _cells(rows).items() if grid not in ("simple", "uniform sigma")]
    lines = []
    for name in OURS:
        texts = []
        for others in (("dpmpp_2m",), host.DETERMINISTIC):
            ratios = [cell[name] / min(cell[other] for other in others if other in cell) for cell in cells if name in cell]
            texts += [f"{statistics.geometric_mean(ratios):.2f}", f"{sum(r < 1 for r in ratios)} of {len(ratios)}"]
        lines.append([name, *texts])
    head = ["sampler", "against dpmpp_2m", "rows won", "against the best of the host", "rows won"]
    return pages.table(head, lines)


def medians(case, grid, calls: int, samplers) -> list[float]:
    """Of the defects of a case's items, one a sampler, at equal calls."""
    return [float(case.defect(at_most(case, sampler, grid, calls)[0]).median()) for sampler in samplers]


def headline(batch: int, converging: int, calls: int = 9) -> str:
    """RES-2S over DPM-Solver++(2S), the paper's headline comparison, for data from sharp to smooth."""
    rows = []
    ratios: dict[tuple[str, str], list[float]] = {}
    standard: list[float] = []
    for case in width_cases(batch=batch, converging=converging):
        row = []
        for grid_name in ("karras", "logsnr_uniform"):
            res, dpm = medians(case, grids(case)[grid_name], calls, map(host.sampler, HEADLINE))
            row.append(res / dpm)
        standard += row if case.name.startswith(("ring of width 0.2", "digits of width 0.1")) else []
        ratios.setdefault((case.name.split()[0], f"CFG {case.cfg:g}"), []).extend(row)
        rows.append([case.name, *(f"{ratio:.2f}" for ratio in row)])
    every = [ratio for group in ratios.values() for ratio in group]
    groups = ", ".join(f"{data} {cfg}: {statistics.median(group):.2f}" for (data, cfg), group in ratios.items())
    return "\n".join(
        [
            pages.table(["case", "karras", "logsnr_uniform"], rows),
            f"\nMedian of all {len(every)}: {statistics.median(every):.2f} ({groups}).",
            f"Of the eight with the standard widths (ring 0.2, digits 0.1): {statistics.median(standard):.2f}.",
        ]
    )


def flow_times(batch: int, converging: int, budgets) -> str:
    """Markdown: each of our samplers on flow in its two time variables; geometric mean of the medians."""
    registry = host.pack("registry")
    import comfy.samplers

    # the pack's own time maps, as the host imported them
    times = {"logsnr": registry.SAMPLERS["exp_res_2m"].flow_time, "log_sigma": registry.SAMPLERS["exp_res_2s"].flow_time}
    # once: their solutions are what takes long
    cases = [case for case in standard_cases(batch, converging=converging) if case.kind == "flow"]
    rows = []
    for name in [name for name in OURS if name in registry.SAMPLERS]:
        registered, cells = registry.SAMPLERS[name], []
        for time in times.values():
            sampler = comfy.samplers.KSAMPLER(registry.for_host(registered._replace(flow_time=time)))
            found = [
                medians(case, grid, budget, [sampler])[0] for case in cases for grid in grids(case).values() for budget in budgets
            ]
            cells.append(f"{statistics.geometric_mean(found):.4f}")
        chosen = next(label for label, time in times.items() if time is registered.flow_time)
        rows.append([f"`{name}`", *cells, chosen])
    return pages.table(["sampler", *times, "auto"], rows, (0, 3))


def report(quick: bool = False) -> pages.Report:
    """docs/defects.md, and its picture in OUTPUT."""
    host.load()
    batch, budgets, converging = (4, (10,), ROUGH) if quick else (64, BUDGETS, CONVERGING)
    options = {"batch": batch, "converging": converging}
    rows = measure((*standard_cases(**options), *network_cases(batch // 2, converging=converging)), budgets)
    parts = {
        "table": table(rows, SHORT, (10, 20), ("karras", "logsnr_uniform", "kl_optimal")),
        "summary": summary(rows),
        "headline": headline(**options),
        "flow_times": flow_times(**options, budgets=(7,) if quick else FLOW_BUDGETS),
    }
    draw(rows, pages.OUTPUT / "defects.png")
    about = (
        "Median relative distance to the converged solution over 64 items, equal model calls counted at the model, the same "
        "noise, one process, through ComfyUI's own sampling. *ring*: 12 Gaussians of width 0.2 in the plane; *digits*: the "
        "embedded model, width 0.1; flow models have shift 3; *unet* and *sd3*: the networks of `training/`, 32 items. "
        "*Multistep 4, VP alpha*: RES Multistep of order 4 in alpha with data_scale 1.5 and power 2. "
        "Of the host's samplers those marked (eta 0) or (ODE) are run with options that make them "
        "deterministic, by SamplerCustom nodes or code, not by their KSampler names."
    )
    sections = [
        about,
        "![exp_res and the host's samplers over model calls](defects.png)",
        f"## In short\n\n{ABOUT_SUMMARY}",
        parts["summary"],
        "At 10 and 20 calls, on the grids that most users sample on:",
        parts["table"],
        "## Every row",
        table(rows, IN_FULL, BUDGETS),
        "## RES-2S / DPM-Solver++(2S) at 9 calls",
        parts["headline"],
        "## Time variable on flow",
        "Geometric mean of the defect over the flow cases and grids and 7 to 20 calls.",
        parts["flow_times"],
    ]
    return {"": pages.page("defects", "Numerical defects", *sections), **parts}
