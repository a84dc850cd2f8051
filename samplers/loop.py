"""The loop that executes every plan.

It makes exactly `plan.calls` model calls, does not wait for the device before the last call, and allocates one latent-sized
buffer per call. A tensor that was handed to the model or the callback is never changed again, so wrappers may keep views of it.
"""

import logging

import torch
from tqdm.auto import tqdm

from .choice import Choice
from .finite import FiniteCheck
from .plan import Plan, Renoising
from .signature import Callback, ExtraArgs, Model, NoiseSampler, OnShares, Sigmas


@torch.no_grad()
def run(
    plan: Plan,
    model: Model,
    x: torch.Tensor,
    sigmas: Sigmas,
    extra_args: ExtraArgs = None,
    callback: Callback = None,
    disable: bool | None = None,
    noise_sampler: NoiseSampler | None = None,
    on_shares: OnShares = None,
) -> torch.Tensor:
    """Sample x along a plan, with k-diffusion's conventions.

    Args:
        plan: the plan, made for this grid.
        model: denoiser, `model(x, sigma, **extra_args) -> denoised`; sigma has shape (batch,). For a plan with CFG++ it returns
            (guided, unconditional) denoised outputs.
        x, sigmas: noisy latent, the batch first, and the grid of the plan, shape (steps + 1,). They are not changed.
        extra_args: keyword arguments for the model.
        callback: called after every model call with x, i (the index of the step, an int), sigma (the grid's), sigma_hat (the
            model's) and denoised.
        disable: hide the progress bar.
        noise_sampler: `noise_sampler(sigma, sigma_next) -> unit noise like x`; needed by plans with noise.
        on_shares: called after every model call of a plan that chooses among rules; its tensor is on the device of x.

    Returns:
        The latent at the last sigma, in x's dtype. For a plan without steps, x itself.

    Raises:
        ValueError: the plan adds noise and there is no noise_sampler, or the model returns a pair for a plan without CFG++, or
            no pair for a plan with CFG++.
        FloatingPointError: the latent contains NaN or infinity; on a GPU this is noticed a few calls late.
    """
    if noise_sampler is None and plan.draws_noise:
        raise ValueError(f"noise_sampler must be given: {plan.method} adds noise. Try samplers.noise.default_noise_sampler.")
    logging.getLogger(__name__).debug("%s", plan)  # formatted only where debug output is on
    extra_args = {} if extra_args is None else extra_args
    dtype = torch.promote_types(x.dtype, torch.float32)
    anchor = state = _opened(plan.opening, x.to(dtype), noise_sampler)
    # one row per call, made and moved to the device together; float64 never leaves the CPU unless x is float64
    call_sigmas = torch.tensor([stage.sigma for stage in plan.stages], dtype=dtype).to(x.device)
    batch_sigmas = call_sigmas[:, None].repeat(1, x.shape[0])
    last_use = {call: last for last, stage in enumerate(plan.stages) for call, _ in stage.weights}
    last_state_use = {call: last for last, stage in enumerate(plan.stages) for call, _ in stage.states}
    denoised: dict[int, torch.Tensor] = {}
    states: dict[int, torch.Tensor] = {}
    noises: list[torch.Tensor] = []
    check = FiniteCheck(plan.stages, state)
    choice = Choice(plan.stages, state, on_shares) if any(stage.alternatives for stage in plan.stages) else None
    with tqdm(total=plan.calls, disable=disable) as progress:
        for call, stage in enumerate(plan.stages):
            guided, output = _outputs(model(state.to(x.dtype), batch_sigmas[call], **extra_args), plan.cfg_pp)
            if callback is not None:
                sigma = {"sigma": sigmas[stage.step], "sigma_hat": call_sigmas[call]}
                callback({"x": state, "i": stage.step, "denoised": guided, **sigma})
            progress.update()
            denoised[call] = output
            del output
            if stage.segment is not None:
                noises.append(_unit_noise(noise_sampler, stage.segment))
            if call in last_state_use:
                states[call] = state
            if choice is None:
                state = stage.update(anchor, denoised, states, noises, guided)
            else:
                state = choice.update(call, anchor, denoised, states, noises, guided)
            check.note(state)
            del guided
            denoised = {j: d for j, d in denoised.items() if last_use.get(j, -1) > call}
            states = {j: x_j for j, x_j in states.items() if last_state_use[j] > call}
            if stage.closes_step:
                anchor = state
                noises.clear()
    check.finish()
    return state.to(x.dtype)


def _unit_noise(noise_sampler: NoiseSampler | None, segment: tuple[float, float]) -> torch.Tensor:
    # tensors, as k-diffusion's samplers pass them, on the CPU, where reading them waits for nothing
    assert noise_sampler is not None  # which `run` has seen to
    sigma, sigma_next = torch.tensor(segment, dtype=torch.float32).unbind()
    return noise_sampler(sigma, sigma_next)


def _opened(opening: Renoising | None, x: torch.Tensor, noise_sampler: NoiseSampler | None) -> torch.Tensor:
    """The state at the first call."""
    if opening is None:
        return x
    return (x * opening.scale).add_(_unit_noise(noise_sampler, opening.segment), alpha=opening.noise)


def _outputs(output: torch.Tensor | tuple[torch.Tensor, torch.Tensor], pair: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's result as (guided, unconditional); without CFG++ one tensor in both places."""
    if isinstance(output, tuple) != pair:  # a tensor would be unpacked along its batch
        wanted = "(guided, unconditional) for a sampler with CFG++" if pair else "one denoised output"
        raise ValueError(f"model must return {wanted}, got a {type(output).__name__}.")
    return output if isinstance(output, tuple) else (output, output)
