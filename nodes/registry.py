"""Registers samplers and schedulers with the host, by appending names and never by replacing anything.

The host has no API for this. Appending in place is the convention that works with other packs that do the same. Packs that load
later may still replace the host's lists, or reload the module that holds them, so lost names are appended again when the server
starts and all packs are loaded.
"""

import functools
import inspect
import logging

import comfy.k_diffusion.sampling as k_diffusion_sampling
import comfy.model_management
import comfy.samplers

from ..samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS
from ..samplers.grid import made_for_flow
from ..samplers.method import Method
from ..samplers.schedules import logsnr_grid
from ..samplers.time_maps import VE
from .host import (
    OtherProcess,
    check_answers_for_one_sigma,
    check_holds_noise,
    check_no_cache,
    model_sampling_of,
    prompt_server,
    sigma_range,
    time_map,
)
from .planning import watched_by_host
from .unconditional import GuidedAndUnconditional

_MARK = "comfyui_res"  # attribute by which a second import recognises the functions of the first; wrappers copy it
_DEPTH = 10  # number of wrappers around a function that are looked through
_SET: set[str] = set()  # names that this module has bound
_warn_once = functools.cache(logging.warning)  # names are checked again when the server starts


def for_host(method: Method):
    """A sampler of the catalogue for the host; it finds the time map of the model, and for CFG++ the unconditional output."""

    @functools.wraps(method.sample)
    @watched_by_host()
    def host_sample(model, x, sigmas, extra_args=None, callback=None, disable=None, **options):
        sampling = model_sampling_of(model)
        if isinstance(sampling, OtherProcess):
            return sampling.sample(method.name, model, x, sigmas, extra_args, _once_a_step(callback), disable, **options)
        check_answers_for_one_sigma(model)
        if method.name in ADAPTIVE_SAMPLERS:
            check_no_cache(method.name, extra_args or {})
        time = time_map(sampling)
        if doubt := made_for_flow(sigmas, time, float(sampling.sigma_max)):
            logging.warning("ComfyUI-RES: %s", doubt)
        time = time if time is VE else method.flow_time.scaled(time.noise_scale)
        if method.stochastic:
            check_holds_noise(sampling)
        if method.cfg_pp:
            model = GuidedAndUnconditional(model, extra_args or {})
            extra_args = model.extra_args
        return method.sample(model, x, sigmas, extra_args, _once_a_step(callback), disable, time=time, **options)

    setattr(host_sample, _MARK, host_sample)
    return host_sample


def is_own(function) -> bool:
    """Whether a function is one of `for_host`, and not a wrapper around one."""
    return _attribute(function, _MARK) is function


def as_sampler(method: Method, /, **options) -> comfy.samplers.KSAMPLER:
    """A SAMPLER of a method with these options."""
    return comfy.samplers.KSAMPLER(for_host(method), extra_options=options)


def _once_a_step(callback):
    """Call the host's callback after the first call of every step, as the host's `heun` does, because packs count steps by it.

    After every call it stops an interrupted prompt, because the host checks for interrupts only when it shows progress.
    """
    shown = None

    def check(info):
        nonlocal shown
        comfy.model_management.throw_exception_if_processing_interrupted()
        if callback is not None and info["i"] != shown:
            shown = info["i"]
            callback(info)

    return check


def logsnr_scheduler(spacing: str):
    """A scheduler with the host's `handler(model_sampling, steps)` signature."""

    def handler(model_sampling, steps):
        return logsnr_grid(steps, sigma_range(model_sampling), time_map(model_sampling), spacing)

    setattr(handler, _MARK, True)
    return handler


def register_all() -> None:
    """Offer the pack's samplers and schedulers in KSampler, KSamplerSelect, BasicScheduler and the rest."""
    for name, method in (SAMPLERS | ADAPTIVE_SAMPLERS).items():
        register_sampler(name, for_host(method))
    register_scheduler("logsnr_uniform", logsnr_scheduler("uniform"))
    register_scheduler("logsnr_arctan", logsnr_scheduler("logit"))


def register_again_at_start() -> None:
    """Have the host's server, if there is one that has not started, call `register_all` once more before its first request."""
    server = prompt_server()
    if server is not None and not server.app.on_startup.frozen:
        server.app.on_startup.append(_register_again)


async def _register_again(app) -> None:
    try:
        register_all()
    except Exception as error:  # an exception here would keep the server from starting
        logging.warning("ComfyUI-RES: its samplers and schedulers could not be listed again (%s); some may be missing.", error)


def register_sampler(name: str, sample) -> bool:
    """Make `sample` available as comfy.k_diffusion.sampling.sample_<name>; False if the name is taken."""
    present = getattr(k_diffusion_sampling, f"sample_{name}", None)
    if present is None:
        setattr(k_diffusion_sampling, f"sample_{name}", sample)
    return _listed(name, present, comfy.samplers.SAMPLER_NAMES, comfy.samplers.KSampler.SAMPLERS)


def register_scheduler(name: str, handler) -> bool:
    """Offer `handler(model_sampling, steps)` as a scheduler; False if the name is taken."""
    present = comfy.samplers.SCHEDULER_HANDLERS.get(name)
    if present is None:
        comfy.samplers.SCHEDULER_HANDLERS[name] = comfy.samplers.SchedulerHandler(handler)
    present = getattr(present, "handler", present)
    return _listed(name, present, comfy.samplers.SCHEDULER_NAMES, comfy.samplers.KSampler.SCHEDULERS)


def _listed(name: str, present, *lists) -> bool:
    """Append a name to lists, unless the function that was present under this name belongs to another pack."""
    if present is None:
        _SET.add(name)
    elif not _is_ours(name, present):
        return False
    # one list with two names in today's host, or two lists if a pack has rebound one of them
    for names in lists:
        if not isinstance(names, list):
            _warn_once("ComfyUI-RES: another pack has replaced a list of names by a %s, which misses ours.", type(names).__name__)
        elif name not in names:
            names.append(name)
    return True


def _is_ours(name: str, function) -> bool:
    """Whether a name is bound to a function of this pack or to a wrapper of it; unclear cases are logged."""
    inner, depth = function, 0
    while inner is not None and depth < _DEPTH:
        if _attribute(inner, _MARK):
            return True
        # where functools.wraps, functools.partial and callable objects keep what they wrap
        called = None if inspect.isroutine(inner) else _attribute(inner, "__call__")
        inner, depth = _attribute(inner, "__wrapped__") or _attribute(inner, "func") or called, depth + 1
    owner = _attribute(function, "__module__") or type(function).__module__
    if name in _SET:
        _warn_once("ComfyUI-RES: name %s is now bound to a function of %s, which may wrap ours; it stays listed.", name, owner)
        return True
    _warn_once("ComfyUI-RES: name %s belongs to %s; it is not changed.", name, owner)
    return False


def _attribute(thing, name: str):
    """An attribute, None where there is none; objects of other packs may raise anything when they are asked."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None
