"""Claim (g): a noisy network: the denoised output plus white noise, independent from call to call."""

import copy
from types import SimpleNamespace

import numpy as np
import torch

from benchmarks import host_samplers
from benchmarks.cases import Case, grids
from benchmarks.pages import table
from samplers import res
from samplers.lab.distances import relative_distance

from . import paper_figures
from .paper_bench import COMMON, HEADLINE, LABELS, Bench, at_calls, steps_of
from .paper_claims import Comparison, Ratio, geometric, rank_correlation, rising, spaced
from .paper_defects import MULTISTEP

METHODS = ("euler", "heun", "dpmpp_2s (eta 0)", "exp_res_2s", "exp_res_3s", "dpmpp_2m", "exp_res_2m", "exp_res_3m",
           "exp_res_2mc", "exp_res", "deis")  # fmt: skip
MODELS = ("ring", "digits", "unet")
CALLS = 15
_NOISE_SEED = 100_000
_ROOT = "root of sum w^2 before it"
_ABOUT = """Every denoised output gets white noise of r times the RMS of the sample, independent from call to call; {calls}
calls on the grid {grid}, the same noises for every method, call by call. Amplification: distance to the same run without noise,
over r times the norm of the sample; 1 is what the last output's own noise makes. Weights w: what every output contributes to
the result where outputs do not depend on the state. They add up to 1, so that an error that is the same at all calls is not
amplified; independent noise is by the root of the sum of squares, and nothing by more than the sum of absolute values. Most
methods end with the last output itself, so that both are 1 and the rest comes through what that output makes of the state
before it; hence the first two columns."""


def noisy(case: Case, size: float) -> Case:
    """The case with noise of `size` times the RMS of an item's converged solution on every denoised output."""
    rms = case.reference.flatten(1).square().mean(dim=1).sqrt().reshape(-1, *[1] * len(case.shape))
    model = case.model.clone()
    generator = torch.Generator().manual_seed(_NOISE_SEED + case.seed)

    def add(args):
        denoised = args["denoised"]
        return denoised + size * rms.to(denoised) * torch.randn(denoised.shape, generator=generator).to(denoised)

    model.set_model_sampler_post_cfg_function(add)
    other = copy.copy(case)
    other.model = model
    return other


def solved(case: Case, name: str) -> torch.Tensor:
    """Samples of one run, so that all methods meet the same noises, call by call."""
    return at_calls(case, name, grids(case)[COMMON], CALLS)


def amplification(case: Case, name: str, size: float, clean: torch.Tensor) -> torch.Tensor:
    """Distance of the items to the run without noise, over that of the noise of one call."""
    change = solved(noisy(case, size), name).double() - clean.double()
    return relative_distance(case.reference + change, case.reference) / size  # of the change, to the size of the solution


class Impulses:
    """A model whose output at its j-th call is the j-th unit vector, so that what samplers make of zeros are their weights."""

    def __init__(self, case: Case, calls: int):
        self.outputs = iter(torch.eye(calls, dtype=torch.float64))
        self.made = 0
        inner = SimpleNamespace(model_sampling=case.model_sampling)
        self.inner_model = SimpleNamespace(inner_model=inner, model_patcher=case.model)

    def __call__(self, x, sigma, **extra_args):
        self.made += 1
        return next(self.outputs)[None]


def total_weights(case: Case, name: str, sigmas: torch.Tensor, calls: int = 64) -> np.ndarray:
    """What every denoised output contributes to the end of a grid where outputs do not depend on the state."""
    import comfy.k_diffusion.sampling as k_diffusion_sampling

    model, x = Impulses(case, calls), torch.zeros(1, calls, dtype=torch.float64)
    if name in res.METHODS:
        found = res.METHODS[name].sample(model, x, sigmas, disable=True)
    else:
        function, options = host_samplers.DETERMINISTIC[name]
        found = getattr(k_diffusion_sampling, f"sample_{function}")(model, x, sigmas, {}, disable=True, **options)
    return found[0, : model.made].numpy()


def sums(case: Case, name: str) -> dict[str, float]:
    """Of absolute weights and the root of the sum of squares, down to the last sigma above 0 and to 0."""
    sigmas = grids(case)[COMMON](steps_of(name, CALLS)).double()
    before, end = (total_weights(case, name, s) for s in (sigmas[:-1], sigmas))
    return {
        "sum of abs(w) before the last step": float(np.abs(before).sum()),
        _ROOT: float(np.sqrt((before**2).sum())),
        "sum of abs(w) to 0": float(np.abs(end).sum()),
        "root of sum w^2 to 0": float(np.sqrt((end**2).sum())),
    }


def section(bench: Bench, folder) -> str:
    """Claim (g)."""
    names = [name for name in MODELS if name in bench.names]
    weights = {m: sums(bench.case("digits"), m) for m in METHODS}
    found = {name: {m: _amplifications(bench, name, m) for m in METHODS} for name in names}
    least = bench.size.sizes[0]
    lines = []
    for pair in (HEADLINE, MULTISTEP):
        rows = [tuple(found[name][m][size] for m in pair) for name in names for size in bench.size.sizes]
        ours, theirs = (LABELS[m] for m in pair)
        lines.append(Comparison(f"{ours} amplifies noise less than {theirs}", rows, "of its amplification").sentence())
    lines += _against_ddim(bench, found)
    for name in names:
        correlation = [
            rank_correlation([weights[m][_ROOT] for m in METHODS], [found[name][m][least][seed] for m in METHODS])
            for seed in range(bench.size.seeds)
        ]
        claim = f"{name}: methods rank by amplification as by the root of the sum of squared weights before the last step"
        lines.append(rising(claim, correlation))
    rows = []
    for m in METHODS:
        measured = [spaced(found[name][m][least]) for name in names]
        rows.append([LABELS[m], *(f"{v:.2f}" for v in weights[m].values()), *measured])
    sizes = [[LABELS[m], *(str(_mean(found, names, m, size)) for size in bench.size.sizes)] for m in METHODS]
    paper_figures.noises(bench.size.sizes, found, folder / "results_noise.png")
    return "\n\n".join(
        [
            "## (g) A noisy network",
            _ABOUT.format(calls=CALLS, grid=COMMON),
            "\n".join(lines),
            f"Amplification at r = {least:g}:",
            table(["method", *next(iter(weights.values())), *names], rows),
            "Geometric mean over the models, by r:",
            table(["method", *(f"r = {size:g}" for size in bench.size.sizes)], sizes),
            "![amplification by size of the noise](results_noise.png)",
        ]
    )  # fmt: skip


def _amplifications(bench: Bench, name: str, method: str) -> dict[float, list[float]]:
    """A list over seeds for every size of the noise."""
    case = bench.case(name)
    clean = solved(case, method)
    return {size: bench.medians(amplification(case, method, size, clean)) for size in bench.size.sizes}


def _mean(found: dict, names, method: str, size: float) -> Ratio:
    return geometric([found[name][method][size] for name in names])


def _against_ddim(bench: Bench, found: dict) -> list[str]:
    """Which methods amplify more than DDIM does."""
    lines = []
    for m in METHODS[1:]:
        rows = [(found[name]["euler"][size], found[name][m][size]) for name in found for size in bench.size.sizes]
        lines.append(Comparison(f"DDIM amplifies noise less than {LABELS[m]}", rows, "of its amplification").sentence())
    return lines
