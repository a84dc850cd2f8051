"""Cases in which a solver must be exact: the linear part of the ODE is integrated in closed form."""

import pytest
import torch
from exact import DETERMINISTIC, GRIDS, grid

from embedded.mixture import GaussianMixture
from samplers.res import SAMPLERS
from samplers.time_maps import FLOW, VE

TIMES = [VE, FLOW]
ON_GRIDS = [(name, VE) for name in GRIDS] + [(name, FLOW) for name, (flow, _) in GRIDS.items() if flow]


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_dirac_data_in_one_step(name, time):
    """Data at one point: D is constant, so every step is exact, of any size."""
    point = torch.tensor([0.3, -1.2], dtype=torch.float64)
    noise = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigmas = torch.tensor([0.9, 0.2], dtype=torch.float64)
    alpha = [time.alpha(float(s)) for s in sigmas]
    x = alpha[0] * point + sigmas[0] * noise
    result = SAMPLERS[name].sample(lambda x, sigma: point.expand_as(x), x, sigmas, disable=True, time=time)
    torch.testing.assert_close(result, alpha[1] * point + sigmas[1] * noise, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("grid_name, time", ON_GRIDS, ids=lambda v: getattr(v, "name", v))
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_constant_denoiser_on_any_grid(name, grid_name, time):
    sigmas = grid(grid_name, 9)
    constant = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    result = SAMPLERS[name].sample(lambda x, sigma: constant, x, sigmas, disable=True, time=time)
    # (x - D) / sigma is constant along dx/dsigma = (x - D) / sigma
    torch.testing.assert_close(result, constant + (x - constant) * (sigmas[-1] / sigmas[0]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_last_step_to_zero_is_the_denoised_output(name):
    x = torch.ones(2, 3, dtype=torch.float64)
    result = SAMPLERS[name].sample(lambda x, sigma: 0.25 * x, x, torch.tensor([2.0, 0.0]), disable=True)
    assert torch.equal(result, 0.25 * x)


@pytest.mark.parametrize("std", [0.4, torch.tensor([0.1, 0.2, 0.4, 0.8, 1.6])], ids=["equal widths", "unequal widths"])
def test_mixture_denoiser_is_the_gradient_of_the_log_density(std):
    """Tweedie: D = x + sigma^2 grad log p(x), the definition, by automatic differentiation; alpha only scales x."""
    means = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mixture, sigma = GaussianMixture(means, std), 0.7
    x = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    variance = torch.as_tensor(std, dtype=torch.float64) ** 2 + sigma**2
    distance = (x[:, None] - means).square().sum(-1)
    log_density = torch.logsumexp(-distance / (2 * variance) - 1.5 * variance.log(), dim=1).sum()
    [score] = torch.autograd.grad(log_density, x)
    denoised = x + sigma**2 * score
    torch.testing.assert_close(mixture.denoise(x, sigma), denoised)
    torch.testing.assert_close(mixture.denoise(0.6 * x, 0.6 * sigma, alpha=0.6), denoised)
