"""Adaptive step sizes compared with fixed grids and with ComfyUI's dpm_adaptive, on the digits.

Everything is measured at the last sigma above 0, because the step from there to 0 is the same for all and would hide
differences in the steps before it. The error is the relative distance to the converged solution at that sigma: its median over
the items, and in brackets its 0.9 quantile. Calls are counted at the model. The fixed grids have the same ends as the adaptive
runs, namely those of logsnr_uniform, and use the same RES-3S with the most steps that do not exceed the calls of
exp_res_adaptive.
"""

import torch

from samplers.adaptive import C2, C3
from samplers.lab.distances import relative_distance

from . import host_samplers, pages
from .cases import Case, digits_case, network_cases

PAGE, PARTS, MINUTES = None, ("digits", "networks"), 9
RTOLS = (0.2, 0.1, 0.05, 0.02, 0.01)
SETTINGS = [("eps", 1.0), ("eps", 5.0), ("flow", 1.0), ("flow", 5.0)]  # kind and CFG of the digits
ATOL_PER_RTOL = 0.0078 / 0.05  # both samplers have this ratio of their defaults


def adaptive_sampler(name: str, rtol: float):
    """exp_res_adaptive or ComfyUI's dpm_adaptive at a tolerance."""
    import comfy.samplers

    if name == "exp_res_adaptive":
        return host_samplers.node("RESAdaptive", rtol, ATOL_PER_RTOL * rtol, 10_000)[0]
    return comfy.samplers.ksampler(name, {"rtol": rtol, "atol": ATOL_PER_RTOL * rtol})


def fixed_sampler():
    """The method of exp_res_adaptive on a fixed grid."""
    return host_samplers.node("RESSingleStep", {"stages": "3", "c2": C2, "c3": C3})[0]


def fixed_grids(case: Case) -> dict:
    """name -> function from a step count to SIGMAS without the last step to 0; all have the ends of logsnr_uniform."""
    from comfy.k_diffusion.sampling import get_sigmas_karras

    first, last = case.grid("logsnr_uniform", 20)[[0, -2]].tolist()
    return {
        "logsnr_uniform": lambda n: case.grid("logsnr_uniform", n + 1)[:-1],
        "karras": lambda n: get_sigmas_karras(n + 1, last, first)[:-1],
        "uniform sigma": lambda n: torch.linspace(first, last, n + 1),
    }


def converged(case: Case, steps: int = 200) -> torch.Tensor:
    """The solution at the last sigma above 0, computed through ComfyUI and thus with its rounding of timesteps."""
    return case.sample(host_samplers.sampler("exp_res_3s"), fixed_grids(case)["logsnr_uniform"](steps))[0]


def table(case: Case, rtols=RTOLS) -> str:
    """Markdown: calls and errors at every tolerance."""
    fixed = fixed_grids(case)
    ends = fixed["logsnr_uniform"](20)[[0, -1]]
    truth = converged(case)

    def error_of(samples):
        error = relative_distance(samples, truth)
        return f"{float(error.median()):.5f} ({float(error.quantile(0.9)):.4f})"

    res_3s, rows = fixed_sampler(), []
    for rtol in rtols:
        samples, calls = case.sample(adaptive_sampler("exp_res_adaptive", rtol), ends)
        cells = [f"{rtol:g}", str(calls), error_of(samples)]
        cells += [error_of(case.sample(res_3s, grid(calls // 3))[0]) for grid in fixed.values()]
        samples, calls = case.sample(adaptive_sampler("dpm_adaptive", rtol), ends)
        rows.append([*cells, str(calls), error_of(samples)])
    head = ["rtol", "calls", "exp_res_adaptive", *(f"RES-3S, {name}" for name in fixed), "calls", "dpm_adaptive"]
    pages.say(f"{case.name} done")
    return f"**{case.name}**, sigma {ends[0]:.4g} to {ends[1]:.3g}\n\n{pages.table(head, rows, 0)}"


def report(quick: bool = False) -> pages.Report:
    """One table per case; the trained networks run with and without CFG 3."""
    host_samplers.load()
    digits = [digits_case(kind, 4 if quick else 64, cfg=cfg) for kind, cfg in SETTINGS]
    suites = {"digits": digits, "networks": network_cases(2 if quick else 12)}
    rtols = RTOLS[:1] if quick else RTOLS
    return {name: "\n\n".join(table(case, rtols) for case in cases) for name, cases in suites.items()}
