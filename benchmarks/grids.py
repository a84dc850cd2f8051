"""Which grid with which sampler: exp_res on the pack's schedulers, and every sampler of the host on every scheduler of the host.

    .host/venv/bin/python -m benchmarks.grids > docs/grids.md    # some twenty minutes

On the digits and the trained networks, with and without guidance, with seeds that had no part in choosing anything. Numbers are
geometric means of the median defect (relative distance to the converged solution) over the cases of a kind of model. A row's
ratio is that of exp_res on the grid to the best of the host's pairs of sampler and scheduler *for each case by itself*.
"""

import statistics
import sys

import torch

from . import host
from .cases import at_most, network_cases, standard_cases

SEED, BATCH, BUDGETS = 2000, 16, (6, 8, 10, 15, 20)
OURS = ("logsnr_arctan", "logsnr_uniform", "logsnr_power")
THEIRS = ("karras", "exponential", "kl_optimal", "beta", "normal", "simple", "sgm_uniform", "linear_quadratic")


def defects(cases, samplers, schedulers) -> dict:
    """(case name, sampler, scheduler, calls) -> median defect."""
    import comfy.samplers

    found = {}
    for case in cases:
        for scheduler in schedulers:

            def grid(n, case=case, scheduler=scheduler):
                return comfy.samplers.calculate_sigmas(case.model_sampling, scheduler, n)

            for name in samplers:
                for calls in BUDGETS:
                    run = at_most(case, host.sampler(name), grid, calls)
                    if run is not None and run[0].isfinite().all():
                        found[case.name, name, scheduler, calls] = float(case.defect(run[0]).median())
        print(f"  {case.name} done", file=sys.stderr, flush=True)
    return found


def table(cases: list[str], ours: dict, theirs: dict) -> str:
    """Markdown: exp_res on each scheduler, then the five best pairs of the host, by calls."""
    head = ["sampler", "scheduler", *(f"{n} calls" for n in BUDGETS), "ratio"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "--:|" * (len(BUDGETS) + 1)]
    best = {(case, n): min(v for (c, _, _, m), v in theirs.items() if (c, m) == (case, n)) for case in cases for n in BUDGETS}

    def row(found, name, scheduler):
        means = [statistics.geometric_mean(found[case, name, scheduler, n] for case in cases) for n in BUDGETS]
        ratio = statistics.geometric_mean(found[case, name, scheduler, n] / best[case, n] for case in cases for n in BUDGETS)
        return ratio, f"| {name} | {scheduler} | " + " | ".join(f"{m:.4f}" for m in means) + f" | {ratio:.2f} |"

    lines += [row(ours, "exp_res", scheduler)[1] for scheduler in (*OURS, *THEIRS)]
    pairs = [
        (name, scheduler)
        for name, scheduler in dict.fromkeys(key[1:3] for key in theirs)
        if all((case, name, scheduler, n) in theirs for case in cases for n in BUDGETS)
    ]
    return "\n".join([*lines, *(line for _, line in sorted(row(theirs, *pair) for pair in pairs)[:5])])


def main() -> None:
    """Print the tables as Markdown."""
    module = host.load()
    torch.set_num_threads(1)
    cases = [case for case in standard_cases(module, BATCH, SEED) if case.name.startswith("digits")] + network_cases(BATCH, SEED)
    ours = defects(cases, ("exp_res",), (*OURS, *THEIRS))
    theirs = defects(cases, host.DETERMINISTIC, THEIRS)
    print("# Grids\n\n" + "\n\n".join(__doc__.split("\n\n")[2:]).strip())
    for kind in ("eps", "flow"):
        print(f"\n## {kind} models\n\n{table([case.name for case in cases if case.kind == kind], ours, theirs)}")


if __name__ == "__main__":
    main()
