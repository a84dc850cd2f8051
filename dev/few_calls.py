"""Draws README's picture: the same noises after 6, 10 and 20 calls of three samplers, and the converged pictures."""

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from embedded.emoji import SHAPE, emoji
from samplers.model_kinds import stable_diffusion
from samplers.schedules import logsnr_grid
from samplers.time_maps import VE
from testbed.in_process import load

SCHEDULER, SAMPLERS, CALLS = "karras", ("euler", "dpmpp_2m", "exp_res"), (6, 10, 20)
SEEDS, SHOWN = 256, 16
_REFERENCE = ("exp_res_3s", 60)
_RED, _GREY = "#e5484d", "#777777"


def endings(seeds: int) -> tuple[torch.Tensor, dict[tuple[str, int], torch.Tensor]]:
    """Which of the 512 emoji every noise becomes.

    Args:
        seeds: number of noises, drawn from one generator.

    Returns:
        Indices (seeds,) of the converged pictures, and those of every sampler and number of calls.
    """
    load()
    import comfy.k_diffusion.sampling as k_diffusion
    import comfy.model_sampling
    from comfy.samplers import calculate_sigmas

    class Sampling(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
        """Stable Diffusion's noise levels."""

    data, sampling = emoji(), Sampling()
    noise = torch.randn(seeds, data.means.shape[1], generator=torch.Generator().manual_seed(0))

    def run(name: str, sigmas: torch.Tensor) -> torch.Tensor:
        ends = getattr(k_diffusion, f"sample_{name}")(_Model(data, sampling), noise * sigmas[0], sigmas, disable=True)
        return torch.cdist(ends, data.means).argmin(1)

    name, steps = _REFERENCE
    converged = run(name, logsnr_grid(steps, stable_diffusion(), VE))
    grids = {calls: calculate_sigmas(sampling, SCHEDULER, calls) for calls in CALLS}
    return converged, {(name, calls): run(name, grid) for calls, grid in grids.items() for name in SAMPLERS}


class _Model:
    """The exact denoiser with the attributes that samplers look for in ComfyUI."""

    def __init__(self, data, sampling):
        self.data, self.model_sampling = data, sampling
        self.inner_model = self.model_patcher = self

    def get_model_object(self, _name):
        return self.model_sampling

    def __call__(self, x, sigma, **_):
        return self.data.denoise(x, sigma)


def draw() -> Figure:
    """A row of emoji per sampler and number of calls; a red frame where the emoji is not the converged one."""
    converged, ends = endings(SEEDS)
    tiles = ((emoji().means / 2.0 + 0.5).clamp(0.0, 1.0).reshape(-1, *SHAPE).permute(0, 2, 3, 1)).numpy()
    figure = Figure(figsize=(12.4, 7.5), dpi=110, facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(-3.2, SHOWN + 1.7), ylim=(11.5, -1.15), aspect="equal")
    axes.set_axis_off()

    def row(top: float, chosen: torch.Tensor, name: str, bold: bool = False) -> None:
        axes.text(-0.2, top + 0.5, name, ha="right", va="center", size=13, weight="bold" if bold else "normal")
        for index, item in enumerate(chosen[:SHOWN].tolist()):
            axes.imshow(tiles[item], extent=(index + 0.07, index + 0.93, top + 0.93, top + 0.07), interpolation="lanczos")
            if item != converged[index]:
                axes.add_patch(Rectangle((index + 0.03, top + 0.03), 0.94, 0.94, fill=False, edgecolor=_RED, linewidth=2.5))

    row(-0.6, converged, "converged", bold=True)
    axes.text(SHOWN + 0.15, -0.1, f"same picture\nin {SEEDS} noises", va="center", size=9, color=_GREY)
    for block, calls in enumerate(CALLS):
        top = 0.75 + 3.55 * block
        axes.text(-3.1, top + 1.5, f"{calls}\ncalls", va="center", size=17, weight="bold", linespacing=0.9)
        for place, name in enumerate(SAMPLERS):
            chosen = ends[name, calls]
            row(top + place, chosen, name, bold=name == SAMPLERS[-1])
            share = (chosen == converged).double().mean().item()
            axes.text(SHOWN + 0.15, top + place + 0.5, f"{share:.0%}", va="center", size=13, color=_GREY)
    return figure
