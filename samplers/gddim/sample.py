"""gDDIM on any linear diffusion, with k-diffusion's signature."""

import torch

from ..loop import run
from ..noise import default_noise_sampler
from ..signature import Callback, Denoiser, ExtraArgs, NoiseSampler, Sigmas
from .linear_sde import LinearSDE
from .plan import gddim_on


def sample_gddim(
    model: Denoiser,
    x: torch.Tensor,
    sigmas: Sigmas,
    extra_args: ExtraArgs = None,
    callback: Callback = None,
    disable: bool | None = None,
    *,
    sde: LinearSDE,
    degree: int = 2,
    corrector: str = "none",
    lam: float = 0.0,
    kind: str = "R",
    noise_sampler: NoiseSampler | None = None,
) -> torch.Tensor:
    """Sample a state along falling times.

    Args:
        model: `model(u, t, **extra_args) -> eps`, both shaped like x; t has shape (batch,).
        x: states at sigmas[0]: `sde.size` groups of channels, each after the other; frequencies in the last two axes.
        sigmas, extra_args, callback, disable: as in `loop.run`; sigmas are times t, and "denoised" is eps.
        sde, degree, corrector, lam, kind: see `gddim_on`.
        noise_sampler: as in `loop.run`; None for `noise.default_noise_sampler`.

    Returns:
        The state at the last time, at 0 the mean of u0 alone.

    Raises:
        ValueError: see `gddim_on`; before the first call.
    """
    if x.shape[1] % sde.size or (sde.grid and tuple(x.shape[-2:]) != sde.grid):
        raise ValueError(
            f"x has the shape {tuple(x.shape)}, but states of {sde.name} have {sde.size} channels for each of the data's"
            + (f" and are of size {sde.grid}." if sde.grid else ".")
        )
    plan = gddim_on(sde, sigmas, degree, corrector, lam, kind)
    if noise_sampler is None and plan.draws_noise:
        noise_sampler = default_noise_sampler(model, x, extra_args or {}, plan.stages[0].sigma)
    return run(plan, model, x, sigmas, extra_args, callback, disable, noise_sampler)
