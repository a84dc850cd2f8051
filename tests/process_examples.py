"""Linear diffusions that tests run on."""

import dataclasses

import torch

from embedded.mixture import GaussianMixture
from embedded.process_mixture import ProcessMixture
from samplers.processes.blurring import Blurring
from samplers.processes.cld import CLD
from samplers.processes.linear_sde import LinearSDE
from samplers.processes.vp import VP

PROCESSES = {"VP": VP(), "CLD": CLD(), "blurring": Blurring(3, 2)}
WIDTH = 0.6
# R is built from the covariance of Gaussian data
FITTED = {
    "VP": VP(initial_variance=WIDTH**2),
    "CLD": CLD(position_variance=WIDTH**2),
    "blurring": Blurring(3, 2, initial_variance=WIDTH**2),
}


def solved_numerically(sde: LinearSDE) -> LinearSDE:
    """The process without its closed forms: only F, G G^T and Sigma_0."""
    closed = {name: getattr(LinearSDE, name) for name in ("transition", "covariance", "root", "cholesky")}
    bare = type(f"Bare{type(sde).__name__}", (type(sde),), closed)
    return bare(**{field.name: getattr(sde, field.name) for field in dataclasses.fields(sde)})


def state(sde: LinearSDE, batch: int = 16, seed: int = 0) -> torch.Tensor:
    """States drawn from the prior."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(batch, sde.size, 3, 2, generator=generator, dtype=torch.float64)
    if sde.size == 2:
        u[:, 1] *= float(sde.prior_covariance()[1, 1]) ** 0.5
    return u


def data(std: float = WIDTH, components: int = 5) -> GaussianMixture:
    """A mixture of Gaussians over the 6 numbers of an item."""
    means = torch.randn(components, 6, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return GaussianMixture(means, std)


def eps_of(sde: LinearSDE, mixture: GaussianMixture, kind: str = "R"):
    """The exact eps of a mixture, as a model `model(u, t)`."""
    exact = ProcessMixture(sde, mixture)
    return lambda u, t: exact.eps(u, float(t[0]), kind)


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """The median over the items of the relative distance."""
    return float(((a - b).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)).median())
