"""Pairs of a sampler and a scheduler: `exp_res` on `logsnr_arctan` compared with all of ComfyUI's pairs.

The cases are those of `python -m benchmarks worlds` at 6, 10 and 20 calls, with the same errors and with seeds that were not
used for choosing any setting. Flow models sample the 64x64 latent at shift 3 and 8 with CFG 1 and 4. Eps models sample photo
and the network emoji_sd with CFG 1, 4 and 7, and the same latent with CFG 1 and 4. ComfyUI's pairs combine its deterministic
samplers of one call per step with its schedulers for the kind of model. Samplers of two and three calls per step are left out,
because they have too few steps here.
"""

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import host_samplers, pages
from .worlds.bench import Bench, steps_for
from .worlds.world_cases import OURS, REPORT_SEED, Case, cases, missing_networks

PAGE, PARTS, MINUTES = None, ("targets", "flow", "eps", "samplers"), 11
CALLS = (6, 10, 20)
SAMPLER, GRID, TEMPLATE = "exp_res", "logsnr_arctan", ("euler", "simple")
FLOW = ("latent 64 flow shift 3", "latent 64 flow shift 8")
EPS = ("photo eps CFG", "latent 64 eps", "emoji_sd")
_OTHERS = ("exp_res", "euler", "dpmpp_2m")
_GRIDS = ("simple", "normal", "karras", GRID)
Pair = tuple[str, str]  # sampler, scheduler


class Measured(NamedTuple):
    """A case at a number of calls, with the error of every pair."""

    case: Case
    calls: int
    errors: dict[Pair, float]

    def best(self, scheduler: str | None = None) -> Pair:
        """The best of ComfyUI's pairs, or of its pairs on one scheduler."""
        theirs = [pair for pair in self.errors if pair[0] in host_samplers.DETERMINISTIC and pair[1] not in OURS]
        return min((pair for pair in theirs if scheduler in (None, pair[1])), key=self.errors.get)

    def ratio(self, pair: Pair, other: Pair) -> float:
        """The ratio of two pairs' errors."""
        return self.errors[pair] / self.errors[other]


def single_call(kind: str) -> list[str]:
    """ComfyUI's deterministic samplers that take as many steps as calls."""
    return [name for name in host_samplers.DETERMINISTIC if steps_for(name, kind, CALLS[0]) == CALLS[0]]


def measured(bench: Bench, words: Sequence[str], calls: Iterable[int] = CALLS) -> list[Measured]:
    """All pairs in the cases whose names begin with one of the words; networks without weights are left out."""
    result, missing = [], missing_networks()
    for case in cases(REPORT_SEED, tuple(words)):
        if not case.name.startswith(tuple(words)) or case.denoise < 1.0 or case.world in missing:
            continue
        case.every, case.calls, names = 1, tuple(calls), (SAMPLER, *single_call(case.kind))
        errors: dict[int, dict[Pair, float]] = {n: {} for n in case.calls}
        for scheduler in (*(name for name in case.grids if name not in OURS), GRID):
            for (n, name), error in bench.errors(case, scheduler, names).items():
                errors[n][name, scheduler] = error
        result += [Measured(case, n, errors[n]) for n in case.calls]
        pages.say(f"{case.name} done, all pairs")
    return result


def verdict(ratios: Sequence[float], mean: float, worst: float = math.inf) -> str:
    """The word "met", or the limits of a target that the ratios miss."""
    reached = {"geometric mean": (statistics.geometric_mean(ratios), mean), "worst row": (max(ratios), worst)}
    missed = [f"{name} {result:.2f} above {limit:g}" for name, (result, limit) in reached.items() if result > limit]
    return f"missed: {', '.join(missed)}" if missed else "met"


def targets(flow: Sequence[Measured], eps: Sequence[Measured]) -> str:
    """Markdown: the targets and what was reached."""
    ours, simple = (SAMPLER, GRID), (SAMPLER, "simple")
    latent = [row for row in (*flow, *eps) if row.case.world == "latent"]
    mild, strong = ([row for row in eps if (row.case.guidance >= 7) == above] for above in (False, True))
    aims = [
        (f"flow: `{GRID}` / best pair", [row.ratio(ours, row.best()) for row in flow], 0.6, 1.2),
        (f"flow: `{GRID}` / `euler` on `simple`", [row.ratio(ours, TEMPLATE) for row in flow], 0.15, math.inf),
        ("latent: `simple` / best on `simple`", [row.ratio(simple, row.best("simple")) for row in latent], 0.5, math.inf),
        (f"eps, CFG 1 and 4: `{GRID}` / best pair", [row.ratio(ours, row.best()) for row in mild], 0.8, 1.3),
        (f"eps, CFG 7: `{GRID}` / best pair", [row.ratio(ours, row.best()) for row in strong], 0.8, 1.3),
    ]
    lines = []
    for name, ratios, mean, worst in (aim for aim in aims if aim[1]):
        reached = f"{statistics.geometric_mean(ratios):.2f}", f"{max(ratios):.2f}"
        target = f"mean {mean:g}" + (f", worst {worst:g}" if math.isfinite(worst) else "")
        lines.append([name, str(len(ratios)), *reached, target, verdict(ratios, mean, worst)])
    head = [f"`{SAMPLER}` on / pair of ComfyUI's", "rows", "geometric mean", "worst row", "target", "verdict"]
    return pages.table(head, lines, (0, 4, 5))


def against_best(rows: Sequence[Measured]) -> str:
    """Markdown: the recommended pair and the best of ComfyUI's pairs in every row."""
    ours, lines = (SAMPLER, GRID), []
    for row in rows:
        best = row.best()
        errors = f"{row.errors[ours]:.4f}", f"`{best[0]}`, `{best[1]}`", f"{row.errors[best]:.4f}"
        ratios = (f"{row.ratio(ours, pair):.2f}" for pair in (best, TEMPLATE))
        lines.append([row.case.name, str(row.calls), *errors, *ratios])
    head = ["case", "calls", f"`{SAMPLER}`, `{GRID}`", "best pair of ComfyUI's", "its error", "/ best", "/ `euler`, `simple`"]
    return pages.table(head, lines, (0, 3))


def by_sampler(rows: Sequence[Measured]) -> str:
    """Markdown: geometric mean of the errors over the cases, by kind of model, sampler and grid; the best of a line is bold."""
    kinds, numbers = dict.fromkeys(row.case.kind for row in rows), dict.fromkeys(row.calls for row in rows)
    lines = []
    for kind, name, calls in itertools.product(kinds, _OTHERS, numbers):
        group = [row.errors for row in rows if (row.case.kind, row.calls) == (kind, calls)]
        means = []
        for grid in _GRIDS:
            errors = [of_row[name, grid] for of_row in group if (name, grid) in of_row]
            means.append(statistics.geometric_mean(errors) if errors else math.inf)
        shown = ["" if mean == math.inf else pages.bold(f"{mean:.4f}", mean == min(means)) for mean in means]
        lines.append([kind, f"`{name}`", str(calls), *shown])
    return pages.table(["", "sampler", "calls", *(f"`{grid}`" for grid in _GRIDS)], lines, 2)


def report(quick: bool = False) -> pages.Report:
    """The blocks of docs/schedules.md."""
    host_samplers.load()
    bench = Bench()
    flow = measured(bench, FLOW[:1] if quick else FLOW, CALLS[:1] if quick else CALLS)
    eps = measured(bench, EPS[1:2] if quick else EPS, CALLS[:1] if quick else CALLS)
    return {
        "targets": targets(flow, eps),
        "flow": against_best(flow),
        "eps": against_best(eps),
        "samplers": by_sampler([*flow, *eps]),
    }
