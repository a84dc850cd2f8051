"""Linear diffusions that tests run on."""

import dataclasses

import numpy as np
import torch

from embedded.mixture import GaussianMixture
from embedded.process_mixture import ProcessMixture
from samplers.processes.blurring import Blurring
from samplers.processes.cld import CLD
from samplers.processes.linear_sde import LinearSDE, scalar


@dataclasses.dataclass(frozen=True)
class VP(LinearSDE):
    """DDPM in continuous time: F = -beta / 2 and G G^T = beta, with beta linear in t. On it gDDIM must agree with DDIM."""

    initial_variance: float = 0.0
    name = "VP"

    def log_alpha_bar(self, t):
        """The logarithm of the factor of the data's variance."""
        t = np.asarray(t, dtype=np.float64)
        return -t * (0.1 + 0.5 * t * (20.0 - 0.1))

    def drift(self, t):
        return -0.5 * self.diffusion(t)

    def diffusion(self, t):
        return scalar(0.1 + np.asarray(t) * (20.0 - 0.1))

    def initial_covariance(self):
        return scalar(self.initial_variance)

    def transition(self, t, s):
        return scalar(np.exp(0.5 * (self.log_alpha_bar(t) - self.log_alpha_bar(s))))

    def covariance(self, t):
        """1 - a_t + a_t Sigma_0."""
        return scalar(np.exp(self.log_alpha_bar(t)) * self.initial_variance - np.expm1(self.log_alpha_bar(t)))

    def root(self, t):
        return np.sqrt(self.covariance(t))


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


def applied(sde: LinearSDE, matrix: np.ndarray, u: torch.Tensor) -> torch.Tensor:
    """The blocks of a state of 3 x 2 numbers per channel, each multiplied by a matrix of the process."""
    matrices = torch.tensor(np.array(np.broadcast_to(matrix, (3, 2, sde.size, sde.size))))
    return torch.einsum("hwij,bjchw->bichw", matrices, u.reshape(len(u), sde.size, -1, 3, 2)).reshape(u.shape)


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
