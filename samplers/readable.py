"""RES-2M and RES-2S for readers, as the paper writes them (arXiv 2308.02157); plans give the same results.

With lambda = -log(sigma) and h = log(sigma / sigma_next), an exact step of the ODE dx / dlambda = D(x, sigma) - x is

    x_next = e^-h x + h sum_i b_i D_i,    b_1 + b_2 = phi_1(-h),    b_2 c_2 = phi_2(-h),

where D_2 is the denoised output at lambda + c_2 h. RES-2M takes D_2 from the previous step, so c_2 is negative. RES-2S calls
the model there. The last step, to sigma = 0, gives the denoised output.
"""

import math
from collections.abc import Callable, Sequence

import torch

from .phi import phi

Model = Callable[[torch.Tensor, float], torch.Tensor]


def res_2m(model: Model, x: torch.Tensor, sigmas: Sequence[float]) -> torch.Tensor:
    """RES-2M: second order, one call of `model(x, sigma) -> denoised` per step, from the state x at sigmas[0] down."""
    older, h_before = torch.zeros_like(x), math.inf  # no history: b_2 = 0 in the first step
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        denoised = model(x, sigma)
        if sigma_next == 0.0:
            return denoised
        h = math.log(sigma / sigma_next)
        b2 = phi(2, -h) / (-h_before / h)
        b1 = phi(1, -h) - b2
        x = math.exp(-h) * x + h * (b1 * denoised + b2 * older)
        older, h_before = denoised, h
    return x


def res_2s(model: Model, x: torch.Tensor, sigmas: Sequence[float], c2: float = 0.5) -> torch.Tensor:
    """RES-2S: second order, two calls per step, the second one at lambda + c2 h. Arguments as in `res_2m`."""
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        denoised = model(x, sigma)
        if sigma_next == 0.0:
            return denoised
        h = math.log(sigma / sigma_next)
        x_2 = math.exp(-c2 * h) * x + c2 * h * phi(1, -c2 * h) * denoised
        denoised_2 = model(x_2, sigma * math.exp(-c2 * h))
        b2 = phi(2, -h) / c2
        b1 = phi(1, -h) - b2
        x = math.exp(-h) * x + h * (b1 * denoised + b2 * denoised_2)
    return x
