"""Claims (b) and (d): whether a smaller defect makes better samples, and stochastic RES against EDM's Heun."""

import torch

from benchmarks.cases import Case, MixtureCase, grids
from benchmarks.pages import table

from . import paper_figures
from .gddim_metrics import HeldData, median_distance
from .paper_bench import HEADLINE, LABELS, Bench, at_calls, pixels
from .paper_claims import Comparison, against_published, concordance, decided, rank_correlation, rising, spaced

METHODS = ("euler", "dpmpp_2s (eta 0)", "exp_res_2s", "dpmpp_2m", "exp_res_2m", "exp_res")
MODELS = ("digits", "sd3")
PUBLISHED_FID = 12.51 / 16.77
CHURNS = (2.0, 8.0)
CHURNED = ("heun", "exp_res_2s", "exp_res_2m", "exp_res")
_GRID, _EDM_GRID = "logsnr_uniform", "karras"
_NOISE_SEED = 90_000
_B = """Published: smaller numerical defects go with better samples; at 9 calls the FID of single-step RES is 12.51 where
DPM-Solver++(2S) has 16.77. Here the Frechet distance of {judged} digits a seed to {held:,} draws of the data, as in
[gddim_results.md](gddim_results.md). It has a floor, the distance of as many draws of the data, and is biased upwards by the
finite number: a sampler that makes digits too much alike can get below the floor. The pixels of `sd3`'s latents are reduced to
8x8 by least squares. Correlations are Spearman's, in each seed, over all methods and numbers of calls, intervals by Fisher's
transform. *Equal calls*: of the pairs of methods that differ by more than a tenth in the defect at the same number of calls, up
to {few}, how often the smaller defect has the smaller distance."""
_D = """Published: RES under churn needs fewer calls than EDM's stochastic Heun. Both go through the host: its `heun` with
s_churn, and *RES Stochastic (churn)*; exact digits on the Karras grid, the same s_churn, S_min = 0, S_max = infinity, S_noise =
1, and equal calls (Heun and RES-2S take two a step). The host's Heun adds the noise of VE models to flow models too, so there
is no comparison on those. Spread: distance to the nearest digit over that of the data; 1 is right, more is noise, less is too
clean."""
FEW = 15


def churned(name: str, s_churn: float):
    """A SAMPLER: the host's Heun with EDM's churn, or a RES solver under it."""
    import comfy.k_diffusion.sampling as k_diffusion_sampling
    import comfy.samplers

    import nodes

    if name == "heun":
        return comfy.samplers.KSAMPLER(k_diffusion_sampling.sample_heun, {"s_churn": s_churn})
    return nodes.NODE_CLASS_MAPPINGS["RESStochasticChurn"].execute(name, s_churn, 0.0, 1e5, 1.0).result[0]


class Judge:
    """Frechet distances and defects of one model's samples, one a seed."""

    def __init__(self, bench: Bench, name: str, held: HeldData):
        self.cases, self.held, self.solved = bench.judged(name), held, bench.size.solved
        self.truths = [self._truth(case) for case in self.cases]

    def _truth(self, case: Case) -> torch.Tensor:
        if isinstance(case, MixtureCase):
            return case.converge(case.start[: self.solved], float(case.model_sampling.sigma_max), case.converging)
        return case.reference[: self.solved]

    def run(self, name: str, grid: str, calls: int, sampler=None) -> tuple[list[float], list[float], list[float]]:
        """Frechet distances, spreads, and medians of the defects; arguments as of `at_calls`."""
        frechet, spread, defects = [], [], []
        for case, truth in zip(self.cases, self.truths):
            torch.manual_seed(_NOISE_SEED + case.seed)  # the host's Heun draws from torch's own generator
            samples = at_calls(case, name, grids(case)[grid], calls, sampler)
            defects.append(median_distance(samples[: self.solved], truth))
            flat = pixels(case, samples)
            frechet.append(self.held.frechet(flat))
            spread.append(self.held.spread(flat))
        return frechet, spread, defects


def defect_and_quality(bench: Bench, folder) -> str:
    """Claim (b)."""
    held, calls = HeldData(bench.size.held), bench.size.judged_calls
    parts = [
        "## (b) Defect and sample quality",
        _B.format(judged=bench.size.judged, held=bench.size.held, few=FEW),
    ]
    panels = {}
    for name in MODELS:
        judge = Judge(bench, name, held)
        cells = {(m, n): judge.run(m, _GRID, n) for m in METHODS for n in calls}
        panels[name] = {m: [cells[m, n] for n in calls] for m in METHODS}
        parts += [f"### {name}", "\n".join(_verdicts(cells, calls)), _table(cells, calls)]
    draws = [held.frechet(held.draws(bench.size.judged, 80_000 + seed)) for seed in range(bench.size.seeds)]
    parts.append(f"Draws of the data in the place of samples: {spaced(draws)}.")
    paper_figures.quality(panels, folder / "results_quality.png")
    parts += [
        "![Frechet distance by defect](results_quality.png)",
        "A point is a method at a number of calls, mean over seeds; lines join the calls of a method.",
    ]
    return "\n\n".join(parts)


def _verdicts(cells: dict, calls) -> list[str]:
    few = [n for n in calls if n <= FEW]
    seeds = range(len(next(iter(cells.values()))[0]))

    def correlation(seed, among):
        return rank_correlation(*([cells[m, n][i][seed] for m in METHODS for n in among] for i in (2, 0)))

    def agreeing(seed):
        counts = [concordance([(cells[m, n][2][seed], cells[m, n][0][seed]) for m in METHODS]) for n in few]
        agree, every = map(sum, zip(*counts))
        return agree / max(every, 1)

    share = "At equal calls the smaller defect has the smaller distance in more than half of the pairs"
    spans = {f"{calls[0]} to {calls[-1]}": calls, f"up to {FEW}": few, f"above {FEW}": [n for n in calls if n > FEW]}
    lines = [
        rising(f"Defect and Frechet distance rise together, {text} calls", [correlation(s, among) for s in seeds])
        for text, among in spans.items() if among
    ]  # fmt: skip
    lines.append(decided(share, [agreeing(s) for s in seeds], 0.5, text="Share "))
    pair = Comparison("RES-2S below DPM-Solver++(2S) at 9 calls", [tuple(cells[m, 9][0] for m in HEADLINE)], "of its distance")
    return [*lines, pair.sentence(), against_published(pair.ratio, PUBLISHED_FID, "Of the Frechet distance at 9 calls")]


def _table(cells: dict, calls) -> str:
    rows = []
    for m in METHODS:
        rows.append([LABELS[m], "Frechet", *(spaced(cells[m, n][0]) for n in calls)])
        rows.append([LABELS[m], "defect", *(spaced(cells[m, n][2]) for n in calls)])
    return table(["method", "", *(f"{n} calls" for n in calls)], rows, 2)


def stochastic(bench: Bench, folder) -> str:
    """Claim (d)."""
    held, calls = HeldData(bench.size.held), bench.size.noisy_calls
    judge = Judge(bench, "digits", held)
    cells = {(m, s, n): judge.run(m, _EDM_GRID, n, churned(m, s)) for m in CHURNED for s in CHURNS for n in calls}
    lines, few = [], [n for n in calls if n <= FEW]
    for m in CHURNED[1:]:
        for part in (few, [n for n in calls if n > FEW]):
            if part:
                rows = [(cells[m, s, n][0], cells["heun", s, n][0]) for s in CHURNS for n in part]
                claim = f"{LABELS[m]} under churn below Heun under churn, {' and '.join(map(str, part))} calls"
                lines.append(Comparison(claim, rows, "of its Frechet distance").sentence())
    off = {key: [abs(v - 1.0) for v in found[1]] for key, found in cells.items()}
    for m in CHURNED[1:]:
        rows = [(off[m, s, n], off["heun", s, n]) for s in CHURNS for n in calls]
        lines.append(Comparison(f"{LABELS[m]} below Heun in the spread's distance from 1", rows, "of that").sentence())
    rows = []
    for s in CHURNS:
        for m in CHURNED:
            for metric, i in (("Frechet", 0), ("spread", 1)):
                rows.append([LABELS[m], f"{s:g}", metric, *(spaced(cells[m, s, n][i]) for n in calls)])
    return "\n\n".join(
        [
            "## (d) Stochastic RES against EDM's Heun",
            _D,
            "\n".join(lines),
            table(["method", "s_churn", "", *(f"{n} calls" for n in calls)], rows, 3),
        ]
    )
