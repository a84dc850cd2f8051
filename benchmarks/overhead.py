"""What a sampler costs in addition to the model: time, operations, host reads and buffers per step.

The model is free (it returns a ready tensor), so all the time is the sampler's. ComfyUI's samplers run in the same process as
ours, on latents of 1x4x128x128 and 1x16x128x128 (SDXL and Flux at 1024x1024) and 1x16x21x60x104 (Wan).
"""

import types

import torch
from torch.utils.benchmark import Timer

from testbed.operations import count_operations

from . import host_samplers, pages

PAGE, PARTS, MINUTES = None, (), 1
TIMES = True
LATENTS = {"1x4x128x128": (1, 4, 128, 128), "1x16x128x128": (1, 16, 128, 128), "1x16x21x60x104": (1, 16, 21, 60, 104)}
SAMPLERS = ("euler", "res_multistep", "exp_res", "exp_res_2m", "exp_res_3m", "exp_res_2mc", "exp_res_2s", "exp_res_3s")
STEPS = 20


def free_denoiser(answer):
    """A denoiser with the attributes that ComfyUI's samplers read from a model; `answer(x, sigma)` costs nothing."""
    import comfy.model_sampling as ms

    sampling = type("Sampling", (ms.ModelSamplingDiscrete, ms.EPS), {})()
    patcher = types.SimpleNamespace(get_model_object=lambda name: sampling)

    class Denoiser:
        inner_model = types.SimpleNamespace(model_patcher=patcher)

        def __call__(self, x, sigma, **extra_args):
            return answer(x, sigma)

    return Denoiser()


def sigmas() -> torch.Tensor:
    """The grid: STEPS Karras steps of an SD model."""
    return torch.linspace(14.6 ** (1 / 7), 0.03 ** (1 / 7), STEPS + 1) ** 7


def time_per_step(name: str, shape: tuple[int, ...], device: str = "cpu", seconds: float = 2.0) -> float:
    """Milliseconds per step: the median of runs that are repeated for a number of seconds."""
    denoised, x = torch.zeros(shape, device=device), torch.ones(shape, device=device)
    run = host_samplers.sampler(name).sampler_function
    model = free_denoiser(lambda x, sigma: denoised)
    arguments = {"run": run, "model": model, "x": x, "sigmas": sigmas().to(device)}
    timer = Timer("run(model, x, sigmas, {}, disable=True)", globals=arguments)
    return timer.blocked_autorange(min_run_time=seconds).median * 1e3 / STEPS


def counts(name: str):
    """Operations, host reads and buffers of a whole run, see `testbed.operations.Counts`."""
    x = torch.ones(1, 4, 64, 64)
    run = host_samplers.sampler(name).sampler_function
    return count_operations(lambda model: run(free_denoiser(model), x, sigmas(), extra_args={}, disable=True), x.numel())


def report(quick: bool = False) -> pages.Report:
    """The table, one row per sampler."""
    host_samplers.load()
    rows = []
    for name in SAMPLERS:
        count = counts(name)
        times = [f"{time_per_step(name, shape, seconds=0.1 if quick else 2.0):.2f}" for shape in LATENTS.values()]
        per_call = f"{count.latent_operations / count.model_calls:.1f}"
        rows.append([f"`{name}`", *times, per_call, f"{count.host_reads_in_loop / STEPS:.1f}", str(count.peak_buffers)])
    head = ["sampler", *(f"ms/step, {label}" for label in LATENTS), "operations/call", "host reads/step", "peak buffers"]
    return {"": pages.table(head, rows)}
