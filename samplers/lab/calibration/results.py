"""What a calibration finds, and the distances it is judged by."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from ...plan import Plan
from ..distances import relative_distance
from .budget import Seeds
from .fitting import Fitting

# Relative distances below are rounding, those above are all lost; their logarithms say nothing.
LEAST, MOST = 1e-7, 1e3


class Errors(NamedTuple):
    """Relative distances to the reference, over items."""

    median: float
    log_mean: float  # exp of the mean log

    @classmethod
    def of(cls, distances: torch.Tensor) -> "Errors":
        """Of distances of items, (items,)."""
        return cls(float(distances.quantile(0.5)), float(_logs(distances).mean().exp()))


def clearly_less(distances: torch.Tensor, others: torch.Tensor, by: float = 1.0) -> bool:
    """Whether the mean log of distances is below that of others, item by item, by more than so many of its standard errors."""
    difference = _logs(distances) - _logs(others)
    return float(difference.mean()) < -by * float(difference.std()) / math.sqrt(len(difference))


def _logs(distances: torch.Tensor) -> torch.Tensor:
    return distances.clamp(LEAST, MOST).log()


def distances(samples: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Relative, per item; infinite where a sample is not finite."""
    return relative_distance(samples, reference).nan_to_num(nan=math.inf)


class Settled(NamedTuple):
    """How good the reference is.

    Attributes:
        steps: of its finest level.
        moved: median relative distance between the pilots' ends on its last two levels.
        share: that distance, as a share of the best base's median error.
        why: "agrees", the share was small enough; "no gain", a finer level would change the fit by less than its standard error;
            "cap", it has as many steps as it may.
    """

    steps: int
    moved: float
    share: float
    why: str

    @property
    def coarse(self) -> bool:
        """Whether the reference is no better than the best base, so that nothing can be fitted to it."""
        return not self.share < 1.0


@dataclass
class Calibrated:
    """What a calibration found.

    Attributes:
        sigmas: the grid, moved or as given.
        plan: on it.
        analytic: the base of the least error, which the plan is compared with.
        base, how: what the plan was made from; `how` is None where the analytic plan is kept.
        seeds: used.
        reference: how good it is.
        moved: whether the grid was.
        pilots: errors of the bases on the pilots, by name.
        selection: errors on selection seeds: of "base" and "calibrated".
        test: errors on test seeds: of "base" (on the given grid) and "calibrated", and of the rivals.
    """

    sigmas: torch.Tensor
    plan: Plan
    analytic: str
    base: str
    how: Fitting | None
    seeds: Seeds
    reference: Settled
    moved: bool = False
    pilots: dict[str, Errors] = field(default_factory=dict)
    selection: dict[str, Errors] = field(default_factory=dict)
    test: dict[str, Errors] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether the analytic plan on the given grid is all there is to give."""
        return self.how is None and not self.moved
