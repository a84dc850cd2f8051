"""RES beside gDDIM on processes whose noise is not the same in every direction: an open question of the RES paper, measured."""

import math
from functools import partial

import torch

from benchmarks import pages
from samplers.processes.blurring import Blurring
from samplers.processes.cld import CLD
from samplers.processes.gddim_planner import gddim_on
from samplers.processes.linear_sde import LinearSDE
from samplers.processes.res_planner import res_on
from testbed.digits_process import DigitsProcess, median_distance

from .gddim_metrics import Size, interval, smaller

PROCESSES: dict[str, LinearSDE] = {"CLD": CLD(), "blurring diffusion": Blurring(8, 8)}
POWERS = (2.0, 3.0)
# name -> (plan of (sde, times), calls a step)
METHODS = {f"gDDIM, q = {q}": (partial(gddim_on, degree=q), 1) for q in range(4)}
_RES = {"2M": 1, "2MC": 1, "3M": 1, "3MC": 1, "2S": 2, "3S": 3}
METHODS |= {f"RES-{method}": (partial(res_on, method=method), stages) for method, stages in _RES.items()}

# method -> as it is called where the pack's samplers are compared
SHORT = {
    "gDDIM, q = 0": "gDDIM, degree 0 (DDIM)",
    "gDDIM, q = 2": "gDDIM, degree 2 (the paper's)",
    "gDDIM, q = 3": "gDDIM, degree 3",
    "RES-2MC": "`exp_res_2mc`",
    "RES-3MC": "`exp_res_3mc`",
    "RES-3S": "`exp_res_3s`",
}
_FEW = 50  # calls


class _Problem(DigitsProcess):
    """The digits under a process and their converged samples, by seed."""

    def __init__(self, sde: LinearSDE, items: int, converging: int):
        super().__init__(sde)
        self._items, self._converging = items, converging
        self._solutions: dict[int, torch.Tensor] = {}

    def defect(self, plan, steps: int, power: float, seed: int) -> float:
        """Median relative distance to the converged samples."""
        start = self.start(self._items, seed)
        if seed not in self._solutions:
            fine = partial(gddim_on, degree=3, corrector="PECE")
            self._solutions[seed] = self.solve(fine, start, self._converging)
        try:
            return median_distance(self.solve(plan, start, steps, power), self._solutions[seed])
        except FloatingPointError:
            return math.inf


def section(size: Size) -> tuple[str, str]:
    """Markdown: defects on both processes, and who wins; and of it the table of SHORT."""
    about = (
        "RES's order conditions carry over to data prediction on any linear diffusion, with matrices for phi functions "
        "(`samplers/processes/`): those on the sum of the weights and their first moment exactly, that on the second at h = 0. "
        "The orders of 2M, 3M, 2S and 3S are 2, 3, 2 and 3 on CLD and on blurring diffusion, one more with the corrector (C), "
        "tested in `tests/samplers/processes/`. Of first order it is gDDIM of degree 0. Defect on the exact "
        f"digits by calls, on times uniform in t^(1/2) and t^(1/3); {size.seeds} seeds of {size.solved} items, 95 % confidence "
        "intervals. Bold as above."
    )
    found = {name: _defects(_Problem(sde, size.solved, size.converging), size) for name, sde in PROCESSES.items()}
    tables = [_table(name, power, defects) for name, defects in found.items() for power in POWERS]
    short = _short(found)
    return "\n\n".join(["## RES on processes", about, *tables, "On the better of both grids, means:", short]), short


def _defects(problem: _Problem, size: Size) -> dict[tuple[float, str, int], list[float]]:
    """(power, method, calls) -> a number a seed."""
    return {
        (power, method, n): [problem.defect(plan, (n - 1) // stages + 1, power, seed) for seed in range(size.seeds)]
        for power in POWERS
        for method, (plan, stages) in METHODS.items()
        for n in size.compared[:4]
    }


def _table(process: str, power: float, defects: dict) -> str:
    calls, rows = _calls(defects), []
    best = {n: min((defects[power, method, n] for method in METHODS), key=_mean) for n in calls}
    for method in METHODS:
        cells = (defects[power, method, n] for n in calls)
        rows.append([method, *(_text(cell, not smaller(best[n], cell)) for n, cell in zip(calls, cells))])
    return pages.table([f"{process}, t^(1/{power:g})", *(f"{n} calls" for n in calls)], rows)


def _short(found: dict[str, dict]) -> str:
    """SHORT at up to 50 calls, each on its better grid; the least of a column is bold."""
    columns = [(name, n) for name, defects in found.items() for n in _calls(defects) if n <= _FEW]
    means = {method: [min(_mean(found[name][power, method, n]) for power in POWERS) for name, n in columns] for method in SHORT}
    least = [min(column) for column in zip(*means.values())]
    rows = [
        [SHORT[method], *(pages.bold(f"{mean:.2g}", mean == best) for mean, best in zip(row, least))]
        for method, row in means.items()
    ]
    return pages.table(["method", *(f"{name}, {n} calls" for name, n in columns)], rows)


def _calls(defects: dict) -> list[int]:
    return list(dict.fromkeys(n for _, _, n in defects))


def _mean(values: list[float]) -> float:
    return interval(values)[0]


def _text(values: list[float], bold: bool) -> str:
    mean, half = interval(values)
    return pages.bold(f"{mean:.2g} ± {half:.1g}" if mean < 1e3 else "diverges", bold)
