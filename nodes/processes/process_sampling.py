"""Sampling MODELs of CLD and blurring diffusion by the host's samplers and sampling nodes."""

import itertools
from collections.abc import Callable

import torch

from ...samplers.noise import ItemNoise, run_keys
from ...samplers.plan import Plan
from ...samplers.processes.coordinates import Coordinates, DenoisedData
from ...samplers.processes.process_sampler import run_on


def sample_process(sampling, planner: Callable[..., Plan], model, x, sigmas, extra_args, callback, disable, **options):
    """Sample a state from its data part, the latent that the host's sampling nodes see.

    The rest of the state, CLD's velocity, is drawn from its prior. It depends on the seed and the item's own noise.

    Args:
        sampling: the model's `ProcessSampling`.
        planner, options: one of `PLANNERS`, and its options.
        model: the host's denoiser, which gives eps here.
        x: the data part at sigmas[0], (batch, channels, ...), as `ProcessSampling.noise_scaling` makes it.
        sigmas, extra_args, callback, disable: as in `loop.run`.

    Raises:
        ValueError: the planner or `check_shape` raises one, the latent has a noise mask, or the schedule starts or ends where a
            latent cannot hold the state. It is raised before the first call.
    """
    sde = sampling.sde
    sampling.check_shape(x.shape)
    if extra_args.get("denoise_mask") is not None:
        raise ValueError(
            f"latent_image has a noise_mask, which a {sde.name} model cannot follow: its state is not the latent's. "
            "Remove the mask."
        )
    plan = planner(sde, sigmas, kind=sampling.kind, **options)
    if not plan.stages:
        return x
    if sde.size > 1:
        _check_whole(model, sde, sigmas)
    start, coordinates = plan.stages[0].sigma, Coordinates(sde, x)
    noise = ItemNoise(run_keys(model, x, extra_args, start), x.new_empty(1, x.shape[1] * sde.size, *x.shape[2:]))
    state = coordinates.started(start, x, _data(model, x, sde, start), noise(None, None))

    def eps(u, t, **arguments):
        return coordinates.to_state(model(coordinates.to_seen(u), t, **arguments))

    previews = DenoisedData(sde, sampling.kind, coordinates, [stage.sigma for stage in plan.stages], state)
    shown = callback and _data_callback(callback, coordinates, previews)
    return coordinates.data(run_on(plan, eps, state, sigmas, extra_args, shown, disable, noise))


def _check_whole(model, sde, sigmas) -> None:
    """Raise a ValueError for a part of a schedule: the velocity would be lost between the parts."""
    noise = getattr(model, "noise", None)
    if isinstance(noise, torch.Tensor) and not noise.any():
        raise ValueError(
            f"add_noise is off, but the latent holds only a part of a {sde.name} model's state: its velocity was lost. "
            "Sample in one run, with noise."
        )
    if sigmas[-1] > 0.0:
        raise ValueError(
            f"sigmas end at {float(sigmas[-1]):g}, where a {sde.name} model's state has a velocity, which a latent cannot hold. "
            "End at 0."
        )


def _data_callback(callback, coordinates: Coordinates, previews: DenoisedData):
    """A callback that gives the host's callback the data of states."""
    calls = itertools.count()

    def shown(info):
        denoised = previews.at(next(calls), info["x"], info["denoised"])
        callback({**info, "x": coordinates.data(info["x"]), "denoised": denoised})

    return shown


def _data(model, x: torch.Tensor, sde, start: float) -> torch.Tensor:
    """The latent that ComfyUI has added noise to; a ValueError if it is hidden before t_max, where nothing of it is left."""
    latent = getattr(model, "latent_image", None)
    if isinstance(latent, torch.Tensor) and latent.shape == x.shape:
        return latent.to(x)
    if sde.size > 1 and start < sde.t_max:
        raise ValueError(
            f"another node's SAMPLER calls this one and hides latent_image, on which the velocity of a {sde.name} model depends "
            f"at t = {start:g}. Set denoise to 1, or sample without that node."
        )
    return torch.zeros_like(x)
