"""What only a GPU can show: that the loop does not wait for it, that noise is the CPU's, and the time beside the model.

The model is free, and every sampler runs. In the loop `torch.cuda.set_sync_debug_mode("error")` makes each wait for the GPU
an error; it is on from the first model call to the last update.
"""

from unittest.mock import patch

import torch

import samplers.brownian
import samplers.noise
from samplers.finite import FiniteCheck
from samplers.res import METHODS

from . import host_samplers, overhead, pages

PAGE, PARTS, MINUTES = None, ("loop", "time"), 3
TIMES = True
HOSTS = ("euler", "dpmpp_2m", "res_multistep", "uni_pc", "dpmpp_2m_sde")
TIMED = (*HOSTS, "exp_res", "exp_res_2mc", "exp_res_2m", "exp_res_2s", "exp_res_3s", "exp_res_sde")
_SIZE = (4, 4, 32, 32)


def waits(run, device: str) -> str:
    """The first wait for the GPU in the loop of `run(model, x)`, or "none"."""

    def model(x, sigma, **extra):
        _sync_debug("error", device)
        return x * 0.5

    try:
        # ours wait once when the loop is over, to see whether the last latent is finite
        with patch.object(FiniteCheck, "finish", lambda self: _sync_debug("default", device)):
            run(model, _start(device))
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        _sync_debug("default", device)
    return "none"


def noises(run, device: str) -> list[torch.Tensor]:
    """All noises that `run(model, x)` adds, as they are on the device."""
    seen, moved = [], samplers.noise.moved

    def keep(*args):
        seen.append(moved(*args))
        return seen[-1]

    with patch.object(samplers.noise, "moved", keep), patch.object(samplers.brownian, "moved", keep):
        run(lambda x, sigma, **extra: x * 0.5, _start(device))
    return seen


def _ours(name: str, **options):
    """`run(model, x)` for a sampler of ours."""
    sampler = METHODS[name]

    def run(model, x):
        denoise = (lambda x, sigma, **extra: (model(x, sigma), x)) if sampler.cfg_pp else model
        return sampler.sample(denoise, x, overhead.sigmas().to(x.device), {"seed": 1}, disable=True, **options)

    return run


def _hosts(name: str):
    function = host_samplers.sampler(name).sampler_function
    return lambda model, x: function(overhead.free_denoiser(model), x, overhead.sigmas().to(x.device), {"seed": 1}, disable=True)


def _start(device: str) -> torch.Tensor:
    return (14.6 * torch.randn(_SIZE, generator=torch.Generator().manual_seed(0))).to(device)


def _sync_debug(mode: str, device: str) -> None:
    if device == "cuda":
        torch.cuda.set_sync_debug_mode(mode)


def loop_table(device: str) -> str:
    """Markdown: what waits for the GPU, and whether noises are those of the CPU."""
    rows = []
    for sampler in (*METHODS, *HOSTS):
        ours, compared = sampler in METHODS, []
        for noise in ("independent", "brownian") if ours and METHODS[sampler].stochastic else ():
            there, here = (noises(_ours(sampler, noise=noise), where) for where in (device, "cpu"))
            same = len(here) == len(there) and all(torch.equal(a.cpu(), b) for a, b in zip(there, here))
            compared.append(f"{noise}: {'all' if same else 'NOT'} of {len(here)}")
        rows.append([sampler, waits(_ours(sampler) if ours else _hosts(sampler), device), ", ".join(compared)])
    return pages.table(["sampler", "waits in the loop", "noises equal to the CPU's"], rows, 3)


def time_table(device: str, seconds: float) -> str:
    """Markdown: milliseconds a step."""
    shapes = overhead.LATENTS.values()
    rows = [[name, *(f"{overhead.time_per_step(name, shape, device, seconds):.3f}" for shape in shapes)] for name in TIMED]
    return pages.table(["sampler", *(f"ms/step, {label}" for label in overhead.LATENTS)], rows)


def unavailable() -> str:
    """Why it cannot run here; empty where it can."""
    return "" if torch.cuda.is_available() else "there is no GPU that torch can use; --quick tries the script itself on the CPU."


def report(quick: bool = False) -> pages.Report:
    """Both tables; on the CPU where there is no GPU."""
    host_samplers.load()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else device
    parts = {"loop": loop_table(device), "time": time_table(device, 0.05 if quick else 2.0)}
    return {"": "\n\n".join([f"torch {torch.__version__}, {name}", *parts.values()]) + "\n", **parts}
