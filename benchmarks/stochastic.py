"""Strong error of SDE samplers: ours and the host's on one fixed noise path, against a very fine run on the same path.

    .host/venv/bin/python -m benchmarks.stochastic    # a minute

All of them sample the same SDE at the same eta, so on the same path their results may differ by their errors alone. Median
relative distance over 32 items, geometric mean over exact mixtures (ring and digits, eps and flow, with and without guidance), on
grids uniform in logSNR; the last step to sigma 0 is not counted, as it is the same for all.
"""

import math
import statistics

import torch

from samplers.loop import run
from samplers.multistep import multistep_plan
from samplers.plan import Noise
from samplers.res import SAMPLERS
from samplers.time_maps import FLOW, VE

from . import host
from .cases import standard_cases

FINE = 480
# name -> (calls a step, sampler, options); host samplers by name in comfy.k_diffusion.sampling
THEIRS = {
    "dpmpp_2m_sde": (1, "dpmpp_2m_sde", {}),
    "dpmpp_2m_sde_heun": (1, "dpmpp_2m_sde", {"solver_type": "heun"}),
    "dpmpp_3m_sde": (1, "dpmpp_3m_sde", {}),
    "seeds_2": (2, "seeds_2", {}),
}
OURS = {"exp_res_sde": 1, "exp_res_2m_sde": 1, "exp_res_2s_sde": 2, "exp_res_3s_sde": 3}


class FixedPath:
    """A noise_sampler that follows one path of the process, known on a fine grid that contains the coarse ones.

    The noise over a step is what the noises of its fine steps add up to, each decayed to the step's end.
    """

    def __init__(self, lambdas, time, eta: float, like: torch.Tensor, seed: int):
        generator = torch.Generator().manual_seed(seed)
        self.lambdas, self.time, self.eta = lambdas, time, eta
        self.noises = [torch.randn(like.shape, generator=generator, dtype=torch.float64) for _ in lambdas[1:]]

    def index(self, sigma) -> int:
        lam = self.time.lam(float(sigma))
        return min(range(len(self.lambdas)), key=lambda k: abs(self.lambdas[k] - lam))

    def __call__(self, sigma, sigma_next):
        first, last = self.index(sigma), self.index(sigma_next)
        total = torch.zeros_like(self.noises[0])
        for k in range(first, last):
            h = self.lambdas[k + 1] - self.lambdas[k]
            total = math.exp(-self.eta * h) * total + math.sqrt(-math.expm1(-2.0 * self.eta * h)) * self.noises[k]
        return total / math.sqrt(-math.expm1(-2.0 * self.eta * (self.lambdas[last] - self.lambdas[first])))


class Denoiser:
    """An exact denoiser with what the host's samplers read from a model."""

    def __init__(self, case):
        self.case = case
        self.inner_model = type("Inner", (), {"model_patcher": case.model})()

    def __call__(self, x, sigma, **kwargs):
        return self.case.denoise(x, sigma[0].double())


def distances(case, eta: float, calls, seed: int = 1) -> dict[tuple[str, int], torch.Tensor]:
    """(sampler, calls) -> relative distance to the fine run on the path of a seed, per item."""
    import comfy.k_diffusion.sampling as k_diffusion_sampling

    time = FLOW if case.kind == "flow" else VE
    sigma_max, sigma_min = (float(getattr(case.model_sampling, name)) for name in ("sigma_max", "sigma_min"))
    first, last = (-4.0, 4.5) if case.kind == "flow" else (time.lam(sigma_max), time.lam(sigma_min))
    lambdas = torch.linspace(first, last, FINE + 1, dtype=torch.float64).tolist()

    def grid(steps):
        return torch.tensor([*(time.sigma(lam) for lam in lambdas[:: FINE // steps]), 0.0], dtype=torch.float64)

    path, model = FixedPath(lambdas, time, eta, case.noise, seed), Denoiser(case)
    x = case.noise.double() * float(grid(1)[0])
    fine = grid(FINE)
    exact = run(multistep_plan(fine, 2, time, noise=Noise(eta)), model, x, fine, disable=True, noise_sampler=path)
    found = {}
    for budget in calls:
        for name, per_step in OURS.items():
            options = {"eta": eta, "noise_sampler": path, "time": time}
            found[name, budget] = per_step, lambda g, name=name, o=options: SAMPLERS[name].sample(model, x, g, disable=True, **o)
        for name, (per_step, function, options) in THEIRS.items():
            sample = getattr(k_diffusion_sampling, f"sample_{function}")
            options = {"eta": eta, "noise_sampler": path, "extra_args": {"seed": 1}, **options}
            found[name, budget] = per_step, lambda g, f=sample, o=options: f(model, x.clone(), g, disable=True, **o)
    results = {}
    for (name, budget), (per_step, sample) in found.items():
        if FINE % (budget // per_step) == 0:
            result = sample(grid(budget // per_step))
            results[name, budget] = (result - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    return results


def main() -> None:
    """Print a table as Markdown."""
    module = host.load()
    torch.set_num_threads(1)
    calls, etas = (12, 24, 48), (0.5, 1.0)
    tables = {eta: [distances(case, eta, calls) for case in standard_cases(module, 32)] for eta in etas}
    print("| sampler | " + " | ".join(f"eta {eta:g}, {n} calls" for eta in etas for n in calls) + " |")
    print("|---|" + "--:|" * (len(etas) * len(calls)))
    for name in (*OURS, *THEIRS):
        cells = []
        for eta in etas:
            for n in calls:
                values = [float(found[name, n].median()) for found in tables[eta] if (name, n) in found]
                cells.append(f"{statistics.geometric_mean(values):.4f}" if values else "")
        print(f"| `{name}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
