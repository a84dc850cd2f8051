"""Samplers on a GPU: what waits for it, whether noise and latents equal the CPU's, and the cost compared with large networks.

The page that it writes names the card, the driver and the versions. A part that fails leaves its reason in the page, and the
other parts run.
"""

import os
import time
from collections.abc import Callable

import torch

from testbed.in_process import load
from testbed.paths import OUTPUT

from . import gpu_checks, gpu_models, pages

PAGE, PARTS, MINUTES = "docs/gpu.md", ("loop", "latents", "time", "share", "stops", "lab", "graph"), 4
TIMES = True

_TEXTS = {
    "loop": (
        "Waits and noise",
        'The model costs nothing. `torch.cuda.set_sync_debug_mode("error")` makes every wait for the GPU an error, from the '
        "first model call to the last update. Each sampler waits once after that, to check that the last latent is finite. "
        "`exp_res_adaptive` makes such a run for every step that it tries. Noises are compared bit for bit.",
    ),
    "latents": (
        "Latents",
        "The table gives the relative RMS difference between the latents of the GPU and the CPU after eight steps with a model "
        "that has no closed solution. It is the largest value of the shapes 1x4x128x128, 1x16x128x128 and 1x16x21x60x104. Bold "
        "numbers are above "
        + ", ".join(f"{limit:g} for {str(dtype).removeprefix('torch.')}" for dtype, limit in gpu_checks.ALLOWED.items())
        + ". Processes have latents of their own size, in float32.",
    ),
    "time": (
        "Time and memory of the sampler",
        "The model costs nothing, so the time is the time of launching the sampler's kernels, for 20 steps in float32. The last "
        "column is the largest GPU memory during a run minus the memory before it.",
    ),
    "share": (
        "Share of a whole step",
        "The models are ComfyUI's own SDXL (2.6 billion weights, CFG 5, 20 steps) and Flux (12 billion weights, 10 steps) with "
        "random weights in bfloat16, at 1024x1024 pixels, through ComfyUI's sampling. The share is the time on the GPU between "
        "the end of a model call and the start of the next one, in the faster of two runs. A step of `exp_res_3s` makes three "
        "model calls.",
    ),
    "stops": ("Stopping", ""),
    "lab": ("Lab", ""),
    "graph": (
        "CUDA graphs",
        "The loop copies its sigmas to the GPU before the first model call and checks the GPU for NaN after the last one. "
        "Samplers therefore do not disturb a CUDA graph of the network.",
    ),
}


def unavailable() -> str:
    """Why it cannot run here; empty where it can."""
    return "" if torch.cuda.is_available() else "there is no GPU that torch can use; --quick tries the script itself on the CPU."


def parts(device: str, quick: bool) -> dict[str, Callable[[], str]]:
    """The parts, in the order in which they run; the graph comes last because a failed capture may leave CUDA in disorder."""
    shapes = ((1, 4, 16, 16), (1, 4, 3, 8, 8)) if quick else gpu_checks.SHAPES
    return {
        "loop": lambda: gpu_checks.loop_table(device),
        "share": lambda: gpu_models.share_table(device, quick),
        "time": lambda: gpu_models.time_table(device, 0.01 if quick else 0.4, shapes),
        "stops": lambda: f"{gpu_checks.nan_guard(device)} {gpu_checks.interrupt(device)}",
        "lab": lambda: gpu_checks.lab(device, quick),
        "latents": lambda: gpu_checks.latents_table(device, shapes),
        "graph": lambda: gpu_checks.graph(device),
    }


def report(quick: bool = False) -> pages.Report:
    """Every part, written to output/gpu.md as it is done; on the CPU where there is no GPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    load(cpu=device == "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(threads if quick else os.cpu_count() or threads)  # for the CPU's latents
    done: pages.Report = {}
    try:
        for name, part in parts(device, quick).items():
            started = time.monotonic()
            done[name] = gpu_checks.attempt(part)
            (OUTPUT / "gpu.md").write_text(_page(device, done), encoding="utf-8")
            pages.say(f"{name}: {time.monotonic() - started:.0f} s")
    finally:
        torch.set_num_threads(threads)
    return {"": _page(device, done), **done}


def _page(device: str, done: pages.Report) -> str:
    texts = [
        "\n\n".join(filter(None, (f"## {title}", text, done[name]))) for name, (title, text) in _TEXTS.items() if name in done
    ]
    return pages.page("benchmarks gpu", "Samplers on a GPU", f"Measured on {gpu_models.versions(device)}.", *texts)
