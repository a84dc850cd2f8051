"""Which grid with which sampler: exp_res on the pack's schedulers, and every sampler of the host on eight of its schedulers.

On the digits and the trained networks, with and without guidance, with seeds that had no part in choosing anything. Numbers are
geometric means of the median defect (relative distance to the converged solution) over the cases of a kind of model. A row's
ratio is that of exp_res on the grid to the best of the host's pairs of sampler and scheduler *for each case by itself*.
"""

import statistics

from . import host, pages
from .cases import ROUGH, at_most, network_cases, standard_cases

PAGE, PARTS, MINUTES = "docs/grids.md", ("eps", "flow"), 20
SEED, BATCH, BUDGETS = 2000, 16, (6, 8, 10, 15, 20)
OURS = ("logsnr_arctan", "logsnr_uniform", "logsnr_power")
THEIRS = ("karras", "exponential", "kl_optimal", "beta", "normal", "simple", "sgm_uniform", "linear_quadratic")


def defects(cases, samplers, schedulers, budgets=BUDGETS) -> dict:
    """(case name, sampler, scheduler, calls) -> median defect."""
    import comfy.samplers

    found = {}
    for case in cases:
        for scheduler in schedulers:

            def grid(n, case=case, scheduler=scheduler):
                return comfy.samplers.calculate_sigmas(case.model_sampling, scheduler, n)

            for name in samplers:
                for calls in budgets:
                    run = at_most(case, host.sampler(name), grid, calls)
                    if run is not None and run[0].isfinite().all():
                        found[case.name, name, scheduler, calls] = float(case.defect(run[0]).median())
        pages.say(f"{case.name} done")
    return found


def table(cases: list[str], ours: dict, theirs: dict) -> str:
    """Markdown: exp_res on each scheduler, then the five best pairs of the host, by calls."""
    budgets = list(dict.fromkeys(calls for *_, calls in ours))
    best = {(case, n): min(v for (c, _, _, m), v in theirs.items() if (c, m) == (case, n)) for case in cases for n in budgets}

    def row(found, name, scheduler):
        means = [statistics.geometric_mean(found[case, name, scheduler, n] for case in cases) for n in budgets]
        ratio = statistics.geometric_mean(found[case, name, scheduler, n] / best[case, n] for case in cases for n in budgets)
        return ratio, [name, scheduler, *(f"{mean:.4f}" for mean in means), f"{ratio:.2f}"]

    rows = [row(ours, "exp_res", scheduler)[1] for scheduler in dict.fromkeys(scheduler for _, _, scheduler, _ in ours)]
    pairs = [
        (name, scheduler)
        for name, scheduler in dict.fromkeys(key[1:3] for key in theirs)
        if all((case, name, scheduler, n) in theirs for case in cases for n in budgets)
    ]
    rows += [cells for _, cells in sorted(row(theirs, *pair) for pair in pairs)[:5]]
    return pages.table(["sampler", "scheduler", *(f"{n} calls" for n in budgets), "ratio"], rows, 2)


def report(quick: bool = False) -> pages.Report:
    """docs/grids.md."""
    host.load()
    size, budgets = ((2, SEED, ROUGH), (6,)) if quick else ((BATCH, SEED), BUDGETS)
    cases = [case for case in standard_cases(*size) if case.name.startswith("digits")] + network_cases(*size)
    ours = defects(cases, ("exp_res",), (*OURS, *THEIRS), budgets)
    theirs = defects(cases, *((("euler", "dpmpp_2m"), THEIRS[:2]) if quick else (host.DETERMINISTIC, THEIRS)), budgets)
    parts = {kind: table([case.name for case in cases if case.kind == kind], ours, theirs) for kind in PARTS}
    sections = (f"## {kind} models\n\n{text}" for kind, text in parts.items())
    return {"": pages.page("grids", "Grids", *pages.paragraphs(__doc__), *sections), **parts}
