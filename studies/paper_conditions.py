"""Claim (f): RES-2S and RES-3S with one order condition violated each, all else kept."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.pages import table
from samplers.lab.distances import relative_distance
from samplers.loop import run
from samplers.plan import Plan
from samplers.single_step import single_step_plan
from samplers.tableaus import Tableau, Term, Terms, res_2s, res_3s

from . import paper_figures
from .paper_bench import COMMON, Bench
from .paper_claims import Comparison, Ratio, decided, geometric, spaced

SIZE = 0.05
MODELS = ("ring", "digits", "digits flow", "sd3", "unet")
_SLOPE_ENDS = (10.0, 0.1)  # sigmas between which orders are measured
_NEAR = 0.3  # of a slope to the order it should have
_DPM = "DPM-Solver++(2S)"
_ABOUT = """Published: a solver needs all of its order conditions. Each method here is RES with one residual of size {size:g},
the same at every h, and all other conditions kept; psi_3 and sum b psi_2 as RES-3S has them, at h = 0 and over b_3. *Order
left* is what the theory says. Orders: exact ring, sigma {first:g} to {last:g}, float64, {coarse} against {fine} steps. Defects:
{calls} calls through the host on {models}, over those of the method that meets the condition, geometric mean; with either sign
of the residual, as one of them may happen to cancel another error."""


class Violation(NamedTuple):
    """A residual that a method of RES has on purpose.

    Attributes:
        stages: 2 or 3; of the method.
        condition: name as in `tableaus.order_conditions`; "" for none.
        order: what is left of the method's order where the residual is constant.
    """

    stages: int
    condition: str
    order: int

    @property
    def name(self) -> str:
        return f"RES-{self.stages}S" + (f" without {self.condition}" if self.condition else "")


VIOLATIONS = (
    Violation(2, "", 2),
    Violation(2, "psi_1", 0),
    Violation(2, "psi_1,2", 1),
    Violation(2, "psi_2", 1),
    Violation(3, "", 3),
    Violation(3, "psi_1", 0),
    Violation(3, "psi_1,2", 2),  # with c = (1/3, 2/3) b_2 is 0, so that the second stage acts through the third alone
    Violation(3, "psi_1,3", 1),
    Violation(3, "psi_2", 1),
    Violation(3, "psi_3", 2),
    Violation(3, "sum b psi_2", 2),
)


class Unchecked(Tableau):
    """A tableau that may violate the order conditions."""

    def __post_init__(self):
        pass


def _constant(value: float) -> Terms:
    return (Term(value, 0, 0.0),) if value else ()


def _negative(weight: Terms) -> Terms:
    return tuple(term._replace(coefficient=-term.coefficient) for term in weight)


def violating_2s(psi_2: float = 0.0, c2: float = 0.5) -> Tableau:
    """RES-2S with a given residual of psi_2."""
    exact, b2 = res_2s(c2), (Term(1.0 / c2, 2, 1.0), *_constant(-psi_2 / c2))
    return Unchecked(exact.name, 2, exact.c, exact.a, ((Term(1.0, 1, 1.0), *_negative(b2)), b2))


def dpm_solver_2s(c2: float = 0.5) -> Tableau:
    """DPM-Solver++(2S): b2 = phi_1 / (2 c2), so that psi_2 = phi_2 - phi_1 / 2, which is h / 12 to first order."""
    exact, b2 = res_2s(c2), (Term(0.5 / c2, 1, 1.0),)
    return Unchecked("DPM-Solver++(2S)", 2, exact.c, exact.a, ((Term(1.0, 1, 1.0), *_negative(b2)), b2))


def violating_3s(psi_2: float = 0.0, psi_3: float = 0.0, mixed: float = 0.0, c2: float = 1 / 3, c3: float = 2 / 3) -> Tableau:
    """RES-3S with given residuals of psi_2, of psi_3 at h = 0, and of sum_i b_i psi_{2,i} over b_3.

    As in RES-3S b_2 = gamma b_3; the sums of b_i c_i and b_i c_i^2 at h = 0, 1/2 - psi_2 and 1/3 - 2 psi_3, give gamma.
    """
    moments = (1.0 / 3.0 - 2.0 * psi_3) / (0.5 - psi_2)
    gamma = (c3**2 - moments * c3) / (moments * c2 - c2**2)
    size = 1.0 / (gamma * c2 + c3)
    b3 = (Term(size, 2, 1.0), *_constant(-psi_2 * size))
    b2 = tuple(term._replace(coefficient=gamma * term.coefficient) for term in b3)
    a32 = (Term(gamma * c2, 2, c2), Term(c3**2 / c2, 2, c3), *_constant(-mixed / c2))
    a = (((Term(c2, 1, c2),),), ((Term(c3, 1, c3), *_negative(a32)), a32))
    return Unchecked(res_3s(c2, c3).name, 3, (0.0, c2, c3), a, ((Term(1.0, 1, 1.0), *_negative(b2), *_negative(b3)), b2, b3))


def plan(sigmas, violation: Violation, size: float = SIZE) -> Plan:
    """The plan, in log sigma, of a method whose one residual is `size` and does not depend on h.

    psi_1 and psi_{1,i} are what makes a method exact for a constant denoiser. Plans check that before any call, so that
    those two are violated afterwards, in the plan's weights.
    """
    stages, condition, _ = violation
    names = {"psi_2": "psi_2", "psi_3": "psi_3", "sum b psi_2": "mixed"}
    options = {names[condition]: size} if condition in names else {}
    made = single_step_plan(sigmas, (violating_2s if stages == 2 else violating_3s)(**options))
    places = {"psi_1": stages - 1, "psi_1,2": 0, "psi_1,3": 1}
    return weakened(made, places[condition], size) if condition in places else made


def weakened(made: Plan, place: int, size: float) -> Plan:
    """A single-step plan whose stage number `place` of every step has the residual `size`: less of the step's first output."""
    stages, first = [], 0
    for call, stage in enumerate(made.stages):
        if call - first == place and np.isfinite(stage.h):
            weights = dict(stage.weights)
            weights[first] = weights.get(first, 0.0) - size * stage.h
            stages.append(replace(stage, weights=tuple(weights.items())))
        else:
            stages.append(stage)
        first = call + 1 if stage.closes_step else first
    return replace(made, stages=tuple(stages))


def sampler(planner):
    """A SAMPLER that follows the plans of a function of SIGMAS."""
    import comfy.samplers

    def sample(model, x, sigmas, extra_args=None, callback=None, disable=None):
        return run(planner(sigmas), model, x, sigmas, extra_args, callback, disable)

    return comfy.samplers.KSAMPLER(sample)


def solve(case, planner, steps: int) -> torch.Tensor:
    """The state at the end of a grid uniform in lambda, in float64 without the host."""
    sigmas = torch.tensor(np.geomspace(*_SLOPE_ENDS, steps + 1))
    return run(planner(sigmas), case.denoise, case.noise.double() * _SLOPE_ENDS[0], sigmas, disable=True)


def errors(case, planners, steps) -> list[list[torch.Tensor]]:
    """Relative errors of the items, of every planner on grids of so many steps, against a fine one.

    The lab's reference goes to 0; an order is measured on a range that ends above it.
    """
    exact = solve(case, partial(single_step_plan, tableau=res_3s()), 8 * max(steps))
    return [[relative_distance(solve(case, planner, n), exact) for n in steps] for planner in planners]


def slope(found) -> float:
    """Order that the last halving of the step shows."""
    return float(np.log2(found[-2] / found[-1]))


def section(bench: Bench, folder) -> str:
    """Claim (f)."""
    steps = bench.size.slope_steps
    planners = {v.name: (v.order, partial(plan, violation=v)) for v in VIOLATIONS}
    planners[_DPM] = (2, partial(single_step_plan, tableau=dpm_solver_2s()))
    found = errors(bench.case("ring"), [planner for _, planner in planners.values()], steps)
    curves = {name: list(zip(*map(bench.medians, of_steps))) for name, of_steps in zip(planners, found)}
    slopes = {name: [slope(seed) for seed in found] for name, found in curves.items()}
    lines = [_order(name, order, slopes[name]) for name, (order, _) in planners.items()]
    rows = []
    for violation in VIOLATIONS:
        cells = [_over_parent(bench, violation, size) for size in (SIZE, -SIZE)] if violation.condition else []
        rows.append([violation.name, str(violation.order), spaced(slopes[violation.name]), *(str(cell) for cell, _ in cells)])
        lines += [sentence for _, sentence in cells]
    dpm, sentence = _over(bench, 2, planners[_DPM][1], f"{_DPM} in the same variable")
    rows.append([f"{_DPM}, psi_2 by h/12", "2", spaced(slopes[_DPM]), str(dpm)])
    lines.append(sentence)
    rows = [row + [""] * (5 - len(row)) for row in rows]
    head = ["method, violated condition", "order left", "measured", f"defect, residual {SIZE:g}", f"residual -{SIZE:g}"]
    options = {"size": SIZE, "first": _SLOPE_ENDS[0], "last": _SLOPE_ENDS[1], "coarse": steps[-2], "fine": steps[-1]}
    about = _ABOUT.format(calls=bench.size.calls[0], models=", ".join(_models(bench)), **options)
    paper_figures.orders(steps, curves, folder / "results_orders.png")
    return "\n\n".join(
        [
            "## (f) One order condition violated",
            about,
            "\n".join(lines),
            table(head, rows),
            "DPM-Solver++(2S) violates psi_2 by about h/12, which vanishes with h, so that its order is kept.",
            "![errors by steps](results_orders.png)",
        ]
    )  # fmt: skip


def _order(name: str, order: int, found: list[float]) -> str:
    off = [abs(value - order) for value in found]
    return decided(f"{name} has order {order}, within {_NEAR:g}", off, _NEAR, above=False, text="Off by ")


def _models(bench: Bench) -> list[str]:
    return [name for name in MODELS if name in bench.names]


def _over_parent(bench: Bench, violation: Violation, size: float) -> tuple[Ratio, str]:
    planner = partial(plan, violation=violation, size=size)
    return _over(bench, violation.stages, planner, f"itself with {violation.condition} = {size:g}")


def _over(bench: Bench, stages: int, planner, other: str) -> tuple[Ratio, str]:
    """Defects of a planner's method over those of RES-2S or RES-3S, and whether RES is ahead."""
    n, rows, parent = bench.size.calls[0], [], f"exp_res_{stages}s"
    for name in _models(bench):
        theirs = bench.defect(name, COMMON, n, parent, sampler(planner))
        rows.append((bench.defects(name, COMMON, n, parent), theirs))
    sentence = Comparison(f"RES-{stages}S below {other}, {n} calls", rows).sentence()
    return geometric([[v / o for o, v in zip(*row)] for row in rows]), sentence
