"""What a sampler costs in addition to the model: time, operations, host reads and buffers per step; and what its noise costs.

The model is free (it returns a ready tensor), so all the time is the sampler's. ComfyUI's samplers run in the same process as
ours, on latents of 1x4x128x128 and 1x16x128x128 (SDXL and Flux at 1024x1024) and 1x16x21x60x104 (Wan). The noise is drawn
without a sampler and compared with torchsde's Brownian tree as ComfyUI's samplers use it.
"""

import resource
import time

import torch
from torch.utils.benchmark import Timer

from samplers.brownian import BrownianNoise
from samplers.noise import ItemNoise
from samplers.time_maps import VE
from testbed.operations import count_operations

from . import host_samplers, pages
from .host_samplers import Denoiser

PAGE, PARTS, MINUTES = None, ("noise", "samplers"), 1
TIMES = True
SHAPES = ((1, 4, 128, 128), (1, 16, 128, 128), (1, 16, 21, 60, 104))
SAMPLERS = ("euler", "res_multistep", "exp_res", "exp_res_2m", "exp_res_3m", "exp_res_2mc", "exp_res_2s", "exp_res_3s")
STEPS = 20


def sd_sampling():
    """Stable Diffusion's ModelSampling object."""
    import comfy.model_sampling as ms

    return type("Sampling", (ms.ModelSamplingDiscrete, ms.EPS), {})()


def sigmas(steps: int = STEPS) -> torch.Tensor:
    """Karras steps of an SD model."""
    return torch.linspace(14.6 ** (1 / 7), 0.03 ** (1 / 7), steps + 1) ** 7


def time_per_step(name: str, shape: tuple[int, ...], device: str = "cpu", seconds: float = 2.0) -> float:
    """Milliseconds per step: the median of runs that are repeated for a number of seconds."""
    denoised, x = torch.zeros(shape, device=device), torch.ones(shape, device=device)
    run = host_samplers.sampler(name).sampler_function
    model = Denoiser(lambda x, sigma: denoised, sd_sampling())
    arguments = {"run": run, "model": model, "x": x, "sigmas": sigmas().to(device)}
    timer = Timer("run(model, x, sigmas, {}, disable=True)", globals=arguments)
    return timer.blocked_autorange(min_run_time=seconds).median * 1e3 / STEPS


def counts(name: str):
    """Operations, host reads and buffers of a whole run, see `testbed.operations.Counts`."""
    x = torch.ones(1, 4, 64, 64)
    run = host_samplers.sampler(name).sampler_function
    options = {"extra_args": {}, "disable": True}
    return count_operations(lambda model: run(Denoiser(model, sd_sampling()), x, sigmas(), **options), x.numel())


def _cost(noise, steps: int) -> list[str]:
    grid = sigmas(steps).double()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for a, b in zip(grid, grid[1:]):
        noise(a, b)
    elapsed = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return [f"{elapsed / steps * 1e3:.1f}", f"{max(grown, 0.0):.0f}"]


def noise_table(steps: int = 30) -> str:
    """Markdown: CPU milliseconds per step, and the growth of the process in MB (in rising order, since it never shrinks)."""
    import torchsde  # a requirement of ComfyUI

    x = torch.zeros(1, 16, 128, 128)
    tree = torchsde.BrownianTree(torch.tensor(0.01), x, torch.tensor(30.0), entropy=5)
    noises = {
        "independent": ItemNoise([5], x),
        "brownian": BrownianNoise([5], x, VE, 1.0),
        "torchsde.BrownianTree in sigma": lambda a, b: tree(b, a),
    }
    return pages.table(["noise", "ms/step", "MB"], [[name, *_cost(noise, steps)] for name, noise in noises.items()])


def samplers_table(seconds: float) -> str:
    """Markdown: one row per sampler; each time is measured for a number of seconds."""
    rows = []
    for name in SAMPLERS:
        count = counts(name)
        times = [f"{time_per_step(name, shape, seconds=seconds):.2f}" for shape in SHAPES]
        per_call = f"{count.latent_operations / count.model_calls:.1f}"
        rows.append([f"`{name}`", *times, per_call, f"{count.host_reads_in_loop / STEPS:.1f}", str(count.peak_buffers)])
    times = (f"ms/step, {'x'.join(map(str, shape))}" for shape in SHAPES)
    return pages.table(["sampler", *times, "operations/call", "host reads/step", "peak buffers"], rows)


def report(quick: bool = False) -> pages.Report:
    """Both tables, the noise first, because larger latents would hide how much memory it takes."""
    host_samplers.load()
    return {"noise": noise_table(), "samplers": samplers_table(0.1 if quick else 2.0)}
