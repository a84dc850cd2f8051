"""Sampling on a linear diffusion with k-diffusion's signature, and the pack's samplers that work there."""

import math
from collections.abc import Callable

import torch

from ..gddim_rule import CORRECTOR, DEGREE
from ..loop import run
from ..noise import default_noise_sampler
from ..plan import MAX_STRENGTH, Plan
from ..signature import Callback, Denoiser, ExtraArgs, NoiseSampler, Sigmas
from .linear_sde import LinearSDE
from .operators import on
from .process_planner import gddim_on, res_on


def run_on(
    plan: Plan,
    model: Denoiser,
    x: torch.Tensor,
    sigmas: Sigmas,
    extra_args: ExtraArgs = None,
    callback: Callback = None,
    disable: bool | None = None,
    noise_sampler: NoiseSampler | None = None,
) -> torch.Tensor:
    """`loop.run` for a plan of a linear diffusion: `model(u, t, **extra_args) -> eps`, and sigmas are times."""
    there = on(plan, torch.promote_types(x.dtype, torch.float32), x.device)
    return run(there, model, x, sigmas, extra_args, callback, disable, noise_sampler)


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
    noise_level: float = 0.0,
    kind: str = "R",
    noise_sampler: NoiseSampler | None = None,
) -> torch.Tensor:
    """Sample a state along falling times by gDDIM.

    Args:
        model: `model(u, t, **extra_args) -> eps`, both shaped like x; t has shape (batch,).
        x: states at sigmas[0]: `sde.size` groups of channels, one group after the other. The last two axes of
            blurring diffusion are frequencies.
        sigmas, extra_args, callback, disable: as in `loop.run`; sigmas are times t, and "denoised" is eps.
        sde, degree, corrector, noise_level, kind: see `gddim_on`.
        noise_sampler: as in `loop.run`; None for `noise.default_noise_sampler`.

    Returns:
        The state at the last time; at time 0 the mean of u0.

    Raises:
        ValueError: see `gddim_on`; before the first call.
    """
    if x.shape[1] % sde.size or (sde.grid and tuple(x.shape[-2:]) != sde.grid):
        raise ValueError(
            f"x has the shape {tuple(x.shape)}, but states of {sde.name} have {sde.size} channels for each of the data's"
            + (f" and are of size {sde.grid}." if sde.grid else ".")
        )
    plan = gddim_on(sde, sigmas, degree, corrector, noise_level, kind)
    if noise_sampler is None and plan.draws_noise:
        noise_sampler = default_noise_sampler(model, x, extra_args or {}, plan.stages[0].sigma)
    return run_on(plan, model, x, sigmas, extra_args, callback, disable, noise_sampler)


def planner_of(name: str) -> Callable[..., Plan] | None:
    """The planner of one of the pack's samplers on a process, (sde, sigmas, kind, **options) -> Plan; None for the others."""
    return _PLANNERS.get(name)


def _res(method: str, **only: float) -> Callable[..., Plan]:
    """A RES method; `only` are options that have one possible value on a process."""

    def plan(sde: LinearSDE, sigmas: Sigmas, kind: str, **options: object) -> Plan:
        _check_options(sde, options, {"cfg_pp": False, **only})
        return res_on(sde, sigmas, method, kind)

    return plan


def _multistep(sde: LinearSDE, sigmas: Sigmas, kind: str, order: int, corrector: bool, **options: object) -> Plan:
    """The paper's multistep methods, with the options of `sample_res_multistep`."""
    _check_options(sde, options, {"interpolation": "lambda", "cfg_pp": False})
    return res_on(sde, sigmas, f"{order}M" + "C" * corrector if order > 1 else "1", kind)


def _gddim(sde: LinearSDE, sigmas: Sigmas, kind: str, degree: int = DEGREE, corrector: str = CORRECTOR) -> Plan:
    return gddim_on(sde, sigmas, degree, corrector, kind=kind)


def _gddim_sde(sde: LinearSDE, sigmas: Sigmas, kind: str, eta: float = 1.0, s_noise: float = 1.0) -> Plan:
    if not 0.0 <= eta <= MAX_STRENGTH:
        raise ValueError(f"eta must be between 0 and {MAX_STRENGTH:g}, got {eta!r}.")
    return gddim_on(sde, sigmas, 0, noise_level=math.sqrt(eta), kind=kind, s_noise=s_noise)


def _check_options(sde: LinearSDE, options: dict[str, object], allowed: dict[str, object]) -> None:
    """Raise a ValueError that names the first option whose value a process does not allow."""
    for name, only in allowed.items():
        if options.get(name, only) != only:
            raise ValueError(f"{name} must be {only!r} on a {sde.name} model, got {options[name]!r}.")
    for name in options.keys() - allowed.keys():
        raise ValueError(f"{name} is not an option of this sampler on a {sde.name} model. Remove it.")


_PLANNERS: dict[str, Callable[..., Plan]] = {
    "exp_res_2m": _res("2M"),
    "exp_res_3m": _res("3M"),
    "exp_res_2mc": _res("2MC"),
    "exp_res_3mc": _res("3MC"),
    "exp_res_2s": _res("2S", c2=0.5),
    "exp_res_3s": _res("3S", c2=1 / 3, c3=2 / 3),
    "res_multistep": _multistep,
    "exp_gddim": _gddim,
    "exp_gddim_sde": _gddim_sde,
}
