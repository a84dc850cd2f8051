"""Exact problems that the tests solve: denoisers of mixtures, and grids, in float64."""

import math
import re
from functools import cache, partial

import numpy as np
import torch

from embedded.mixture import ring
from samplers.catalogue import METHODS, SAMPLERS
from samplers.interpolation import InAlpha
from samplers.loop import run
from samplers.multistep import kriging_rule, multistep_plan, rule_plan
from samplers.single_step import single_step_plan
from samplers.tableaus import RES_1, res_2s, res_3s
from samplers.time_maps import FLOW, VE

DETERMINISTIC = {name: sampler for name, sampler in METHODS.items() if not sampler.stochastic and not sampler.cfg_pp}
STOCHASTIC = {name: sampler for name, sampler in METHODS.items() if sampler.stochastic and not sampler.cfg_pp}
CFG_PP = {name: sampler for name, sampler in METHODS.items() if sampler.cfg_pp}
REGISTERED = {name: sampler for name, sampler in DETERMINISTIC.items() if name in SAMPLERS}


# name -> planner; C is the corrector, and alpha 6 turns at sigma / alpha = 6
PLANNERS = {
    "1S": partial(single_step_plan, tableau=RES_1),
    "2S": partial(single_step_plan, tableau=res_2s()),
    "3S": partial(single_step_plan, tableau=res_3s()),
    "3S(1/2,1)": partial(single_step_plan, tableau=res_3s(0.5, 1.0)),
    "3S(.4,.75)": partial(single_step_plan, tableau=res_3s(0.4, 0.75)),
    **{f"{order}M": partial(multistep_plan, order=order) for order in (1, 2, 3)},
    **{f"{order}MC": partial(multistep_plan, order=order, corrector=True) for order in (2, 3)},
    "3M, 3S start": partial(multistep_plan, order=3, start=res_3s()),
    "3MC, 3S start": partial(multistep_plan, order=3, start=res_3s(), corrector=True),
    "alpha 2M": partial(multistep_plan, order=2, interpolation=InAlpha()),
    **{f"alpha {n}MC": partial(multistep_plan, order=n, interpolation=InAlpha(), corrector=True) for n in (2, 4)},
    **{f"alpha 6 {n}MC": partial(multistep_plan, order=n, interpolation=InAlpha(6.0, 1.5), corrector=True) for n in (2, 4)},
}


def without_cfg_pp(name: str):
    """The function that samples by the same method without CFG++."""
    if name == "exp_res_cfg_pp":  # one rule, because a choice needs outputs that lie on one ODE
        return lambda model, x, sigmas, time=VE, **options: run(
            rule_plan(sigmas, kriging_rule(1e-5), time), model, x, sigmas, **options
        )
    return METHODS[name.removesuffix("_cfg_pp")].sample


def calls_per_step(name: str) -> int:
    """Model calls by a method's name: exp_res_3s and exp_res_3s_sde call the model three times per step, exp_res_3mc once."""
    stages = re.search(r"_(\d)s", name)
    return int(stages[1]) if stages else 1


MIXTURE = ring(components=8, radius=1.0, std=0.6)


def denoiser(flow: bool, mixture=MIXTURE):
    """The exact denoiser of VE or flow noise."""
    return lambda x, sigma: mixture.denoise(x, sigma, 1.0 - sigma if flow else 1.0)


def noisy(sigma: float, flow: bool, batch: int = 32, mixture=MIXTURE) -> torch.Tensor:
    """Samples of the noisy data at sigma."""
    generator = torch.Generator().manual_seed(0)
    clean = mixture.sample(batch, generator)
    noise = torch.randn(clean.shape, dtype=clean.dtype, generator=generator)
    return (1.0 - sigma if flow else 1.0) * clean + sigma * noise


def _rho(start, end, rho, n):
    return np.linspace(start ** (1 / rho), end ** (1 / rho), n + 1) ** rho


# name -> (is flow, grid of n steps)
GRIDS = {
    "ve, uniform in lambda": (False, lambda n: np.exp(np.linspace(math.log(8.0), math.log(0.15), n + 1))),
    "ve, rho": (False, lambda n: _rho(8.0, 0.15, 7, n)),
    "flow, uniform in lambda": (True, lambda n: 1.0 / (1.0 + np.exp(np.linspace(-2.5, 2.0, n + 1)))),
    "flow, rho": (True, lambda n: _rho(0.8, 0.15, 3, n)),
    "flow from 1, uniform in log sigma": (True, lambda n: np.exp(np.linspace(0.0, math.log(0.15), n + 1))),
    "flow from 1, rho": (True, lambda n: _rho(1.0, 0.15, 3, n)),
}


def grid(name: str, n: int) -> torch.Tensor:
    """A grid of n steps by name, float64."""
    return torch.tensor(GRIDS[name][1](n), dtype=torch.float64)


def in_lambda(time, first: float, last: float, points: int) -> torch.Tensor:
    """Sigmas that are uniform in lambda, float64."""
    lambdas = torch.linspace(first, last, points, dtype=torch.float64).tolist()
    return torch.tensor([time.sigma(lam) for lam in lambdas], dtype=torch.float64)


def down_to_0(time, first: float, last: float, steps: int) -> torch.Tensor:
    """A grid uniform in lambda with a last step to 0; a flow model's grid starts at sigma 1 instead of `first`."""
    sigmas = in_lambda(time, first, last, steps)
    if time is FLOW:
        sigmas[0] = 1.0
    return torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])


REFERENCE = 2560  # steps


@cache
def converged(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy data at the start of a grid by name, and the solution at its end; made once for all tests."""
    fine, flow = grid(name, REFERENCE), GRIDS[name][0]
    x = noisy(float(fine[0]), flow)
    return x, run(single_step_plan(fine, res_3s(), VE), denoiser(flow), x, fine, disable=True)


def moments(sample, sigmas, process, draws, mean, root):
    """(mean, covariance) of a sampler's result on data N(mean, root root^T), exactly and without a random number.

    The denoiser is affine, so a sampler maps the starting noise and the unit noises affinely to its result. It is run on their
    coefficients, with every drawn noise as new coordinates.

    Args:
        sample: sample(denoise, x, sigmas, disable=True, noise_sampler=...) -> the result.
        sigmas: the grid.
        process: VE or FLOW.
        draws: at least the number of noises that the sampler draws.
        mean, root: (dim,) and (dim, dim).
    """
    dim, start = len(mean), float(sigmas[0])
    covariance, one = root @ root.T, torch.eye(dim, dtype=torch.float64)
    # columns: the constant 1, the data, the starting noise, the noises drawn
    zeros = torch.zeros(dim, draws * dim, dtype=torch.float64)
    alpha = process.alpha(start)
    x = torch.cat([alpha * mean[:, None], alpha * root, start * one, zeros], dim=1)[None]
    drawn = iter(range(1 + 2 * dim, x.shape[2], dim))

    def denoise(x, sigma):
        sigma = float(sigma[0])
        alpha = process.alpha(sigma)
        gain = alpha * covariance @ torch.linalg.inv(alpha**2 * covariance + sigma**2 * one)
        denoised = gain @ x
        denoised[0, :, 0] += mean - alpha * gain @ mean
        return denoised

    def unit_noise(sigma, sigma_next):
        noise, column = torch.zeros_like(x), next(drawn)
        noise[0, :, column : column + dim] = one
        return noise

    [result] = sample(denoise, x, sigmas, disable=True, noise_sampler=unit_noise)
    return result[:, 0], result[:, 1:] @ result[:, 1:].T


def paired(denoise):
    """A model for CFG++ without guidance: (guided, unconditional), twice the same."""

    def both(x, sigma, **extra_args):
        denoised = denoise(x, sigma, **extra_args)
        return denoised, denoised

    return both


class NoisyModel:
    """A model that treats every number separately, so that no sum depends on the batch, and keeps the initial noise."""

    def __init__(self, noise):
        self.noise = noise

    def __call__(self, x, sigma, seed=None):
        return x / (1.0 + sigma.reshape(-1, *[1] * (x.ndim - 1)) ** 2)


class CountingModel:
    """A denoiser that records the sigmas of its calls."""

    def __init__(self, denoise):
        self.denoise = denoise
        self.sigmas = []

    def __call__(self, x, sigma, **extra):
        self.sigmas.append(sigma)
        return self.denoise(x, sigma)
