"""The RES paper's claims (arXiv 2308.02157) on the pack's own models, with confidence intervals over seeds.

    .host/venv/bin/python -m benchmarks.paper --markdown docs/results.md    # and docs/results_*.png; ten minutes, --quick: one

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
every sampler on more grids and calls: [defects.md](defects.md).
"""

import argparse
import re
import sys
import time
from pathlib import Path

import torch

from . import host, paper_conditions, paper_defects, paper_noise, paper_quality, paper_velocity
from .paper_bench import QUICK, Bench, Size
from .paper_claims import table

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
    return "## In short\n\nSentences below, by their verdicts:\n\n" + table(["", *VERDICTS], rows)


def report(bench: Bench, folder: Path, wanted: str = "") -> str:
    """Markdown; prints every section as it is ready, and writes the figures into the folder."""
    size = bench.size
    head = __doc__.format(seeds=size.seeds, items=size.items, network=size.network_items).strip().split("\n\n")
    parts = []
    for name, section in SECTIONS.items():
        if name in (wanted or SECTIONS):
            began = time.perf_counter()
            parts.append(section(bench, folder))
            print(parts[-1], flush=True)
            print(f"  ({name}) {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return "\n\n".join(part.rstrip() for part in ["# The paper's claims", *head, in_short(parts), *parts]) + "\n"


def main() -> None:
    """Print the sections, and write the report on demand."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds of few items and calls, to see that it runs")
    parser.add_argument("--claims", default="", help="letters of the claims to measure; all without")
    parser.add_argument("--markdown", type=Path, help="file for the report; its figures go beside it")
    options = parser.parse_args()
    module = host.load()
    torch.set_num_threads(1)
    folder = (options.markdown or Path("output/results.md")).parent
    folder.mkdir(parents=True, exist_ok=True)
    text = report(Bench(module, QUICK if options.quick else Size()), folder, options.claims)
    if options.markdown:
        options.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
