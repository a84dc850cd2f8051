"""The types of a sampler's arguments, by k-diffusion's conventions.

Denoiser       model(x, sigma, **extra_args) -> denoised, shaped like x; sigma has shape (batch,).
Model          a Denoiser; for a sampler with CFG++ one that returns (guided, unconditional) denoised outputs.
Sigmas         a grid of n + 1 sigmas, 1-D.
ExtraArgs      keyword arguments for the model; None for none.
Callback       called after every model call with a dict of x, i (the step, an int), sigma, sigma_hat and denoised; None for none.
NoiseSampler   noise_sampler(sigma, sigma_next) -> unit noise like x, for the segment between them.
OnShares       on_shares(shares) with the share of each rule in the step that follows a call, (batch, rules); None for nobody.
ByCall         denoised outputs or states by the number of the model call.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

Denoiser = Callable[..., torch.Tensor]
Model = Callable[..., torch.Tensor | tuple[torch.Tensor, torch.Tensor]]
Sigmas = torch.Tensor | Sequence[float]
ExtraArgs = dict[str, Any] | None
Callback = Callable[[dict[str, Any]], object] | None
NoiseSampler = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
OnShares = Callable[[torch.Tensor], object] | None
ByCall = Mapping[int, torch.Tensor]
