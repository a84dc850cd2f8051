"""Claim (e): how fast the velocity changes along trajectories, in sigma and in lambda.

In sigma the ODE is dx/dsigma = v with v = (x - D) / sigma, on VE and flow models. In lambda, of x / alpha, the linear part is
integrated exactly and what is left is N = D. Both derivatives are along the converged trajectory x(sigma), and as
dsigma / dlambda = -alpha sigma, one gives the other:

    dv/dsigma = -(dD/dsigma) / sigma,        dN/dlambda = -alpha sigma dD/dsigma = alpha sigma^2 dv/dsigma.

D is differenced between neighbours of a fine grid. Norms are root mean squares over the numbers of an item.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from benchmarks import host_samplers
from benchmarks.cases import Case, NetworkCase
from benchmarks.pages import table
from samplers.time_maps import FLOW, VE

from . import paper_figures
from .paper_bench import Bench
from .paper_claims import Comparison, ratio, spaced

MODELS = ("ring", "digits", "digits flow", "unet", "sd3")
_PUBLISHED = """Published: the velocity of the ODE in sigma changes far faster, at its worst, than what is left to integrate in
lambda."""
_UNITS = """Sigma and lambda have different units, so the comparison is made a second time with clocks u that run from 0 to 1
over the same part of the trajectory: (length of sigma)^2 dv/dsigma, which is the second derivative of x by u, and (length of
lambda)^2 dN/dlambda: twice what a first-order method with n equal steps in its clock leaves, times n. The lengths are those of
the part measured: all of sigma on eps models, lambda -4 to 5 on flow models, whose lambda has no ends. Median over items of the
maximum."""
_FLOW_RANGE = (-4.0, 5.0)  # of lambda, as flow models have it at sigma 0.982 to 0.007


class Profile(NamedTuple):
    """Derivatives along trajectories.

    Attributes:
        lam: (points,) where.
        sigma_form, lambda_form: (points, items) norms of dv/dsigma and dN/dlambda.
        sigma_length, lambda_length: of the two clocks from the first to the last point.
    """

    lam: np.ndarray
    sigma_form: np.ndarray
    lambda_form: np.ndarray
    sigma_length: float
    lambda_length: float

    def split(self, seeds: int) -> list["Profile"]:
        """Of each seed's items."""
        forms = zip(*(np.split(form, seeds, axis=1) for form in (self.sigma_form, self.lambda_form)))
        return [self._replace(sigma_form=in_sigma, lambda_form=in_lambda) for in_sigma, in_lambda in forms]

    def largest(self) -> dict[str, float]:
        """Maximum along the trajectory, median over items; as it is, and for clocks that run from 0 to 1."""
        in_sigma, in_lambda = (float(np.median(form.max(axis=0))) for form in (self.sigma_form, self.lambda_form))
        return {
            "sigma": in_sigma,
            "lambda": in_lambda,
            "sigma, unit clock": in_sigma * self.sigma_length**2,
            "lambda, unit clock": in_lambda * self.lambda_length**2,
        }


def fine_grid(case: Case, points: int) -> torch.Tensor:
    """SIGMAS uniform in logSNR, where an eps network has them: at its timesteps, as the host rounds all others to those."""
    sampling = case.model_sampling
    if case.kind == "flow":
        sigmas = [FLOW.sigma(v) for v in np.linspace(*_FLOW_RANGE, points)]
        return torch.tensor([float(sampling.sigma_max), *sigmas, 0.0])
    low, high = float(sampling.sigma_min), float(sampling.sigma_max)
    sigmas = torch.logspace(math.log(high), math.log(low), points, base=math.e, dtype=torch.float64)
    if isinstance(case, NetworkCase):
        table = sampling.sigmas.double().cpu()
        nearest = (table.log()[None] - sigmas.log()[:, None]).abs().argmin(dim=1)
        sigmas = table[nearest.unique().flip(0)]
    return torch.cat([sigmas, torch.zeros(1)]).float()


def profile(case: Case, points: int) -> tuple[Profile, Profile]:
    """Along the trajectories of a case, by the host's own sampling with exp_res on a fine grid; and from every second point."""
    sigmas, outputs = fine_grid(case, points), []
    case.sample(
        host_samplers.sampler("exp_res"), sigmas, callback=lambda step, denoised, x, steps: outputs.append(denoised.clone())
    )
    time = FLOW if case.kind == "flow" else VE
    s = sigmas[:-1].double()
    kept = slice(1 if case.kind == "flow" else 0, None)  # at sigma = 1 lambda is infinite
    outputs, s = torch.stack(outputs)[kept].flatten(2).double().numpy(), s[kept].numpy()
    return derivatives(outputs, s, time), derivatives(outputs[::2], s[::2], time)


def derivatives(outputs: np.ndarray, sigmas: np.ndarray, time) -> Profile:
    """From D, (points, items, numbers), at sigmas."""
    lam = np.array([time.lam(float(s)) for s in sigmas])
    alpha = np.array([time.alpha(float(s)) for s in sigmas])
    in_lambda = np.sqrt((np.gradient(outputs, lam, axis=0) ** 2).mean(axis=2))
    in_sigma = in_lambda / (alpha * sigmas**2)[:, None]
    return Profile(lam, in_sigma, in_lambda, float(sigmas[0] - sigmas[-1]), float(lam[-1] - lam[0]))


def section(bench: Bench, folder) -> str:
    """Claim (e)."""
    names = [name for name in MODELS if name in bench.names]
    seeds = bench.size.seeds
    made = {name: [p.split(seeds) for p in profile(bench.case(name), bench.size.fine)] for name in names}
    profiles = {name: fine for name, (fine, _) in made.items()}
    values, halves = ({name: _largest(both[i]) for name, both in made.items()} for i in (0, 1))
    kinds = list(values[names[0]])
    lines = []
    for unit, text in (("", "the raw derivative"), (", unit clock", "clocks from 0 to 1")):
        for name in names:
            row = (values[name]["lambda" + unit], values[name]["sigma" + unit])
            lines.append(Comparison(f"{name}, {text}: the maximum is lower in lambda than in sigma", [row], "of it").sentence())
    rows = []
    for name in names:
        forms = ("sigma_form", "lambda_form")
        where = [[p.lam[np.median(getattr(p, form), axis=1).argmax()] for p in profiles[name]] for form in forms]
        at = [f"{np.median(lam):.1f}" for lam in where]
        rows.append([name, *(spaced(values[name][kind]) for kind in kinds), *at])
    head = ["model", "max dv/dsigma", "max dN/dlambda", "sigma, unit clock", "lambda, unit clock", "at lambda", "at lambda"]
    paper_figures.velocities({name: profiles[name][0] for name in names}, folder / "results_velocity.png")
    networks = [name for name in names if name in ("unet", "sd3")]
    rough = [f"{name} {ratio(values[name]['lambda'], values[exact]['lambda'])}"
             for name, exact in (("unet", "digits"), ("sd3", "digits flow")) if name in networks]  # fmt: skip
    return "\n\n".join(
        [
            "## (e) The largest derivative of the velocity along trajectories",
            _PUBLISHED + " " + __doc__.split("\n\n", 1)[1].strip(),
            _UNITS,
            "\n".join(lines),
            table(head, rows),
            "Of the trained networks the maximum in lambda is, over that of the exact denoiser of the same data and kind: "
            + ("; ".join(rough) or "not measured") + ". (A latent of `sd3` is a digit enlarged to 16x16.)",
            _fineness(halves, values),
            "![derivatives along trajectories](results_velocity.png)",
            "Derivatives with unit clocks, median over the items of a seed.",
        ]
    )  # fmt: skip


def _largest(profiles: list[Profile]) -> dict[str, list[float]]:
    """Of every kind a list over seeds."""
    found = [p.largest() for p in profiles]
    return {kind: [seed[kind] for seed in found] for kind in found[0]}


def _fineness(halves: dict, values: dict) -> str:
    def over(name, kind):
        return f"{ratio(halves[name][kind], values[name][kind]).mean:.2f}"

    found = "; ".join(f"{name} {over(name, 'sigma')} and {over(name, 'lambda')}" for name in values)
    return (
        f"With half of the grid's points the maxima in sigma and in lambda are, over those with all: {found}. Where that is far "
        "from 1 the maximum is that of a step of the grid, not of the ODE."
    )
