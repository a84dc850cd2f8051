"""Gaussian mixtures: data whose exact denoiser is known.

On a mixture the denoiser D(x) = E[x0 | x] has a closed form, so every difference from the converged solution is the solver's
error.
"""

import math
from typing import Any

import torch


class GaussianMixture:
    """Isotropic Gaussians of equal weight.

    Args:
        means: (components, dim) centres.
        std: standard deviation of every component, > 0; a number, or (components,).
        labels: (components,) integer class of every component; None for one class.
    """

    def __init__(self, means: torch.Tensor, std: float | torch.Tensor, labels: torch.Tensor | None = None):
        least = float(std.min()) if isinstance(std, torch.Tensor) else float(std)
        if not least > 0.0:
            raise ValueError(f"width must be above 0, got {least:g}; it is the standard deviation of a component.")
        self.std = std.to(means) if isinstance(std, torch.Tensor) else least
        self.means = means
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
            class_weights: (batch, classes) weights of the classes, >= 0; None for the mixture itself. Rows
                need not be normalised; a row of zeros counts as None.

        Returns:
            The posterior mean, shaped like x.
        """
        flat = x.reshape(len(x), -1)
        sigma, alpha = (_column(v, flat) for v in (sigma, alpha))
        variance = (alpha * self.std) ** 2 + sigma**2  # (batch, 1 or components)
        # log N(x; alpha mean, variance), without what the components have in common
        logits = (flat @ self.means.T - 0.5 * alpha * self._square_norms) * (alpha / variance)
        if isinstance(self.std, torch.Tensor):
            logits = logits - 0.5 * (flat.square().sum(dim=1, keepdim=True) / variance + flat.shape[1] * variance.log())
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
        std = self.std[index, None] if isinstance(self.std, torch.Tensor) else self.std
        return self.means[index] + std * noise

    def to(self, *args: Any, **kwargs: Any) -> "GaussianMixture":
        """The same mixture on another device or in another dtype."""
        means = self.means.to(*args, **kwargs)
        return GaussianMixture(means, self.std, self.labels.to(means.device))


def _column(value: float | torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).reshape(-1, 1)


def ring(components: int = 12, radius: float = 1.0, std: float | torch.Tensor = 0.2) -> GaussianMixture:
    """A ring of Gaussians in the plane, alternating between two classes; in float64."""
    angle = torch.arange(components, dtype=torch.float64) * (2.0 * math.pi / components)
    means = radius * torch.stack([angle.cos(), angle.sin()], dim=1)
    return GaussianMixture(means, std, torch.arange(components) % 2)
