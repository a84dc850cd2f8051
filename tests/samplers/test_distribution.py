"""The SDE samplers give the data's distribution: a covariance in closed form, and two-sample tests on the digits."""

import functools
import math

import pytest
import torch
from exact import STOCHASTIC, down_to_0, moments

from embedded.digits import digits
from samplers.catalogue import METHODS
from samplers.schedules import SigmaRange, logsnr_grid
from samplers.time_maps import FLOW, VE

TIMES = pytest.mark.parametrize("time", [VE, FLOW], ids=lambda t: t.name)

# --- correlated Gaussian data: mean and covariance of the result, without a random number ---

MEAN = torch.tensor([0.4, -0.2], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)  # deviations 1.18 and 0.32, turned by 34 degrees


def _grid(time, n):
    """On flow the first step, which starts at sigma 1, shrinks with the others."""
    return down_to_0(time, -3.4 if time is VE else -2.0 - math.log(n / 10), 4.6, n)


@pytest.mark.parametrize("eta", [0.3, 1.0, 2.0])
@TIMES
@pytest.mark.parametrize("name", STOCHASTIC)
def test_mean_and_covariance_of_a_correlated_gaussian_converge_to_the_truth(name, time, eta):
    """The limit is D(x) for exact samples x at the last sigma, which the last step gives; it differs from the data by 1e-4."""
    errors = []
    for n in (20, 80, 320):
        grid = _grid(time, n)
        sample = functools.partial(METHODS[name].sample, eta=eta, time=time)
        mean, covariance = moments(sample, grid, time, 3 * len(grid), MEAN, torch.linalg.cholesky(COVARIANCE))
        last = COVARIANCE @ torch.linalg.inv(COVARIANCE + time.s(float(grid[-2])) ** 2 * torch.eye(2)) @ COVARIANCE
        errors.append(float(max((mean - MEAN).abs().max(), (covariance - last).abs().max())))
    if name == "exp_gddim_sde":  # of order 1
        assert errors[2] < errors[1] / 3 < errors[0] / 7.5 and errors[2] < 0.05, errors
    else:
        assert errors[2] < 0.002 and errors[2] < errors[0] / 20 and errors[2] < max(errors[1] / 4, 2e-5), errors


# --- digits: samples against data, by a permutation test of the energy distance ---

WIDTH, ITEMS, STEPS, PERMUTATIONS = 0.2, 300, 60, 499  # the methods' own bias is below 0.5 % at 60 steps
DIGITS = digits(WIDTH)
DATA = DIGITS.sample(ITEMS, torch.Generator().manual_seed(7))


def _samples(name, time, seed=2, **options):
    grid = logsnr_grid(STEPS, SigmaRange(0.01, 1.0 if time is FLOW else 14.6), time, "uniform")
    noise = torch.randn(ITEMS, 64, generator=torch.Generator().manual_seed(seed))

    def model(x, sigma, seed=None):
        return DIGITS.denoise(x, sigma, time.alpha(float(sigma[0])))

    model.noise = noise
    return METHODS[name].sample(model, noise * grid[0], grid, {"seed": seed}, disable=True, time=time, **options)


def _p_value(a, b):
    """The p-value of the hypothesis that a and b, of equal number, have one distribution; at least 1 / (PERMUTATIONS + 1)."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.ones(PERMUTATIONS + 1, 2 * len(a))
    signs[0, : len(a)] = -1.0  # the true labels
    for row in signs[1:]:
        row[torch.randperm(2 * len(a), generator=generator)[: len(a)]] = -1.0
    distances = torch.cdist(torch.cat([a, b]), torch.cat([a, b]))
    energies = -((signs @ distances) * signs).sum(dim=1)  # the energy distance, except for a factor
    return float((energies >= energies[0]).double().mean())


def _blur(x):
    """(items, 1): the distance to the nearest digit, where an error of the noise level shows most: it is 8 WIDTH in the data."""
    return torch.cdist(x, DIGITS.means).min(dim=1, keepdim=True).values


@pytest.mark.parametrize(
    "name, noise, time",
    [
        ("exp_res_sde", "independent", VE),
        ("exp_res_2m_sde", "brownian", FLOW),
        ("exp_res_2s_sde", "brownian", VE),
        ("exp_res_2s_sde", "independent", FLOW),
    ],
    ids=lambda v: getattr(v, "name", v),
)
def test_samples_cannot_be_told_from_data(name, noise, time):
    samples = _samples(name, time, noise=noise)
    assert _p_value(samples, DATA) > 0.01
    assert _p_value(_blur(samples), _blur(DATA)) > 0.01


@TIMES
@pytest.mark.parametrize("s_noise", [0.95, 1.05])
def test_an_error_of_five_percent_in_the_noise_is_seen(time, s_noise):
    assert _p_value(_blur(_samples("exp_res_2m_sde", time, s_noise=s_noise)), _blur(DATA)) < 0.005
