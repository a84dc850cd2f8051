"""What arXiv 2206.05564 found on CIFAR-10, as comparisons of pairs of measurements."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from samplers.gddim_rule import MAX_DEGREE

from .gddim_metrics import Bench, Cell, interval, smaller
from .gddim_models import COMPARED, euler_maruyama, gddim, rk45

# What is smaller the better a method is. Only deterministic samplers have a defect.
ERRORS: dict[str, Callable[[Cell], list[float]]] = {
    "Frechet": lambda cell: cell.frechet,
    "sliced Wasserstein": lambda cell: cell.sliced,
    "spread": lambda cell: np.abs(np.subtract(cell.spread, 1.0)).tolist(),
    "defect": lambda cell: cell.defect,
}
DEGREES = range(MAX_DEGREE + 1)
_FAR = 1e6


class Pattern(NamedTuple):
    """A published finding.

    Attributes:
        claim: in words.
        published: the paper's FID; empty where it gives none for this.
        pairs: measurements of which the first should be better.
        deterministic: whether all of them have defects.
    """

    claim: str
    published: str
    pairs: list[tuple[Cell, Cell]]
    deterministic: bool = True

    def verdict(self, error: str) -> str:
        """Whether it holds here by one kind of error, and the geometric mean of the second error over the first."""
        if error == "defect" and not self.deterministic:
            return ""
        read, n = ERRORS[error], len(self.pairs)
        ahead = sum(smaller(read(a), read(b)) for a, b in self.pairs)
        behind = sum(smaller(read(b), read(a)) for a, b in self.pairs)
        ratios = [interval(read(b))[0] / interval(read(a))[0] for a, b in self.pairs]
        ratio = float(np.exp(np.mean(np.log(ratios)))) if np.isfinite(ratios).all() else math.inf
        word = "**holds**" if ahead == n else "in part" if ahead else "no"
        reverse = f", reverse in {behind}" if behind else ""
        return f"{word}: {ahead} of {n}{reverse} ({'diverges' if ratio > _FAR else f'{ratio:.2g}'})"


def patterns(bench: Bench) -> Iterator[Pattern]:
    """The published findings, measured."""
    calls, few = bench.size.calls, bench.size.calls[:-1]

    def at(n, degree, kind="R", corrector="none"):
        return bench.cell(partial(gddim, degree=degree, kind=kind, corrector=corrector), n)

    for part, published in ((calls[:2], "4.54, 2.66 against 463, 167"), (calls[2:], "2.39, 2.32 against 4.12, 3.31")):
        if part:
            listed = " and ".join(map(str, part))
            yield Pattern(f"R is ahead of L at q = 2, {listed} calls", published, [(at(n, 2), at(n, 2, "L")) for n in part])
    yield Pattern(
        f"R is ahead of L at q = 0 to 3, {calls[0]} to {calls[-1]} calls",
        "",
        [(at(n, q), at(n, q, "L")) for n in calls for q in DEGREES],
    )
    yield Pattern(
        f"q = 2 is the best of R at up to {few[-1]} calls",
        "4.54 at 20; q = 0, 1, 3: 17.94, 8.14, 341.7",
        [(at(n, 2), at(n, q)) for n in few for q in (0, 1, 3)],
    )
    yield Pattern(
        f"q = 3 is unstable at up to {few[:2][-1]} calls: behind q = 0",
        "341.7, 292.3 against 17.94, 9.84",
        [(at(n, 0), at(n, 3)) for n in few[:2]],
    )
    yield Pattern(
        f"at {calls[-1]} calls every degree is ahead of the one below",
        "2.28, 2.32, 2.92, 5.46",
        [(at(calls[-1], q + 1), at(calls[-1], q)) for q in (0, 1, 2)],
    )
    yield from _of_noise(bench)
    yield from _of_baselines(bench)
    degrees = bench.size.corrected
    listed = ", ".join(map(str, degrees))
    for corrector in ("PEC", "PECE"):
        pairs = [(at(n, q, corrector=corrector), at(n, q)) for n in calls for q in degrees]
        yield Pattern(f"{corrector} is ahead of no corrector at equal calls, q = {listed}", "", pairs)


def _of_noise(bench: Bench) -> Iterator[Pattern]:
    n, lambdas = bench.size.noisy_calls, bench.size.lambdas
    ours = [bench.cell(noisy(lam), n) for lam in lambdas]
    theirs = [bench.cell(partial(euler_maruyama, lam=lam), n) for lam in lambdas]
    yield Pattern(f"every larger lambda hurts gDDIM, {n} calls", "yes, by FID", list(zip(ours, ours[1:])), False)
    yield Pattern(f"lambda = 0 is ahead of every other, gDDIM, {n} calls", "yes, by FID", [(ours[0], c) for c in ours[1:]], False)
    yield Pattern(f"gDDIM is ahead of Euler-Maruyama at every lambda, {n} calls", "yes, by FID", list(zip(ours, theirs)), False)


def _of_baselines(bench: Bench) -> Iterator[Pattern]:
    counts, ((name, (ours, _)), *others) = bench.size.compared, COMPARED.items()
    for other, (method, deterministic) in others:
        pairs = [(bench.cell(ours, n), bench.cell(method, n)) for n in counts]
        listed = ", ".join(map(str, counts))
        published = "" if other.startswith("RES") else "yes, by FID"
        yield Pattern(f"{name} is ahead of {other} at {listed} calls", published, pairs, deterministic)
    pairs = []
    for tolerance in bench.size.tolerances:
        theirs = bench.cell(partial(rk45, tolerance=tolerance), None)
        # compared with ours of as many calls or fewer
        pairs.append((bench.cell(ours, max((n for n in counts if n <= theirs.calls), default=counts[0])), theirs))
    yield Pattern(f"{name} is ahead of RK45 with as many calls or more", "yes, by FID", pairs)


def noisy(lam: float) -> Callable:
    """gDDIM of degree 0 with noise."""
    return partial(gddim, degree=0, lam=lam)
