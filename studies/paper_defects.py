"""Claims (a) and (c): defects of single-step and multistep RES and of what they replace, on good grids and on a bad one."""

import numpy as np

from benchmarks.pages import table

from . import paper_figures
from .paper_bench import COMMON, HEADLINE, LABELS, UNIFORM, Bench, good_grids
from .paper_claims import Comparison, against_published, geometric, ratio, spaced

METHODS = ("euler", "dpmpp_2s (eta 0)", "exp_res_2s", "dpmpp_2m", "exp_res_2m", "exp_res_2mc", "exp_res")
MULTISTEP = ("exp_res_2m", "dpmpp_2m")
_A = """Published: single-step RES has 25.2 % less numerical defect than DPM-Solver++(2S) at 9 calls on ImageNet, multistep RES
less than DPM-Solver++(2M), both less than DDIM. Ratios are geometric means over cases and grids; a row is a case, a grid and a
number of calls. On flow models every method is as the host and the pack run it: the host's 2S goes in logSNR from sigma 0.9999,
its 2M in log sigma; RES-2S goes in log sigma, RES-2M in logSNR. For DPM-Solver++(2S) in the variable of RES-2S see the last row
of (f)."""
_C = """Published: RES is less vulnerable to a suboptimal grid than samplers that miss order conditions. The paper's grid
uniform in sigma goes from sigma_max to sigma_min in equal steps, then to 0. Growth is the defect there over that on the grid
uniform in logSNR, the same model and calls; in brackets in the table."""
PUBLISHED_DEFECT = 1.0 - 0.252  # RES over DPM-Solver++, single step, 9 calls
_STRESSED = ("dpmpp_2s (eta 0)", "exp_res_2s", "dpmpp_2m", "exp_res_2m", "exp_res")


def _rows(bench: Bench, pair, calls, keep=lambda name: True, grid: str | None = None) -> list:
    """(ours, theirs) a case, grid and number of calls."""
    return [
        tuple(bench.defects(name, g, n, sampler) for sampler in pair)
        for name in bench.names if keep(name)
        for g in ([grid] if grid else good_grids(bench.case(name)))
        for n in calls
    ]  # fmt: skip


def _below(bench: Bench, pair, calls, where="", **options) -> Comparison:
    ours, theirs = (LABELS[name] for name in pair)
    listed = " and ".join(map(str, calls))
    return Comparison(f"{ours} below {theirs}, {listed} calls{where}", _rows(bench, pair, calls, **options))


def equal_calls(bench: Bench, folder) -> str:
    """Claim (a)."""
    calls, few = bench.size.calls, bench.size.calls[:1]
    flow = [name for name in bench.names if bench.case(name).kind == "flow"]
    kinds = {", eps models": lambda name: name not in flow, ", flow models": flow.__contains__}
    groups = {
        **kinds,
        ", without guidance": lambda name: "CFG" not in name,
        ", with guidance": lambda name: "CFG" in name,
        ", exact mixtures": lambda name: not name.startswith(("sd3", "unet")),
        ", trained networks": lambda name: name.startswith(("sd3", "unet")),
    }
    headlines = {
        f"{name}, {models}": _below(bench, HEADLINE, few, keep=keep).over(over_rows)
        for models, keep in (("all models", lambda name: True), ("eps models", kinds[", eps models"]))
        for name, over_rows in (("geometric mean", np.mean), ("median row", np.median))
    }
    lines = [
        _below(bench, HEADLINE, few).sentence(),
        *(against_published(r, PUBLISHED_DEFECT, f"Of the defect at {few[0]} calls ({name})") for name, r in headlines.items()),
        *(_below(bench, HEADLINE, few, where, keep=keep).sentence() for where, keep in groups.items()),
    ]
    if calls[1:]:
        lines.append(_below(bench, HEADLINE, calls[1:]).sentence())
    spans = {"": lambda name: True, **kinds}
    lines += [_below(bench, MULTISTEP, (n,), where, keep=keep).sentence() for n in calls for where, keep in spans.items()]
    lines += [_below(bench, (name, "euler"), calls).sentence() for name in (HEADLINE[0], MULTISTEP[0])]
    lines += ["\nBeyond the paper, this pack's corrector, and its `exp_res`:\n"]
    lines += [_below(bench, (name, "dpmpp_2m"), calls).sentence() for name in ("exp_res_2mc", "exp_res")]
    _figure(bench, folder)
    return "\n\n".join(
        [
            "## (a) Numerical defects at equal calls",
            _A,
            "\n".join(lines),
            "![RES over DPM-Solver++](results_defects.png)",
            f"Defect of RES over that of DPM-Solver++ of the same kind at {few[0]} calls; below 1 RES is ahead.",
            _table(bench),
        ]
    )


def _table(bench: Bench) -> str:
    rows = []
    for name in bench.names:
        for grid in good_grids(bench.case(name)):
            for n in bench.size.calls:
                cells = {m: bench.defects(name, grid, n, m) for m in METHODS}
                rows.append([name, grid, str(n), *map(spaced, cells.values())])
    return table(["case", "grid", "calls", *(LABELS[m] for m in METHODS)], rows, 2)


def _figure(bench: Bench, folder) -> None:
    n = bench.size.calls[0]
    groups = {"good grids": None, UNIFORM: UNIFORM}
    panels = {
        title: {
            f"{name}, {g}" if grid is None else name: [
                ratio(*(bench.defects(name, g, n, m) for m in pair)) for pair in (HEADLINE, MULTISTEP)
            ]
            for name in bench.names
            for g in ([grid] if grid else good_grids(bench.case(name)))
        }
        for title, grid in groups.items()
    }
    paper_figures.ratios(panels, ("single step (2S)", "multistep (2M)"), folder / "results_defects.png")


def _growth(bench: Bench, name: str, n: int, sampler: str) -> list[float]:
    """By how much the grid uniform in sigma multiplies a defect, one a seed."""
    bad, good = (bench.defects(name, grid, n, sampler) for grid in (UNIFORM, COMMON))
    return [b / g for b, g in zip(bad, good)]


def uniform_grid(bench: Bench, folder) -> str:
    """Claim (c)."""
    calls = bench.size.calls
    lines = []
    for pair in (HEADLINE, MULTISTEP):
        lines.append(_below(bench, pair, calls, ", uniform sigma", grid=UNIFORM).sentence())
        grown = [tuple(_growth(bench, name, n, sampler) for sampler in pair) for name in bench.names for n in calls]
        ours, theirs = (LABELS[name] for name in pair)
        claim = f"{ours} suffers less than {theirs} from uniform sigma instead of uniform logSNR"
        lines.append(Comparison(claim, grown, "of its growth").sentence())
    eps = [name for name in bench.names if bench.case(name).kind == "eps"]
    flow = [name for name in bench.names if name not in eps]
    for names, what in ((eps, "eps models (sigma up to 14.6)"), (flow, "flow models (sigma up to 1)")):
        for pair in (HEADLINE, MULTISTEP):
            found = _below(bench, pair, calls, f", uniform sigma, {what}", grid=UNIFORM, keep=names.__contains__)
            lines.append(found.sentence())
    rows = []
    for name in bench.names:
        for n in calls:
            cells = []
            for m in _STRESSED:
                growth = geometric([_growth(bench, name, n, m)]).mean
                cells.append(f"{spaced(bench.defects(name, UNIFORM, n, m))} ({growth:.3g})")
            rows.append([name, str(n), *cells])
    return "\n\n".join(
        [
            "## (c) The grid uniform in sigma",
            _C,
            "\n".join(lines),
            table(["case", "calls", *(LABELS[m] for m in _STRESSED)], rows),
        ]
    )
