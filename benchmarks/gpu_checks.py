"""Checks of the samplers on a GPU with a model that costs nothing: waits, noise, latents, and errors that stop a run."""

import inspect
import sys
import time
import traceback
import types
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

from . import host_samplers as host
from . import overhead, pages
from .lab import guider_and_latent, own_folders
from .overhead import SHAPES

HOSTS = ("euler", "dpmpp_2m", "res_multistep", "uni_pc", "dpmpp_2m_sde")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
ALLOWED = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}  # relative RMS of the difference
_SMALL, _FEW_STEPS = (4, 4, 32, 32), 8


class Case(NamedTuple):
    """A SAMPLER and the model for its runs: the MODEL of a process, with latents of its own, or None for one like SD."""

    name: str
    sampler: Any
    stochastic: bool = False
    process: Any = None

    def run(self, answer: Callable, x: torch.Tensor, steps: int = overhead.STEPS) -> torch.Tensor:
        """Sample x with `answer(x, sigma)` instead of a model."""
        grid = overhead.sigmas(steps)
        if self.process is not None:
            grid = host.node("RESGDDIMTimes", self.process, steps, 1.0, 2.0, 0.0)[0]
        model, options = _Model(answer, self.process), self.sampler.extra_options
        return self.sampler.sampler_function(model, x, grid.to(x.device), {"seed": 1}, disable=True, **options)

    def start(self, device: str, shape: tuple[int, ...] = _SMALL, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The start of the run, with the same numbers on every device."""
        shape, scale = (shape, 14.6) if self.process is None else ((4, 1, 8, 8), 1.0)
        return (scale * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(dtype).to(device)


class _Model(host.Denoiser):
    """A denoiser whose post-CFG functions get an unconditional output, as CFG++ needs."""

    def __init__(self, answer: Callable, process: Any = None):
        super().__init__(answer, overhead.sd_sampling())
        self.inner_model.model_patcher = process or self.inner_model.model_patcher
        self.inner_model.conds = {"negative": [None]}

    def __call__(self, x, sigma, model_options=types.MappingProxyType({}), **extra_args):
        denoised = super().__call__(x, sigma)
        for hook in model_options.get("sampler_post_cfg_function", ()):
            hook({"denoised": denoised, "uncond_denoised": 0.9 * denoised, "uncond": True})
        return denoised


def cases() -> list[Case]:
    """Every sampler of the pack: registered ones, and those of the nodes."""
    import comfy.samplers

    registry, single = host.pack("registry"), {"stages": "3", "c2": 0.4, "c3": 0.75}
    named = host.pack("samplers").METHODS | registry.ADAPTIVE_SAMPLERS
    made = [Case(name, comfy.samplers.KSAMPLER(registry.for_host(s)), s.stochastic) for name, s in named.items()]
    alpha = {"interpolation": "alpha", "data_scale": 6.0, "power": 1.5, "eps_share": 0.33}
    gddim = {"mode": "deterministic", "degree": 2, "corrector": "PECE"}
    by_node = [
        ("RES Multistep, alpha", "RESMultistep", ("4", True, alpha), False),
        ("RES Multistep, lambda", "RESMultistep", ("3", False, {"interpolation": "lambda"}), False),
        ("RES Multistep, CFG++", "RESMultistep", ("4", True, alpha, True), False),
        ("RES Single-step, CFG++", "RESSingleStep", (single, True), False),
        ("RES Stochastic (churn)", "RESStochasticChurn", ("exp_res", 6.0, 0.0, 999.0, 1.0), True),
        ("gDDIM, PECE", "RESGDDIM", (gddim,), False),
    ]
    made += [Case(label, host.node(node, *inputs)[0], stochastic) for label, node, inputs, stochastic in by_node]
    ours = {case.name: case.sampler for case in made}
    for process in ({"process": "CLD", "kind": "R"}, {"process": "blurring", "blur": 20.0}):
        model = host.node("RESDigitsProcessModel", process, 0.1)[0]
        for name in ("exp_gddim", "exp_gddim_sde", "exp_res_2m"):
            # the velocity of CLD is drawn too
            made.append(Case(f"{name} on {process['process']}", ours[name], True, model))
    return made


def attempt(part: Callable[..., str], *args) -> str:
    """The text of a part of the report, or why it failed, so that the other parts still run."""
    try:
        return part(*args)
    except Exception as error:
        traceback.print_exc()
        return f"**failed:** {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def pack_module(name: str) -> types.ModuleType:
    """A module such as "samplers.loop" of the pack as ComfyUI has loaded it."""
    host.load()
    return next(module for loaded, module in sys.modules.items() if loaded.endswith(f".{name}"))


def waits(case: Case, device: str) -> str:
    """The first wait for the GPU between the first model call and the last update, or "none"."""

    def answer(x, sigma):
        _sync_debug("error", device)
        return x * 0.5

    try:
        # the samplers wait once when the loop is over, to see whether the last latent is finite
        check = pack_module("samplers.finite").FiniteCheck
        with patch.object(check, "finish", lambda self: _sync_debug("default", device)):
            case.run(answer, case.start(device))
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        _sync_debug("default", device)
    return "none"


def _sync_debug(mode: str, device: str) -> None:
    if device == "cuda":
        torch.cuda.set_sync_debug_mode(mode)


def noises(case: Case, device: str, **options) -> list[torch.Tensor]:
    """All noises that a run adds, on the device."""
    import comfy.samplers

    seen, to_device = [], pack_module("samplers.noise").to_device

    def keep(*args):
        seen.append(to_device(*args))
        return seen[-1]

    sampler = comfy.samplers.KSAMPLER(case.sampler.sampler_function, {**case.sampler.extra_options, **options})
    case = case._replace(sampler=sampler)
    independent, brownian = pack_module("samplers.noise"), pack_module("samplers.brownian")
    with patch.object(independent, "to_device", keep), patch.object(brownian, "to_device", keep):
        case.run(lambda x, sigma: x * 0.5, case.start(device))
    return seen


def loop_table(device: str) -> str:
    """Markdown: what waits for the GPU, and whether noises are those of the CPU."""
    rows = []
    for case in (*cases(), *(Case(name, host.sampler(name)) for name in HOSTS)):
        kinds = ("independent", "brownian") if "noise" in _options_of(case) else ("",)
        compared = [attempt(_compared, case, device, kind) for kind in kinds if case.stochastic]
        rows.append([case.name, attempt(waits, case, device), ", ".join(compared)])
    return pages.table(["sampler", "waits in the loop", "noises equal to the CPU's"], rows, 3)


def _compared(case: Case, device: str, kind: str) -> str:
    """Whether the noises of a run on the GPU are those of the CPU, bit for bit."""
    there, here = (noises(case, where, **({"noise": kind} if kind else {})) for where in (device, "cpu"))
    same = len(here) == len(there) > 0 and all(torch.equal(a.cpu(), b) for a, b in zip(there, here))
    return f"{kind} {'all' if same else '**NOT**'} of {len(here)}".strip()


def _options_of(case: Case) -> tuple[str, ...]:
    """Names of the options that the function behind a sampler of the pack takes; none on a process."""
    function = getattr(case.sampler.sampler_function, "__wrapped__", None)
    return () if function is None or case.process is not None else tuple(inspect.signature(function).parameters)


def latents_table(device: str, shapes=SHAPES) -> str:
    """Markdown: how far latents of the GPU are from the CPU's, by dtype; the largest over the shapes."""
    rows = []
    for case in cases():
        few = case.process is not None  # a process has one shape and float32
        texts = [attempt(_worst, case, shapes[:1] if few else shapes, dtype, device) for dtype in DTYPES[: 1 if few else None]]
        rows.append([case.name, *texts, *["-"] * (len(DTYPES) - len(texts))])
    return pages.table(["sampler", *(str(dtype).removeprefix("torch.") for dtype in DTYPES)], rows)


def _worst(case: Case, shapes, dtype: torch.dtype, device: str) -> str:
    worst = max(_distance(case, shape, dtype, device) for shape in shapes)
    return f"{worst:.1e}" if worst <= ALLOWED[dtype] else f"**{worst:.1e}**"


def _distance(case: Case, shape: tuple[int, ...], dtype: torch.dtype, device: str) -> float:
    there, here = (case.run(_curved, case.start(where, shape, dtype), _FEW_STEPS).cpu().float() for where in (device, "cpu"))
    return float((there - here).norm() / here.norm())


def _curved(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """A denoiser without a closed solution, of operations that hardly differ between devices."""
    sigma = sigma.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    return x / (1.0 + sigma * sigma) + 0.5 * torch.tanh(x / (1.0 + sigma))


def _stopped(device: str, fifth: Callable, error: type[Exception]) -> tuple[int, str] | None:
    """Model calls and message of a run that ends with an error, None if it does not; `fifth(x)` answers its fifth call."""
    case, calls = _exp_res(), 0

    def answer(x, sigma):
        nonlocal calls
        calls += 1
        return fifth(x) if calls == 5 else 0.5 * x

    try:
        case.run(answer, case.start(device, SHAPES[0]))
    except error as raised:
        return calls, str(raised)
    return None


def nan_guard(device: str) -> str:
    """A text about a run whose fifth model call gives NaN."""
    text = "The fifth of 20 model calls answers with NaN"
    stopped = _stopped(device, lambda x: x * float("nan"), FloatingPointError)
    if stopped is None:
        return f"**{text}, and the run does not stop.**"
    return f"{text}: the run stops after {stopped[0]} calls with «{stopped[1].split('. ')[0]}»."


def interrupt(device: str) -> str:
    """A text about the model calls of a prompt that is interrupted."""
    import comfy.model_management as management

    def fifth(x):
        management.interrupt_current_processing(True)
        return 0.5 * x

    try:
        stopped = _stopped(device, fifth, management.InterruptProcessingException)
    finally:
        management.interrupt_current_processing(False)
    if stopped is None:
        return "**A prompt that is interrupted does not stop.**"
    return f"A prompt that is interrupted during the fifth of 20 model calls stops after {stopped[0]}."


def _exp_res() -> Case:
    return next(case for case in cases() if case.name == "exp_res")


def lab(device: str, quick: bool) -> str:
    """The results of *RES Lab: Measure* and *RES Lab: Trace* on the emoji, whose exact denoiser runs on the GPU."""
    import comfy.model_management

    batch, names = 2 if quick else 16, "exp_res, dpmpp_2m, euler, res_multistep, uni_pc, exp_res_2m"
    model = host.node("RESToyModel", "emoji", {"kind": "flow", "shift": 3.0}, 0.1)[0]
    guider, latent = guider_and_latent(model, "emoji", "animals", 3.0, batch)
    inputs = ("exp_res, euler", "simple", "4, 6") if quick else (names, "simple", "6, 8, 10, 15, 20")
    with own_folders():
        started = time.perf_counter()
        sampler, sigmas, *_, verdict = host.node("RESLabMeasure", guider, latent, 1, *inputs)
        seconds = time.perf_counter() - started
        host.node("RESLabTrace", guider, latent, 1, sampler, sigmas, "res_lab/trace")
    assert comfy.model_management.get_torch_device().type == device
    return (
        f"*RES Lab: Measure* on {batch} emoji, {inputs[0].count(',') + 1} samplers at budgets {inputs[2]}, took {seconds:.1f} s; "
        f"it says «{verdict}» *RES Lab: Trace* then ran once."
    )


def graph(device: str) -> str:
    """Whether a CUDA graph can capture a whole run of exp_res, and its result."""
    if device != "cuda":
        return "CUDA graphs need a GPU."
    case = _exp_res()
    x = case.start(device, SHAPES[1])
    run = partial(case.run, lambda x, sigma: x * 0.5, x)
    expected, captured = run(), torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    try:
        with torch.cuda.graph(captured):
            result = run()
    except Exception as error:
        return f"A whole run of `exp_res` cannot be captured in a CUDA graph: «{str(error).splitlines()[0]}»."
    captured.replay()
    torch.cuda.synchronize()
    repeats = "repeats" if torch.equal(result, expected) else "**changes**"
    return f"A whole run of `exp_res` can be captured in a CUDA graph; replayed, it {repeats} the latent."
