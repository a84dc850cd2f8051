"""VP (DDPM in continuous time) as a linear diffusion. gDDIM generalises DDIM from it, and must agree with DDIM on it."""

from dataclasses import dataclass

import numpy as np

from .linear_sde import LinearSDE, Times, scalar


@dataclass(frozen=True)
class VP(LinearSDE):
    """F = -beta / 2, G G^T = beta, beta linear in t.

    Attributes:
        beta_min, beta_max: beta at t = 0 and t = 1.
        initial_variance: variance of the data around u0. With the variance of Gaussian data, one step of degree 0 is exact for
            them.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    initial_variance: float = 0.0
    name = "VP"

    def log_alpha_bar(self, t: Times) -> np.ndarray:
        """The logarithm of the factor of the data's variance."""
        t = np.asarray(t, dtype=np.float64)
        return -t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))

    def drift(self, t: Times) -> np.ndarray:
        """F = -beta / 2."""
        return scalar(-0.5 * self._beta(t))

    def diffusion(self, t: Times) -> np.ndarray:
        """G G^T = beta."""
        return scalar(self._beta(t))

    def initial_covariance(self) -> np.ndarray:
        """Sigma_0: `initial_variance`, 0 for data in points."""
        return scalar(self.initial_variance)

    def transition(self, t: Times, s: Times) -> np.ndarray:
        """Sqrt(a_t / a_s), with a the factor of the data's variance, see `log_alpha_bar`."""
        return scalar(np.exp(0.5 * (self.log_alpha_bar(t) - self.log_alpha_bar(s))))

    def covariance(self, t: Times) -> np.ndarray:
        """1 - a_t + a_t Sigma_0."""
        log_alpha_bar = self.log_alpha_bar(t)
        return scalar(np.exp(log_alpha_bar) * self.initial_variance - np.expm1(log_alpha_bar))

    def root(self, t: Times) -> np.ndarray:
        """Sqrt(Sigma_t), as numbers commute."""
        return np.sqrt(self.covariance(t))

    def _beta(self, t: Times) -> np.ndarray:
        return self.beta_min + np.asarray(t, dtype=np.float64) * (self.beta_max - self.beta_min)
