"""Distances of samples from the converged solution: for every item for an ODE, between distributions for an SDE."""

from typing import NamedTuple

import torch

DIRECTIONS, _SEED = 128, 17


class Spread(NamedTuple):
    """Median and quartiles; a few trajectories that end at another image would dominate a mean."""

    median: float
    q25: float
    q75: float


def spread(values: torch.Tensor) -> Spread:
    """The spread of values of any shape; NaN counts as infinite."""
    values = values.double().flatten().nan_to_num(nan=float("inf"), posinf=float("inf"))
    ordered = values.sort().values
    return Spread(*(_quantile(ordered, share) for share in (0.5, 0.25, 0.75)))


def _quantile(ordered: torch.Tensor, share: float) -> float:
    """Linear between neighbours, as torch.quantile, which gives NaN next to infinity."""
    place = share * (len(ordered) - 1)
    low, high = float(ordered[int(place)]), float(ordered[min(int(place) + 1, len(ordered) - 1)])
    part = place - int(place)
    return low if part == 0.0 or low == high else low + part * (high - low)


def relative_distance(samples: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """|samples - truth| / |truth| of every item: (batch, ...) to (batch,), float64; NaN where samples are NaN."""
    difference = (samples.double() - truth.double()).flatten(1).norm(dim=1)
    return difference / truth.double().flatten(1).norm(dim=1).clamp_min(torch.finfo(torch.float64).tiny)


def sliced_distance(samples: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Wasserstein distances of two batches of one shape along random directions, relative to the spread of `others`.

    Returns:
        (directions,), float64: |sorted differences| in quadratic mean. Two batches drawn from one distribution also have a
        distance, which falls with the size of the batch.

    Raises:
        ValueError: fewer than two items.
    """
    if len(samples) < 2:
        raise ValueError(f"a distance of distributions needs two items or more, got {len(samples)}.")
    flat, other = samples.double().flatten(1), others.double().flatten(1)
    generator = torch.Generator().manual_seed(_SEED)
    distances, spreads = [], []
    for _ in range(DIRECTIONS):  # one by one, because all projections of a video's latent together take gigabytes
        direction = torch.randn(flat.shape[1], generator=generator, dtype=torch.float64)
        direction /= direction.norm()
        along, along_other = ((batch @ direction).sort().values for batch in (flat, other))
        distances.append((along - along_other).square().mean().sqrt())
        spreads.append(along_other.std())
    return torch.stack(distances) / torch.stack(spreads).mean().clamp_min(torch.finfo(torch.float64).tiny)
