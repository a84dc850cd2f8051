"""The exact denoiser that every other test relies on."""

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from embedded.mixture import GaussianMixture


def test_mixture_denoiser_is_the_gradient_of_the_log_density():
    """Tweedie: D = x + sigma^2 grad log p(x), the definition, by automatic differentiation; alpha only scales x."""
    means = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    std, sigma = 0.4, 0.7
    mixture = GaussianMixture(means, std)
    x = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    noisy = MixtureSameFamily(Categorical(torch.ones(5)), Independent(Normal(means, (std**2 + sigma**2) ** 0.5), 1))
    [score] = torch.autograd.grad(noisy.log_prob(x).sum(), x)
    denoised = x + sigma**2 * score
    torch.testing.assert_close(mixture.denoise(x, sigma), denoised)
    torch.testing.assert_close(mixture.denoise(0.6 * x, 0.6 * sigma, alpha=0.6), denoised)
