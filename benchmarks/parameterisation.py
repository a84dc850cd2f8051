"""The measurements behind exp_res: what is interpolated, in which variable, at which order, and how the last step is taken.

    .host/venv/bin/python -m benchmarks.parameterisation > docs/parameterisation.md    # about five minutes

Every number is the geometric mean of the median defect over that of dpmpp_2m in the same row (below 1 is better): exact
mixtures and trained networks with and without guidance, three or four grids each, 6, 10 and 20 calls.
"""

import statistics
import sys

import torch

from . import host
from .cases import at_most, grids, network_cases, standard_cases

CALLS = (6, 10, 20)


def rows(module, batch: int = 32) -> list:
    """(is a network, case, grid name, grid, calls)."""
    found = []
    for case in (*standard_cases(module, batch), *network_cases(batch)):
        for name, grid in grids(case).items():
            if name != "uniform sigma":
                found += [(case.name.startswith(("sd3", "unet")), case, name, grid, calls) for calls in CALLS]
    return found


def measure(sampler, rows) -> list[float]:
    """Median defect of every row."""
    return [float(case.defect(at_most(case, sampler, grid, calls)[0]).median()) for _, case, _, grid, calls in rows]


def forms(pack) -> dict[str, dict]:
    """Table title -> {label: sampler}."""
    import comfy.samplers

    def multistep(**options):
        return comfy.samplers.KSAMPLER(pack.for_host(pack.Sampler(pack.res.sample_res_multistep, pack.res.FLOW)), options)

    def alpha(order=4, scale=pack.res.DATA_SCALE, power=pack.res.POWER, **options):
        return multistep(order=order, corrector=True, interpolation="alpha", data_scale=scale, power=power, **options)

    corrector = {f"RES-{k}M{'C' if c else ''}": multistep(order=k, corrector=c) for k in (1, 2, 3) for c in (False, True)}
    corrector |= {f"alpha, order {k}, no corrector": multistep(order=k, interpolation="alpha") for k in (2, 4)}
    variable = {
        f"scale {scale:g}, power {power:g}, order {order}": alpha(order, scale, power)
        for scale, power in (
            (1.0, 2.0),
            (1.5, 2.0),
            (3.0, 2.0),
            (6.0, 2.0),
            (2.0, 1.5),
            (4.0, 1.5),
            (6.0, 1.5),
            (12.0, 1.5),
            (6.0, 1.0),
        )
        for order in (2, 3, 4)
    }
    share = {f"eps_share {value:g}": alpha(eps_share=value) for value in (0.0, 0.2, pack.res.EPS_SHARE, 0.5, 0.75, 1.0)}
    last = {
        f"RES-{k}MC, {name}": multistep(order=k, corrector=True, last_step=name)
        for k in (2, 3)
        for name in ("denoised", "extrapolated")
    }
    return {
        "The free corrector": corrector,
        "The variable of interpolation, with corrector": variable,
        "D or eps, order 4 with corrector, scale 6, power 1.5": share,
        "The last step": last,
    }


def table(samplers: dict, rows, baseline) -> str:
    """Markdown, one line a sampler."""
    lines = ["| form | mixtures | networks | 6 calls | 10 calls | 20 calls | worst row |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name, sampler in samplers.items():
        ratios = [defect / base for defect, base in zip(measure(sampler, rows), baseline)]
        keys = [[not row[0] for row in rows], [row[0] for row in rows], *([row[4] == n for row in rows] for n in CALLS)]
        means = [statistics.geometric_mean(r for r, mine in zip(ratios, key) if mine) for key in keys]
        lines.append(f"| {name} | {' | '.join(f'{m:.2f}' for m in (*means, max(ratios)))} |")
        print(f"  {name} done", file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    """Print the tables as Markdown."""
    module = host.load()
    torch.set_num_threads(1)
    pack = sys.modules[module.__name__.replace("digits_model", "registry")]
    pack.res = sys.modules[pack.SAMPLERS["exp_res"].sample.__module__]
    problems = rows(module)
    baseline = measure(host.sampler("dpmpp_2m"), problems)
    print("# What exp_res was chosen by\n\n" + __doc__.split("\n\n")[-1])
    for title, samplers in forms(pack).items():
        print(f"## {title}\n\n{table(samplers, problems, baseline)}\n", flush=True)


if __name__ == "__main__":
    main()
