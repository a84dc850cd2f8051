"""Where the finite part of a flow grid should lie: the measurement behind `schedules.FLOW_INTERIOR`.

    .host/venv/bin/python -m benchmarks.flow_interior

Geometric mean of the median defect over RES-2M, 3M, 2S and 3S, 7 to 20 calls, digits of width 0.05 and 0.15,
CFG 1 and 4, for grids uniform in lambda from lambda_0 (rows) to lambda_1 (columns), started at sigma = 1.
Shift does not enter: it moves a model's own grids, not the process.
"""

import statistics

import torch

from embedded.digits import digits
from samplers.loop import run
from samplers.plan import multistep_plan, single_step_plan
from samplers.tableaus import res_2s, res_3s
from samplers.time_maps import FLOW, VE

FIRST = (-6.0, -5.0, -4.0, -3.0, -2.5, -2.0, -1.5)
LAST = (3.0, 3.5, 4.0, 4.5, 5.0, 5.8, 6.9)
CALLS = (7, 10, 13, 20)
# calls a step, plan: each in the time variable that is its default on flow
METHODS = [
    (1, lambda sigmas: multistep_plan(sigmas, 2, FLOW)),
    (1, lambda sigmas: multistep_plan(sigmas, 3, FLOW)),
    (2, lambda sigmas: single_step_plan(sigmas, res_2s(), VE)),
    (3, lambda sigmas: single_step_plan(sigmas, res_3s(), VE)),
]


def grid(first: float, last: float, steps: int) -> torch.Tensor:
    """Uniform in lambda, started at sigma = 1 and ended at 0."""
    sigmas = torch.linspace(first, last, steps, dtype=torch.float64).neg().sigmoid()
    sigmas[0] = 1.0
    return torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])


def problems(batch: int = 32):
    """(denoiser, starting noise, converged solution) of every case."""
    x = torch.randn(batch, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = torch.nn.functional.one_hot(torch.arange(batch) % 10, 10).double()
    for width in (0.05, 0.15):
        mixture = digits(width, torch.float64)
        for cfg in (1.0, 4.0):

            def denoise(x, sigma, mixture=mixture, cfg=cfg):
                plain = mixture.denoise(x, sigma, 1.0 - sigma)
                guided = mixture.denoise(x, sigma, 1.0 - sigma, weights) if cfg != 1.0 else plain
                return plain + cfg * (guided - plain)

            fine = grid(-7.0, 9.0, 200)
            yield denoise, x, run(single_step_plan(fine, res_3s(), FLOW), denoise, x, fine, disable=True)


def main() -> None:
    """Print the table as Markdown."""
    cases = list(problems())

    def defect(first, last):
        medians = []
        for calls_per_step, plan in METHODS:
            for calls in CALLS:
                sigmas = grid(first, last, max(2, (calls - 1) // calls_per_step + 1))
                for denoise, x, exact in cases:
                    error = (run(plan(sigmas), denoise, x, sigmas, disable=True) - exact).norm(dim=1) / exact.norm(dim=1)
                    medians.append(float(error.median()))
        return statistics.geometric_mean(medians)

    print("| lambda_0 \\ lambda_1 | " + " | ".join(f"{last:g}" for last in LAST) + " |\n|--:|" + "--:|" * len(LAST))
    for first in FIRST:
        print(f"| {first:g} | " + " | ".join(f"{defect(first, last):.4f}" for last in LAST) + " |", flush=True)


if __name__ == "__main__":
    main()
