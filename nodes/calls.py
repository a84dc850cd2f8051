"""How often a sampler calls the model, whether it chooses its own grid, and which rules it mixes."""

import inspect

import comfy.samplers

from ..samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS
from .registry import is_own

# The host's samplers -> model calls per step; the last step, to sigma 0, is one call. Samplers that choose their own grid or
# depend on more than the number of steps (dpm_fast, dpm_adaptive, heunpp2) are left out.
_HOST_SAMPLERS = {
    **dict.fromkeys(("euler", "euler_ancestral", "lms", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde"), 1),
    **dict.fromkeys(("ddim", "ddpm", "lcm", "ipndm", "ipndm_v", "deis", "er_sde", "uni_pc", "uni_pc_bh2", "sa_solver"), 1),
    **dict.fromkeys(("res_multistep", "res_multistep_ancestral", "gradient_estimation"), 1),
    **dict.fromkeys(("heun", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde", "seeds_2"), 2),
    **dict.fromkeys(("exp_heun_2_x0", "exp_heun_2_x0_sde"), 2),
    "seeds_3": 3,
}
# Sampler functions that choose their own grid between the ends of SIGMAS.
_OWN_GRID = {"dpm_fast_function", "dpm_adaptive_function", *(f"sample_{name}" for name in ADAPTIVE_SAMPLERS)}


def chooses_own_grid(sampler) -> bool:
    """Whether a SAMPLER of this pack or of the host chooses its own grid between the ends of SIGMAS."""
    return getattr(getattr(sampler, "sampler_function", None), "__name__", "") in _OWN_GRID


def with_shares(sampler, on_shares):
    """A SAMPLER that reports which rules it mixes, see `loop.run`; the SAMPLER itself if it does not choose among rules."""
    function = getattr(sampler, "sampler_function", None)
    plain = type(sampler) is comfy.samplers.KSAMPLER and is_own(function)  # a subclass or a wrapper may do more
    if not plain or "on_shares" not in inspect.signature(function).parameters:
        return sampler
    return comfy.samplers.KSAMPLER(function, {**sampler.extra_options, "on_shares": on_shares}, sampler.inpaint_options)


def samplers_with_known_calls() -> dict[str, int]:
    """Registered sampler -> model calls per step, this pack's samplers first."""
    ours = {name: method.calls_per_step for name, method in SAMPLERS.items()}
    return {name: calls for name, calls in (ours | _HOST_SAMPLERS).items() if name in comfy.samplers.SAMPLER_NAMES}


def calls_on(sigmas: list[float], stages: int) -> int:
    """Model calls on a grid with `stages` calls per step."""
    steps = len(sigmas) - 1
    return stages * steps - (stages - 1) * (sigmas[-1] == 0.0) if steps > 0 else 0
