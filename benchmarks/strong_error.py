"""Strong error of SDE samplers: ours and ComfyUI's on one fixed noise path, against a very fine run on the same path.

All of them sample the same SDE at the same eta, so on the same path their results differ only by their errors. The numbers are
median relative distances over 32 items, averaged geometrically over exact mixtures (ring and digits, eps and flow, with and
without guidance), on grids uniform in logSNR. The last step to sigma 0 is not counted, because it is the same for all.
"""

import itertools
import statistics

import torch

from samplers.catalogue import METHODS
from samplers.lab.distances import relative_distance
from samplers.loop import run
from samplers.multistep import multistep_plan
from samplers.plan import Noise

from . import host_samplers, pages
from .cases import standard_cases

PAGE, PARTS, MINUTES = None, (), 2
# Number of steps of the path, which contains every grid and its intermediate stages.
FINE = 5040
# name -> (calls per step, name in comfy.k_diffusion.sampling, options)
THEIRS = {
    "dpmpp_2m_sde": (1, "dpmpp_2m_sde", {}),
    "dpmpp_2m_sde_heun": (1, "dpmpp_2m_sde", {"solver_type": "heun"}),
    "dpmpp_3m_sde": (1, "dpmpp_3m_sde", {}),
    "seeds_2": (2, "seeds_2", {}),
    "seeds_3": (3, "seeds_3", {}),
}
OURS = {"exp_res_sde": 1, "exp_res_2m_sde": 1, "exp_res_2s_sde": 2, "exp_res_3s_sde": 3}


class FixedPath:
    """A noise_sampler that follows one path of the process, known on a fine grid that contains the coarse ones.

    The noise of a step is the sum of the noises of its fine steps, each decayed to the step's end. It is the increment of a
    Brownian motion in the time exp(2 eta lambda), whose values on the fine grid are stored.
    """

    def __init__(self, lambdas, time, eta: float, like: torch.Tensor, seed: int):
        generator = torch.Generator().manual_seed(seed)
        self.lambdas, self.time = torch.tensor(lambdas, dtype=torch.float64), time
        self.clock = (2.0 * eta * self.lambdas).exp()
        self.values = torch.randn(len(lambdas), *like.shape, generator=generator, dtype=torch.float64)
        self.values[0] = 0.0
        self.values[1:] *= self.clock.diff().sqrt().reshape(-1, *[1] * like.ndim)
        self.values.cumsum_(dim=0)

    def index(self, sigma) -> int:
        return int((self.lambdas - self.time.lam(float(sigma))).abs().argmin())

    def __call__(self, sigma, sigma_next):
        first, last = self.index(sigma), self.index(sigma_next)
        return (self.values[last] - self.values[first]) / (self.clock[last] - self.clock[first]).sqrt()


def distances(case, eta: float, calls) -> dict[tuple[str, int], torch.Tensor]:
    """(sampler, calls) -> relative distance per item to the fine run on the same path."""
    host_samplers.load()
    import comfy.k_diffusion.sampling as k_diffusion_sampling

    time = case.time
    sigma_max, sigma_min = (float(getattr(case.model_sampling, name)) for name in ("sigma_max", "sigma_min"))
    first, last = (-4.0, 4.5) if case.kind == "flow" else (time.lam(sigma_max), time.lam(sigma_min))
    lambdas = torch.linspace(first, last, FINE + 1, dtype=torch.float64).tolist()

    def grid(steps):
        return torch.tensor([*(time.sigma(lam) for lam in lambdas[:: FINE // steps]), 0.0], dtype=torch.float64)

    model = host_samplers.Denoiser(lambda x, sigma: case.denoise(x, sigma[0].double()), case.model_sampling)
    path = FixedPath(lambdas, time, eta, case.noise, seed=1)
    x = case.noise.double() * float(grid(1)[0])
    fine = grid(FINE // 3)
    exact = run(multistep_plan(fine, 2, time, noise=Noise(eta)), model, x, fine, disable=True, noise_sampler=path)
    samplers = [(name, per_step, METHODS[name].sample, {"noise": "brownian", "time": time}) for name, per_step in OURS.items()]
    for name, (per_step, function, options) in THEIRS.items():
        sample = getattr(k_diffusion_sampling, f"sample_{function}")
        samplers.append((name, per_step, sample, {"extra_args": {"seed": 1}, **options}))
    results, common = {}, {"eta": eta, "noise_sampler": path, "disable": True}
    for budget, (name, per_step, sample, options) in itertools.product(calls, samplers):
        if FINE % (budget // per_step) == 0:
            samples = sample(model, x.clone(), grid(budget // per_step), **common, **options)
            results[name, budget] = relative_distance(samples, exact)
    return results


def report(quick: bool = False) -> pages.Report:
    """The table, one row per sampler."""
    batch, calls, etas = (2, (12,), (1.0,)) if quick else (32, (12, 24, 48), (0.5, 1.0))
    measured = {eta: [distances(case, eta, calls) for case in standard_cases(batch)] for eta in etas}
    rows = []
    for name in (*OURS, *THEIRS):
        cells = []
        for eta in etas:
            for n in calls:
                values = [float(distance[name, n].median()) for distance in measured[eta] if (name, n) in distance]
                cells.append(f"{statistics.geometric_mean(values):.4f}" if values else "")
        rows.append([f"`{name}`", *cells])
    return {"": pages.table(["sampler", *(f"eta {eta:g}, {n} calls" for eta in etas for n in calls)], rows)}
