"""The RES paper's claims (arXiv 2308.02157) on the pack's own models, with confidence intervals over seeds.

Models of the host: *ring* (12 Gaussians of width 0.2 in the plane) and *digits* (the embedded mixture, width 0.1), whose
denoisers are exact, as eps and as flow model, with CFG 5 (flow: 4) and without; *unet* and *sd3*, the trained networks of
`training/`, eps and flow, with CFG 3 and without. All samplers go through ComfyUI's own sampling in one process, on the same
noise, at equal model calls counted at the model. Defect: median over items of the relative distance to the converged solution
from the same noise.

An interval, in square brackets or after ±, is a 95 % confidence interval by Student's t over {seeds} seeds, each a set of
{items} starting noises ({network} for a network); no bootstrap. Ratios are taken seed by seed and averaged as logarithms. A
claim holds where the interval of its mean ratio is below 1, does not hold where it is above, and is not decided where it
contains 1. Rows are counted by intervals of their own, each at 95 %, so that of twenty rows one may err. Intervals say what
other seeds would give, not what other models would. Every verdict is computed from its numbers.

What it cannot show: ImageNet, or any large network. Distillation, of which the paper also speaks, was not measured. Defects of
every sampler in more worlds: [worlds.md](worlds.md).
"""

import re
import time
from pathlib import Path

from benchmarks import host_samplers, pages

from . import paper_conditions, paper_defects, paper_noise, paper_quality, paper_velocity
from .paper_bench import QUICK, Bench, Size

PAGE, PARTS, MINUTES = "docs/results.md", ("short",), 10
SECTIONS = {
    "a": paper_defects.equal_calls,
    "b": paper_quality.defect_and_quality,
    "c": paper_defects.uniform_grid,
    "d": paper_quality.stochastic,
    "e": paper_velocity.section,
    "f": paper_conditions.section,
    "g": paper_noise.section,
}


# column -> how its verdicts begin
VERDICTS = {
    "holds": ("Holds", "Holds, by more than that", "Holds: within the interval"),
    "in the mean, not in every row": ("Holds in the mean, not in every row",),
    "not decided": ("Not decided",),
    "does not hold": ("Does not hold", "Does not hold: the reverse is true", "Not reached"),
    "reverse in the mean": ("Does not hold: the reverse is true in the mean",),
}


def in_short(sections: list[str]) -> str:
    """Markdown: how many sentences of each section hold."""
    rows = []
    for text in sections:
        found = re.findall(r"\*\*([A-Z][^*]*)\.\*\*", text)
        rows.append([text.partition("\n")[0].removeprefix("## "), *(str(sum(map(found.count, v))) for v in VERDICTS.values())])
    return pages.table(["", *VERDICTS], rows)


def document(bench: Bench, folder: Path, wanted: str = "") -> pages.Report:
    """The report on the claims of so many letters, on all without; writes the figures."""
    size, sections = bench.size, []
    for name in wanted or SECTIONS:
        began = time.perf_counter()
        sections.append(SECTIONS[name](bench, folder))
        pages.say(f"({name}) {time.perf_counter() - began:.0f} s")
    about = __doc__.format(seeds=size.seeds, items=size.items, network=size.network_items)
    short = in_short(sections)
    head = [about.partition("\n")[0], *pages.paragraphs(about), "## In short", "Sentences below, by their verdicts:", short]
    return {"": pages.page("studies paper", "The paper's claims", *head, *sections), "short": short}


def report(quick: bool = False) -> pages.Report:
    """docs/results.md."""
    host_samplers.load()
    return document(Bench(QUICK if quick else Size()), pages.OUTPUT)
