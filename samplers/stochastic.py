"""The RES paper's stochastic sampler: any deterministic RES solver under EDM's churn, with k-diffusion's signature."""

import math
from collections.abc import Callable

import torch

from .churn import Churn
from .loop import run
from .noise import default_noise_sampler
from .plan import Plan
from .res import SOLVERS
from .signature import Callback, Denoiser, ExtraArgs, NoiseSampler, Sigmas
from .time_maps import VE, TimeMap


def sample_res_churn(
    model: Denoiser,
    x: torch.Tensor,
    sigmas: Sigmas,
    extra_args: ExtraArgs = None,
    callback: Callback = None,
    disable: bool | None = None,
    *,
    solver: str | Callable[..., Plan] = "exp_res",
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    sigma_max: float = math.inf,
    noise_sampler: NoiseSampler | None = None,
    time: TimeMap = VE,
) -> torch.Tensor:
    """A RES solver under churn: every step within limits starts from a larger sigma, reached by adding noise.

    With a single-step solver of order p the distribution of the samples converges with order p, with a multistep one of
    order 2 or more with order 2. Order 3 in lambda overshoots at few steps under guidance. Order 1 on a VE model is
    k-diffusion's `sample_euler(s_churn=...)`.

    Args:
        model, x, sigmas, extra_args, callback, disable: as in `loop.run`.
        solver: a name in SOLVERS, or any planner that takes time and churn, such as
            `functools.partial(multistep_plan, order=3, interpolation=InAlpha(1.5), corrector=True)`.
        s_churn: total strength; a step starts from s_hat = (1 + min(s_churn / steps, 0.414)) s, with s = sigma / alpha and
            steps those that move. 0 is the deterministic solver, to the bit.
        s_tmin, s_tmax: a step is churned if its s is between them; s is sigma on VE and sigma / (1 - sigma) on flow models.
        s_noise: factor of the noise; 1 is right.
        sigma_max: the model's largest sigma, above which no step starts.
        noise_sampler: `noise_sampler(sigma_hat, sigma) -> unit noise like x`, independent from call to call. Segments
            of different steps overlap, so a Brownian tree over sigma is not. None for `noise.default_noise_sampler`.
        time: the time map of the model.

    Returns:
        The latent at the last sigma, shaped like x.

    Raises:
        ValueError: an option out of its range or a grid that cannot be sampled on, before the first call.
    """
    if isinstance(solver, str) and solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(map(repr, SOLVERS))}, or a planner, got {solver!r}.")
    planner = SOLVERS[solver] if isinstance(solver, str) else solver
    plan = planner(sigmas, time=time, churn=Churn(s_churn, s_tmin, s_tmax, s_noise, sigma_max))
    if noise_sampler is None and plan.draws_noise:
        noise_sampler = default_noise_sampler(model, x, extra_args or {}, plan.stages[0].sigma)
    return run(plan, model, x, sigmas, extra_args, callback, disable, noise_sampler)
