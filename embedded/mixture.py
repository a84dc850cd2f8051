"""Gaussian mixtures: data whose exact denoiser is known.

On a mixture the denoiser D(x) = E[x0 | x] has a closed form, so every difference from the converged solution is the solver's
error.
"""

import math
from typing import Any

import torch


class GaussianMixture:
    """Isotropic Gaussians of equal weight and of one standard deviation > 0.

    The means are (components, dim), and the labels (components,) are the integer class of every component; None for one class.
    """

    def __init__(self, means: torch.Tensor, std: float, labels: torch.Tensor | None = None):
        if not std > 0.0:
            raise ValueError(f"width must be above 0, got {std:g}; it is the standard deviation of a component.")
        self.means, self.std = means, std
        self.labels = torch.zeros(len(means), dtype=torch.long) if labels is None else labels.long()
        self._square_norms = means.square().sum(dim=1)

    @property
    def classes(self) -> int:
        """The number of classes, 1 or more."""
        return int(self.labels.max()) + 1

    def denoise(
        self,
        x: torch.Tensor,
        sigma: float | torch.Tensor,
        alpha: float | torch.Tensor = 1.0,
        class_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """E[x0 | alpha x0 + sigma n = x], exactly.

        Args:
            x: (batch, ...) with dim numbers per item.
            sigma, alpha: floats, or (batch,) tensors.
            class_weights: (batch, classes) weights of the classes, >= 0, of any sum; None or rows of zeros for all of them.
        """
        flat = x.reshape(len(x), -1)
        sigma, alpha = (torch.as_tensor(v, dtype=x.dtype, device=x.device).reshape(-1, 1) for v in (sigma, alpha))
        variance = (alpha * self.std) ** 2 + sigma**2
        # log N(x; alpha mean, variance), without what the components have in common
        logits = (flat @ self.means.T - 0.5 * alpha * self._square_norms) * (alpha / variance)
        logits = logits + self.class_logits(class_weights)
        posterior = logits.softmax(dim=1)
        shrink = alpha * self.std**2 / variance
        mean = (posterior * (1.0 - alpha * shrink)) @ self.means
        return (mean + (posterior * shrink).sum(dim=1, keepdim=True) * flat).reshape(x.shape)

    def class_logits(self, class_weights: torch.Tensor | None) -> torch.Tensor | float:
        """The terms that weights of the classes, as in `denoise`, add to the logits of the components; (batch, components)."""
        if class_weights is None:
            return 0.0
        empty = (class_weights <= 0).all(dim=1, keepdim=True)
        weights = torch.where(empty, torch.ones_like(class_weights), class_weights)
        return weights.clamp(min=0).log()[:, self.labels]

    def sample(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """(n, dim) draws from the data distribution."""
        index = torch.randint(len(self.means), (n,), generator=generator)
        noise = torch.randn(n, self.means.shape[1], dtype=self.means.dtype, generator=generator)
        return self.means[index] + self.std * noise

    def to(self, *args: Any, **kwargs: Any) -> "GaussianMixture":
        """The same mixture on another device or in another dtype."""
        means = self.means.to(*args, **kwargs)
        return GaussianMixture(means, self.std, self.labels.to(means.device))


def ring(components: int = 12, radius: float = 1.0, std: float = 0.2) -> GaussianMixture:
    """A ring of Gaussians in the plane, alternating between two classes; in float64."""
    angle = torch.arange(components, dtype=torch.float64) * (2.0 * math.pi / components)
    means = radius * torch.stack([angle.cos(), angle.sin()], dim=1)
    return GaussianMixture(means, std, torch.arange(components) % 2)
