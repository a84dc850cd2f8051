"""The measurements behind exp_res: what is interpolated, in which variable, at which order, and how the last step is taken.

Every number is the geometric mean of the median defect over that of dpmpp_2m in the same row (below 1 is better): exact
mixtures and trained networks with and without guidance, three or four grids each, 6, 10 and 20 calls.
"""

import statistics
import sys

from . import host, pages
from .cases import ROUGH, at_most, grids, network_cases, standard_cases

PAGE, PARTS, MINUTES = "docs/parameterisation.md", ("corrector", "variable", "share", "last"), 5
CALLS = (6, 10, 20)


def rows(counts, *size) -> list:
    """(is a network, case, grid name, grid, calls); `size` is what `cases.standard_cases` takes."""
    found = []
    for case in (*standard_cases(*size), *network_cases(*size)):
        for name, grid in grids(case).items():
            if name != "uniform sigma":
                found += [(case.name.startswith(("sd3", "unet")), case, name, grid, calls) for calls in counts]
    return found


def measure(sampler, rows) -> list[float]:
    """Median defect of every row."""
    return [float(case.defect(at_most(case, sampler, grid, calls)[0]).median()) for _, case, _, grid, calls in rows]


def forms() -> dict[str, dict]:
    """Part of the report -> {label: sampler}."""
    registry = host.pack("registry")
    res = sys.modules[registry.SAMPLERS["exp_res"].sample.__module__]
    import comfy.samplers

    def multistep(**options):
        return comfy.samplers.KSAMPLER(registry.for_host(registry.Sampler(res.sample_res_multistep, res.FLOW)), options)

    def alpha(order=4, scale=res.DATA_SCALE, power=res.POWER, **options):
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
    share = {f"eps_share {value:g}": alpha(eps_share=value) for value in (0.0, 0.2, res.EPS_SHARE, 0.5, 0.75, 1.0)}
    last = {
        f"RES-{k}MC, {name}": multistep(order=k, corrector=True, last_step=name)
        for k in (2, 3)
        for name in ("denoised", "extrapolated")
    }
    return dict(zip(PARTS, (corrector, variable, share, last)))


def table(samplers: dict, rows, baseline) -> str:
    """Markdown, one line a sampler."""
    counts, lines = list(dict.fromkeys(row[4] for row in rows)), []
    keys = [[not row[0] for row in rows], [row[0] for row in rows], *([row[4] == n for row in rows] for n in counts)]
    for name, sampler in samplers.items():
        ratios = [defect / base for defect, base in zip(measure(sampler, rows), baseline)]
        means = [statistics.geometric_mean(r for r, mine in zip(ratios, key) if mine) for key in keys]
        lines.append([name, *(f"{mean:.2f}" for mean in (*means, max(ratios)))])
        pages.say(f"{name} done")
    return pages.table(["form", "mixtures", "networks", *(f"{n} calls" for n in counts), "worst row"], lines)


TITLES = {
    "corrector": "The free corrector",
    "variable": "The variable of interpolation, with corrector",
    "share": "D or eps, order 4 with corrector, scale 6, power 1.5",
    "last": "The last step",
}


def report(quick: bool = False) -> pages.Report:
    """docs/parameterisation.md."""
    host.load()
    problems = rows(CALLS[:1], 2, 0, ROUGH) if quick else rows(CALLS, 32)
    baseline = measure(host.sampler("dpmpp_2m"), problems)
    parts = {part: table(samplers, problems, baseline) for part, samplers in forms().items()}
    sections = (f"## {TITLES[part]}\n\n{text}" for part, text in parts.items())
    return {"": pages.page("parameterisation", "What exp_res was chosen by", *pages.paragraphs(__doc__), *sections), **parts}
