"""RES beside gDDIM on processes whose noise is not the same in every direction: an open question of the RES paper, measured."""

import math
from functools import partial

import torch

from samplers.gddim.blurring import Blurring
from samplers.gddim.cld import CLD
from samplers.gddim.linear_sde import LinearSDE
from samplers.gddim.plan import gddim_on
from samplers.gddim.res import res_on

from .gddim_metrics import Size, interval, smaller
from .process_cases import DigitsProcess, median_distance

PROCESSES: dict[str, LinearSDE] = {"CLD": CLD(), "blurring diffusion": Blurring(8, 8)}
POWERS = (2.0, 3.0)
# name -> (plan of (sde, times), calls a step)
METHODS = {f"gDDIM, q = {q}": (partial(gddim_on, degree=q), 1) for q in range(4)}
_RES = {"2M": 1, "2MC": 1, "3M": 1, "3MC": 1, "2S": 2, "3S": 3}
METHODS |= {f"RES-{method}": (partial(res_on, method=method), stages) for method, stages in _RES.items()}


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


def section(size: Size) -> str:
    """Markdown: defects on both processes, and who wins."""
    parts = [
        "## RES on processes",
        "RES's order conditions carry over to data prediction on any linear diffusion, with matrices for phi functions "
        "(`samplers/gddim/res.py`): those on the sum of the weights and their first moment exactly, that on the second at h = 0. "
        "The orders of 2M, 3M, 2S and 3S are 2, 3, 2 and 3 on CLD and on blurring diffusion, one more with the corrector (C), "
        "tested in `tests/samplers/gddim/test_res_on_processes.py`. Of first order it is gDDIM of degree 0. Defect on the exact "
        f"digits by calls, on times uniform in t^(1/2) and t^(1/3); {size.seeds} seeds of {size.solved} items, 95 % confidence "
        "intervals. Bold as above.",
    ]
    for name, sde in PROCESSES.items():
        problem = _Problem(sde, size.solved, size.converging)
        for power in POWERS:
            parts.append(_table(problem, name, power, size))
    return "\n\n".join(parts)


def _table(problem: _Problem, name: str, power: float, size: Size) -> str:
    calls = size.compared[:4]
    defects = {
        (method, n): [problem.defect(plan, (n - 1) // stages + 1, power, seed) for seed in range(size.seeds)]
        for method, (plan, stages) in METHODS.items()
        for n in calls
    }
    best = {n: min((defects[method, n] for method in METHODS), key=lambda d: interval(d)[0]) for n in calls}
    lines = [f"| {name}, t^(1/{power:g}) | " + " | ".join(f"{n} calls" for n in calls) + " |", "|---|" + "--:|" * len(calls)]
    for method in METHODS:
        cells = (_text(defects[method, n], not smaller(best[n], defects[method, n])) for n in calls)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _text(values: list[float], bold: bool) -> str:
    mean, half = interval(values)
    text = f"{mean:.2g} ± {half:.1g}" if mean < 1e3 else "diverges"
    return f"**{text}**" if bold else text
