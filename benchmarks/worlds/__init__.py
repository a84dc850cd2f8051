"""Samplers where users sample: photographs, latents, networks, image to image, distilled models; every grid, 4 to 30 calls.

A row is one case, one scheduler and one number of model calls. Every sampler starts from the same noise. A sampler that cannot
use exactly this number of calls takes the most steps that fit. The error is the median relative distance to the converged
solution. The *ratio* of a row is the sampler's error divided by the error of the best of ComfyUI's deterministic samplers in
this row; below 1 the sampler is better than all of them. ComfyUI's SDE samplers take part with their noise switched off. Errors
above 9, and runs that end in NaN, count as 9. No setting was chosen on these seeds. Tables count the rows with a ratio above
1.5, and the rows in which the error is above 1.1 times Euler's.

- *photo*: fifteen Gaussians with full covariances, fitted to 12x12 patches of photographs.
- *latent*: Gaussians with the spectrum of FLUX.2 latents of photographs, 64x64 and 128x128.
- *digits* and *ring*: isotropic mixtures. Like *photo* and *latent* they have a formula for the denoiser, so every error is the
  sampler's.
- *emoji_*: [small networks](networks.md): eps on Stable Diffusion's sigmas, eps on DDPM's linear betas, an early checkpoint of
  the latter, and flow.
- *image to image*: the last part of a schedule, from data of one class, with the prompt of that class or of another class.
- *distilled*: models for which Euler is exact on the grid that they were made for, in 4 or 8 steps (one of them on LTX's grid),
  and a model whose every output is a final image. On these models an error below half a percent counts as half a percent,
  because nobody sees it.

*Ring* is measured on every pair of a scheduler and a number of calls. The other worlds are measured on a part of the pairs:
*photo* and *digits* on half, *latent* on a quarter, the networks on an eighth and *image to image* on a fourteenth. A pair is
taken if the sum of its two positions and of the case's number is divisible by 2, 4, 8 or 14. Every world except *distilled*
therefore meets every scheduler of its kind of model and every number of calls, and every scheduler meets every number of calls.
One more sampler takes 87 seconds on one core (measured for `exp_res`, with the solutions known).
"""

import time

from .. import host_samplers, pages
from . import sde_worlds
from .bench import LEAST, Bench
from .scores import Row, comparison, errors, grouped, headline, rows_of, summary, table
from .world_cases import REPORT_SEED, cases, missing_networks
from .worlds_figure import draw

PAGE, PARTS, MINUTES = "docs/worlds.md", ("headline", "summary", "comparison", "stochastic", "distilled"), 40
RECOMMENDED = "exp_res"
OURS = ("exp_res", "exp_res_2m", "exp_res_3s", "exp_gddim")
_WORST = 30
_ON_DISTILLED = ("euler", RECOMMENDED, "exp_res_2m", "res_multistep", "er_sde (ODE)", "dpmpp_2m", "uni_pc")


def estimate(chosen, bench: Bench, samplers) -> float:
    """Estimated minutes for the rows, without the solutions: the model calls not yet on disk times the time of one call."""
    seconds = 0.0
    for case in chosen:
        calls = sum(bench.missing(case, scheduler, {*samplers, *bench.theirs}) for scheduler in case.grids)
        sigma = float(case.grid(case.grids[0], 4)[1])
        x = case.start(sigma)
        case.denoised(x, sigma)
        before = time.process_time()
        case.denoised(x, sigma)
        seconds += calls * (time.process_time() - before + 3e-4)
    return seconds / 60


def judged(chosen, samplers, bench: Bench | None = None) -> list[Row]:
    """Rows of samplers on cases; prints the expected time, and each case when it is done."""
    bench, rows = bench or Bench(), []
    missing = missing_networks()
    for name in missing:
        if any(case.world == name for case in chosen):
            pages.say(f"{name} is left out: its weights are not in training/weights. python -m training {name} makes them")
    chosen = [case for case in chosen if case.world not in missing]
    if not chosen:
        raise FileNotFoundError(f"no case is left without {', '.join(missing)}; python -m training makes them.")
    minutes = estimate(chosen, bench, samplers)
    pages.say(f"{len(chosen)} cases, about {minutes:.0f} minutes and the solutions that are not on the disk")
    for case in chosen:
        before = time.process_time()
        for scheduler in case.grids:
            rows += rows_of(bench, case, scheduler, samplers)
        pages.say(f"{case.name}: {time.process_time() - before:.0f} s")
    return rows


def _missed(bench: Bench) -> list[str]:
    """Markdown: the solutions that missed their tolerance; empty if there are none."""
    if not bench.missed:
        return []
    cells = [[name, f"{missed:.4f}"] for name, missed in sorted(bench.missed.items(), key=lambda item: -item[1])]
    text = (
        f"The solutions of {len(cells)} cases missed their tolerance of half a percent in some rows: doubling the steps still "
        f"moved the solutions by the amounts below. In such a row, errors smaller than {LEAST:g} times this amount count as "
        f"{LEAST:g} times this amount."
    )
    return ["## Solutions that are not exact", text, pages.table(["case", "moved by"], cells)]


def report(quick: bool = False) -> pages.Report:
    """docs/worlds.md, and its picture in OUTPUT."""
    host_samplers.load()
    chosen = cases(REPORT_SEED, ("ring",) if quick else ())
    for case in chosen if quick else ():
        case.grids, case.calls, case.tolerance = case.grids[:1], (6,), 1e-3
    bench = Bench()
    rows = judged(chosen, (*OURS, *host_samplers.DETERMINISTIC), bench)
    drawn = sde_worlds.rows(REPORT_SEED, ("ring",), (10,)) if quick else sde_worlds.rows(REPORT_SEED)
    mine = grouped(rows, lambda row: row.sampler)[RECOMMENDED]
    draw(mine, pages.OUTPUT / "worlds.png", f"{RECOMMENDED}: error over the best of ComfyUI's samplers in each row")
    missing = missing_networks()
    parts = {
        "headline": headline(rows, RECOMMENDED) + (f" Not in these numbers: {', '.join(missing)}." if missing else ""),
        "summary": summary(mine),
        "comparison": comparison(rows),
        "stochastic": comparison(drawn),
        "distilled": errors([row for row in rows if row.world == "distilled"], _ON_DISTILLED),
    }
    worst = sorted(mine, key=lambda row: -row.ratio)[:_WORST]
    sections = [
        parts["headline"],
        f"![{RECOMMENDED} by world, guidance and calls](worlds.png)",
        f"## `{RECOMMENDED}`",
        parts["summary"],
        "## Every sampler in the same rows",
        parts["comparison"],
        f"## The {len(worst)} worst rows of `{RECOMMENDED}`",
        table(worst),
        "## Errors on distilled models",
        parts["distilled"],
        *_missed(bench),
        "## SDE samplers",
        *pages.paragraphs(sde_worlds.__doc__),
        parts["stochastic"],
    ]
    return {"": pages.page("benchmarks worlds", "Samplers in many worlds", *pages.paragraphs(__doc__), *sections), **parts}
