"""RES beside gDDIM on processes whose noise is not the same in every direction: an open question of the RES paper, measured."""

import math
from functools import partial

import torch

from embedded.digits import digits
from embedded.mixture import GaussianMixture
from embedded.process_mixture import ProcessMixture
from samplers.gddim.blurring import Blurring
from samplers.gddim.cld import CLD
from samplers.gddim.coordinates import Coordinates
from samplers.gddim.linear_sde import LinearSDE
from samplers.gddim.plan import gddim_on
from samplers.gddim.res import res_on
from samplers.gddim.times import time_grid
from samplers.loop import run

from .gddim_metrics import Size, interval, smaller

PROCESSES: dict[str, LinearSDE] = {"CLD": CLD(), "blurring diffusion": Blurring(8, 8)}
POWERS = (2.0, 3.0)
# name -> (plan of (sde, times), calls a step)
METHODS = {f"gDDIM, q = {q}": (partial(gddim_on, degree=q), 1) for q in range(4)}
_RES = {"2M": 1, "2MC": 1, "3M": 1, "3MC": 1, "2S": 2, "3S": 3}
METHODS |= {f"RES-{method}": (partial(res_on, method=method), stages) for method, stages in _RES.items()}


class _Problem:
    """The digits under a process: exact eps, starts by seed, and their converged samples."""

    def __init__(self, sde: LinearSDE, items: int, converging: int):
        coordinates = Coordinates(sde, torch.zeros(1, 1, 8, 8, dtype=torch.float64))
        data = digits(dtype=torch.float64)
        means = coordinates.to_state(data.means.reshape(-1, 1, 8, 8)).flatten(1)
        self._exact, self._sde, self._items = ProcessMixture(sde, GaussianMixture(means, data.std)), sde, items
        self._converging = converging
        self._solutions: dict[int, torch.Tensor] = {}

    def samples(self, plan, steps: int, power: float, seed: int) -> torch.Tensor:
        """Data after so many steps, the last of them to t = 0."""
        times = time_grid(self._sde, steps, power)
        generator = torch.Generator().manual_seed(seed)
        u = torch.randn(self._items, self._sde.size, 8, 8, generator=generator, dtype=torch.float64)
        if self._sde.size == 2:
            u[:, 1] *= float(self._sde.prior_covariance()[1, 1]) ** 0.5
        eps = lambda u, t: self._exact.eps(u, float(t[0]))  # noqa: E731
        return run(plan(self._sde, times), eps, u, torch.tensor(times), disable=True)[:, :1]

    def defect(self, plan, steps: int, power: float, seed: int) -> float:
        """Median relative distance to the converged samples."""
        if seed not in self._solutions:
            fine = partial(gddim_on, degree=3, corrector="PECE")
            self._solutions[seed] = self.samples(fine, self._converging, 2.0, seed)
        exact = self._solutions[seed]
        try:
            end = self.samples(plan, steps, power, seed)
        except FloatingPointError:
            return math.inf
        return float(((end - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)).median())


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
