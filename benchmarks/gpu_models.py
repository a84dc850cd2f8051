"""What a sampler costs beside a network of real size: ComfyUI's own classes of SDXL and Flux with random weights in bfloat16."""

import subprocess
import sys
import time
from typing import NamedTuple

import torch

from . import host_samplers as host
from . import overhead, pages
from .gpu_checks import SHAPES, Case, attempt

TIMED = (
    "euler", "dpmpp_2m", "res_multistep", "exp_res", "exp_res_2m", "exp_res_2mc", "exp_res_2s", "exp_res_3s", "exp_res_sde",
)  # fmt: skip
BESIDE_A_NETWORK = ("euler", "dpmpp_2m", "res_multistep", "exp_res", "exp_res_2m", "exp_res_3s", "exp_res_sde")
_SDXL = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 4], "transformer_depth": [0, 0, 2, 2, 10, 10], "transformer_depth_middle": 10,
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "context_dim": 2048, "adm_in_channels": 2816,
    "num_classes": "sequential", "num_head_channels": 64, "use_spatial_transformer": True, "use_linear_in_transformer": True,
    "use_temporal_attention": False, "use_temporal_resblock": False, "use_checkpoint": False, "legacy": False,
}  # fmt: skip
_FLUX = {
    "image_model": "flux", "in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": 768, "context_in_dim": 4096,
    "hidden_size": 3072, "mlp_ratio": 4.0, "num_heads": 24, "depth": 19, "depth_single_blocks": 38, "axes_dim": [16, 56, 56],
    "theta": 10000, "qkv_bias": True, "guidance_embed": True, "txt_ids_dims": [],
}  # fmt: skip


class Size(NamedTuple):
    """A network and what it is sampled on.

    Attributes:
        family: class of comfy.supported_models.
        config: of the network; `small` are the changes that make it run on a CPU in a second.
        latent: shape of the latent.
        tokens, width, pooled: shape of the prompt.
        cfg, steps: of the run.
    """

    family: str
    config: dict
    small: dict
    latent: tuple[int, ...]
    tokens: int
    width: int
    pooled: int
    cfg: float
    steps: int


_SMALL_SDXL = {
    "model_channels": 32, "num_res_blocks": [1, 1], "channel_mult": [1, 2], "transformer_depth": [0, 1],
    "transformer_depth_middle": 1, "transformer_depth_output": [0, 0, 1, 1], "num_head_channels": 16,
}  # fmt: skip
_SMALL_FLUX = {"hidden_size": 128, "num_heads": 1, "depth": 1, "depth_single_blocks": 1}
SIZES = {
    "SDXL": Size("SDXL", _SDXL, _SMALL_SDXL, (1, 4, 128, 128), 77, 2048, 1280, 5.0, 20),
    "Flux": Size("Flux", _FLUX, _SMALL_FLUX, (1, 16, 128, 128), 512, 4096, 768, 1.0, 10),
}


class Cost(NamedTuple):
    """The cost of a run: milliseconds of a whole step, and the share of the run between model calls, 0 to 1."""

    step: float
    share: float


class _Clock:
    """Marks on the time line of the device: events of the GPU, which no one waits for."""

    def __init__(self, device: str):
        self._cuda, self._marks = device == "cuda", []

    def mark(self) -> None:
        if self._cuda:
            self._marks.append(torch.cuda.Event(enable_timing=True))
            self._marks[-1].record()
        else:
            self._marks.append(time.perf_counter())

    def gaps(self) -> list[float]:
        """Milliseconds between neighbouring marks."""
        if self._cuda:
            torch.cuda.synchronize()
            return [a.elapsed_time(b) for a, b in zip(self._marks, self._marks[1:])]
        return [(b - a) * 1e3 for a, b in zip(self._marks, self._marks[1:])]


class _Timed:
    """The denoiser that ComfyUI gives a sampler, with a mark before and after every call."""

    def __init__(self, model, clock: _Clock):
        self._model, self._clock = model, clock

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __call__(self, *args, **kwargs):
        self._clock.mark()
        denoised = self._model(*args, **kwargs)
        self._clock.mark()
        return denoised


def network(size: Size, device: str, quick: bool):
    """A MODEL with random weights in bfloat16."""
    import comfy.model_patcher
    import comfy.supported_models

    config = getattr(comfy.supported_models, size.family)({**size.config, **(size.small if quick else {})})
    config.set_inference_dtype(torch.bfloat16, None)
    model = config.get_model({}, device=device).to(device)
    with torch.no_grad():
        for tensor in (*model.diffusion_model.parameters(), *model.diffusion_model.buffers()):
            if tensor.is_floating_point():
                tensor.normal_(std=0.01)
    return comfy.model_patcher.ModelPatcher(model.eval(), torch.device(device), torch.device(device))


def cost(size: Size, model, name: str, device: str, quick: bool) -> Cost:
    """The cost of one run with a sampler through ComfyUI, including prompts and CFG."""
    import comfy.sample
    import comfy.samplers

    clock, sampler = _Clock(device), host.sampler(name)

    def timed(model, *args, **kwargs):
        latent = sampler.sampler_function(_Timed(model, clock), *args, **kwargs)
        clock.mark()
        return latent

    latent = torch.zeros(*size.latent[:2], *(16, 16) if quick else size.latent[2:])
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
    prompt = [[torch.zeros(1, 8 if quick else size.tokens, size.width), {"pooled_output": torch.zeros(1, size.pooled)}]]
    steps = 3 if quick else size.steps
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", steps)
    made = comfy.samplers.KSAMPLER(timed, sampler.extra_options)
    comfy.sample.sample_custom(model, noise, size.cfg, made, sigmas, prompt, prompt, latent, disable_pbar=True, seed=1)
    gaps = clock.gaps()  # a call, what the sampler does after it, a call, ...
    return Cost(sum(gaps) / steps, sum(gaps[1::2]) / sum(gaps))


def share_table(device: str, quick: bool, sizes: dict[str, Size] = SIZES) -> str:
    """Markdown: milliseconds of a step and the sampler's share of it, beside networks of real size."""
    return "\n\n".join(attempt(_shares, label, size, device, quick) for label, size in sizes.items())


def _shares(label: str, size: Size, device: str, quick: bool) -> str:
    import comfy.model_management

    model = network(size, device, quick)
    try:
        cost(size, model, "euler", device, quick)  # the first run chooses kernels
        rows = []
        for name in BESIDE_A_NETWORK:
            result = min(cost(size, model, name, device, quick) for _ in range(2))
            rows.append([name, f"{result.step:.2f}", f"{100 * result.share:.3f} %"])
        return pages.table([f"sampler, {label}", "ms/step", "sampler's share"], rows)
    finally:
        del model
        comfy.model_management.unload_all_models()
        comfy.model_management.soft_empty_cache()


def time_table(device: str, seconds: float, shapes=SHAPES) -> str:
    """Markdown: milliseconds per step and most latents held at once, with a model that costs nothing."""
    rows = []
    for name in TIMED:
        times = [f"{overhead.time_per_step(name, shape, device, seconds):.3f}" for shape in shapes]
        rows.append([name, *times, _held(name, shapes[-1], device)])
    labels = ["x".join(map(str, shape)) for shape in shapes]
    return pages.table(["sampler", *(f"ms/step, {label}" for label in labels), f"latents held, {labels[-1]}"], rows)


def _held(name: str, shape: tuple[int, ...], device: str) -> str:
    """Memory at the peak of a run above that before it, in latents."""
    if device != "cuda":
        return "-"
    case, x, denoised = Case(name, host.sampler(name)), torch.ones(shape, device=device), torch.zeros(shape, device=device)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    case.run(lambda x, sigma: denoised, x)
    torch.cuda.synchronize()
    return f"{(torch.cuda.max_memory_allocated() - before) / (x.numel() * x.element_size()):.1f}"


def versions(device: str) -> str:
    """The card, its driver, and the versions of what runs on it."""
    import comfyui_version

    software = f"ComfyUI {comfyui_version.__version__}, torch {torch.__version__}, Python {sys.version.split()[0]}"
    if device != "cuda":
        return f"CPU, {software}"
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "-i", "0"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        driver = "unknown"
    return f"{torch.cuda.get_device_name()}, driver {driver}, CUDA {torch.version.cuda}, {software}"
