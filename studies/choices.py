"""The measurements behind the defaults: the flow interior, nodes of RES-2S and -3S, exponents of `power`, gDDIM's variable.

Each table is the geometric mean of the median relative defect over digits of width 0.05 and 0.15, with and without
guidance, and 7 to 20 calls, without ComfyUI. The last table compares the two time variables on flow models in ComfyUI.
"""

import math
import statistics

import numpy as np
import torch

from benchmarks import host_samplers, pages
from benchmarks.cases import CONVERGING, ROUGH, at_most, grids, standard_cases
from embedded.digits import digits
from samplers.interpolation import lagrange
from samplers.lab.distances import relative_distance
from samplers.lab.reference import reference_grid
from samplers.loop import run
from samplers.multistep import multistep_plan
from samplers.schedules import FLOW_INTERIOR, SigmaRange, logsnr_grid
from samplers.single_step import single_step_plan
from samplers.tableaus import res_2s, res_3s
from samplers.time_maps import FLOW, FLOW_LOG_SIGMA, VE

PAGE, PARTS, MINUTES = None, ("interior", "nodes", "power", "gddim", "flow_times"), 9
CALLS = (7, 10, 13, 20)
SD = SigmaRange(0.0291675, 14.614642)
Problems = dict[bool, list]  # by whether of flow


def methods(flow: bool) -> dict:
    """Name -> (calls a step, plan), each in the time map that is its default."""
    multi, single = (FLOW, FLOW_LOG_SIGMA) if flow else (VE, VE)
    return {
        "2M": (1, lambda sigmas: multistep_plan(sigmas, 2, multi)),
        "3M": (1, lambda sigmas: multistep_plan(sigmas, 3, multi)),
        "2S": (2, lambda sigmas: single_step_plan(sigmas, res_2s(), single)),
        "3S": (3, lambda sigmas: single_step_plan(sigmas, res_3s(), single)),
    }


def problems(flow: bool, batch: int = 32) -> list:
    """(denoiser, starting noise, converged solution) of every case."""
    x = torch.randn(batch, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x if flow else x * SD.sigma_max
    weights = torch.nn.functional.one_hot(torch.arange(batch) % 10, 10).double()
    time = FLOW if flow else VE
    fine = reference_grid(200, 1.0 if flow else SD.sigma_max, time.sigma(9.0), time)
    found = []
    for width in (0.05, 0.15):
        mixture = digits(width, torch.float64)
        for cfg in (1.0, 4.0):

            def denoise(x, sigma, mixture=mixture, cfg=cfg):
                alpha = 1.0 - sigma if flow else 1.0
                plain = mixture.denoise(x, sigma, alpha)
                return plain if cfg == 1.0 else plain + cfg * (mixture.denoise(x, sigma, alpha, weights) - plain)

            found.append((denoise, x, run(single_step_plan(fine, res_3s(), time), denoise, x, fine, disable=True)))
    return found


def defect(cases, methods, grid, counts) -> float:
    """Geometric mean over cases, methods and counts of calls; `grid` is a function from a step count to sigmas."""
    medians = []
    for calls_per_step, plan in methods:
        for calls in counts:
            sigmas = grid(max(2, (calls - 1) // calls_per_step + 1))
            for denoise, x, exact in cases:
                error = relative_distance(run(plan(sigmas), denoise, x, sigmas, disable=True), exact)
                medians.append(float(error.median()))
    return statistics.geometric_mean(medians)


def flow_grid(first: float, last: float):
    """Function from a step count to a grid uniform in lambda, started at sigma = 1 and ended at 0."""

    def grid(steps):
        sigmas = torch.linspace(first, last, steps, dtype=torch.float64).neg().sigmoid()
        return torch.cat([torch.ones(1, dtype=torch.float64), sigmas[1:], torch.zeros(1, dtype=torch.float64)])

    return grid


def interior_table(cases: Problems, counts=CALLS) -> str:
    """Where the finite part of a flow grid should lie; shift does not enter, it moves grids and not the process."""
    ours, lasts = methods(flow=True).values(), (3.0, 3.5, 4.0, 4.5, 5.0, 5.8, 6.9)
    rows = [
        [f"{first:g}", *(f"{defect(cases[True], ours, flow_grid(first, last), counts):.4f}" for last in lasts)]
        for first in (-6.0, -4.0, -3.0, -2.5, -2.0, -1.5)
    ]
    return pages.table(["lambda_0 \\ lambda_1", *(f"{last:g}" for last in lasts)], rows, 0)


def nodes_table(cases: Problems, counts=CALLS) -> str:
    """c2 of RES-2S and (c2, c3) of RES-3S, on grids uniform in logSNR."""
    tableaus = [res_2s(c) for c in (1 / 3, 0.4, 0.5, 0.6, 0.75, 1.0)]
    tableaus += [res_3s(*c) for c in ((1 / 3, 2 / 3), (0.4, 2 / 3), (0.4, 0.75), (0.5, 0.75), (0.3, 0.6), (0.5, 1.0))]
    rows = []
    for tableau in tableaus:
        cells = []
        for flow in (False, True):
            time = FLOW_LOG_SIGMA if flow else VE
            method = (tableau.stages, lambda sigmas, tableau=tableau, time=time: single_step_plan(sigmas, tableau, time))
            grid = flow_grid(*FLOW_INTERIOR) if flow else lambda n: logsnr_grid(n, SD, VE)
            cells.append(f"{defect(cases[flow], [method], grid, counts):.4f}")
        rows.append([tableau.name, *cells])
    return pages.table(["method", "eps", "flow"], rows)


def power_table(cases: Problems, counts=CALLS) -> str:
    """The exponent of the spacings power and edm_rho."""
    spacings = [("power", "power", p) for p in (0.7, 0.8, 0.9, 1.0, 1.2)] + [("edm_rho", "rho", rho) for rho in (5.0, 7.0, 15.0)]
    rows = []
    for spacing, parameter, exponent in spacings:
        cells = []
        for flow in (False, True):
            ends = (SigmaRange(0.003, 1.0), FLOW) if flow else (SD, VE)
            values = {parameter: exponent}
            grid = lambda n, ends=ends, s=spacing, values=values: logsnr_grid(n, *ends, s, values)  # noqa: E731
            cells.append(f"{defect(cases[flow], methods(flow).values(), grid, counts):.4f}")
        rows.append([f"{spacing} {exponent:g}", *cells])
    return pages.table(["spacing", "eps", "flow"], rows)


# What polynomials through values of eps could be in.
VARIABLES = {
    "rho (DEIS)": lambda rho: rho,
    "rho^(1/2)": np.sqrt,
    "log(1 + rho)": np.log1p,
    "arctan rho": np.arctan,
    "rho / (1 + rho)": lambda rho: rho / (1.0 + rho),
    "log rho": np.log,
}


def gddim_table(cases: Problems, counts=CALLS) -> str:
    """What gDDIM's polynomials are in; eps, grids uniform in logSNR and EDM's, without the step to 0 and without guards."""
    degrees = (1, 2, 3)
    rows = [
        [name, *(f"{_gddim_defect(cases[False], degree, variable, counts):.4f}" for degree in degrees)]
        for name, variable in VARIABLES.items()
    ]
    return pages.table(["variable", *(f"degree {degree}" for degree in degrees)], rows)


def _gddim_defect(cases, degree: int, variable, counts) -> float:
    medians = []
    for denoise, x, _ in cases:
        fine = logsnr_grid(200, SD, VE).double()[:-1]  # the lab's reference ends at 0, and these grids above it
        exact = run(single_step_plan(fine, res_3s(), VE), denoise, x, fine, disable=True)
        for spacing in ("uniform", "edm_rho"):
            for calls in counts:
                end = _by_polynomials(denoise, x, logsnr_grid(calls + 1, SD, VE, spacing)[:-1].tolist(), degree, variable)
                medians.append(float(relative_distance(end, exact).median()))
    return statistics.geometric_mean(medians)


def _by_polynomials(denoise, x, sigmas: list[float], degree: int, variable) -> torch.Tensor:
    """x at the last sigma, each step with the polynomial through the newest degree + 1 values of eps."""
    points, weights = np.polynomial.legendre.leggauss(40)
    history: list[tuple[float, torch.Tensor]] = []
    for sigma, following in zip(sigmas, sigmas[1:]):
        eps = (x - denoise(x, torch.full((len(x),), sigma, dtype=x.dtype))) / sigma
        history = [(sigma, eps), *history[:degree]]
        half = 0.5 * math.log(following / sigma)
        rho = sigma * np.exp(half * (points + 1.0))
        nodes = [float(variable(np.float64(s))) for s, _ in history]
        for j, (_, eps) in enumerate(history):
            x = x + float(np.sum(half * weights * rho * lagrange(nodes, j, variable(rho)))) * eps
    return x


# Part of the report -> title, table.
TABLES = {
    "interior": ("Interior of a flow grid", interior_table),
    "nodes": ("Nodes of single-step methods", nodes_table),
    "power": ("Exponents of the logSNR schedule", power_table),
    "gddim": ("The variable of gDDIM's polynomials", gddim_table),
}


FLOW_SAMPLERS = ("exp_res", "exp_res_2m", "exp_res_3m", "exp_res_2mc", "exp_res_3mc", "exp_res_2s", "exp_res_3s")


def flow_times(batch: int, converging: int, budgets) -> str:
    """Markdown: samplers on flow in two time variables, in the real ComfyUI; geometric mean over cases, grids and budgets."""
    registry = host_samplers.pack("registry")
    import comfy.samplers

    # the pack's own time maps, as ComfyUI imported them
    methods = host_samplers.pack("samplers").METHODS
    times = {"logsnr": methods["exp_res_2m"].flow_time, "log_sigma": methods["exp_res_2s"].flow_time}
    cases = [case for case in standard_cases(batch, converging=converging) if case.kind == "flow"]
    rows = []
    for name in FLOW_SAMPLERS:
        registered, cells = methods[name], []
        for time in times.values():
            sampler = comfy.samplers.KSAMPLER(registry.for_host(registered._replace(flow_time=time)))
            runs = ((case, at_most(case, sampler, grid, n)) for case in cases for grid in grids(case).values() for n in budgets)
            cells.append(f"{statistics.geometric_mean(float(case.defect(run[0]).median()) for case, run in runs):.4f}")
        chosen = next(label for label, time in times.items() if time is registered.flow_time)
        rows.append([f"`{name}`", *cells, chosen])
    return pages.table(["sampler", *times, "auto"], rows, (0, 3))


def report(quick: bool = False) -> pages.Report:
    """The tables, each under its title."""
    cases = {flow: problems(flow, 2 if quick else 32) for flow in (False, True)}
    parts = {}
    for name, (title, table) in TABLES.items():
        parts[name] = table(cases, CALLS[:1] if quick else CALLS)
        pages.say(f"{title} done")
    parts["flow_times"] = flow_times(*((2, ROUGH, CALLS[:1]) if quick else (64, CONVERGING, CALLS)))
    sections = (f"### {title}\n\n{table.__doc__}\n\n{parts[name]}\n" for name, (title, table) in TABLES.items())
    whole = "\n".join([*sections, f"### The time variable on flow\n\n{parts['flow_times']}\n"])
    return {"": whole, **parts}
