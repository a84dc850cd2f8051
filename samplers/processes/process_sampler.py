"""The loop on linear diffusions, and the pack's samplers that work there."""

import math
from collections.abc import Callable
from typing import Any

import torch

from ..loop import run
from ..options import ETA
from ..plan import Plan
from ..signature import Denoiser, Sigmas
from .linear_sde import LinearSDE
from .operators import on
from .process_planner import gddim_on, res_on


def run_on(plan: Plan, model: Denoiser, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    """`loop.run` for a plan of a linear diffusion: `model(u, t, **extra_args) -> eps`, and sigmas are times."""
    return run(on(plan, torch.promote_types(x.dtype, torch.float32), x.device), model, x, *args, **options)


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


def _gddim_sde(sde: LinearSDE, sigmas: Sigmas, kind: str, eta: float = 1.0, s_noise: float = 1.0) -> Plan:
    ETA.check(eta)
    return gddim_on(sde, sigmas, 0, noise_level=math.sqrt(eta), kind=kind, s_noise=s_noise)


def _check_options(sde: LinearSDE, options: dict[str, object], allowed: dict[str, object]) -> None:
    """Raise a ValueError that names the first option whose value a process does not allow."""
    for name, only in allowed.items():
        if options.get(name, only) != only:
            raise ValueError(f"{name} must be {only!r} on a {sde.name} model, got {options[name]!r}.")
    for name in options.keys() - allowed.keys():
        raise ValueError(f"{name} is not an option of this sampler on a {sde.name} model. Remove it.")


# the pack's samplers that work on a process, by name -> (sde, sigmas, kind, **options) -> Plan
PLANNERS: dict[str, Callable[..., Plan]] = {
    "exp_res_2m": _res("2M"),
    "exp_res_3m": _res("3M"),
    "exp_res_2mc": _res("2MC"),
    "exp_res_3mc": _res("3MC"),
    "exp_res_2s": _res("2S", c2=0.5),
    "exp_res_3s": _res("3S", c2=1 / 3, c3=2 / 3),
    "res_multistep": _multistep,
    "exp_gddim": gddim_on,
    "exp_gddim_sde": _gddim_sde,
}
