"""The measurements behind exp_res: what is interpolated, in which variable, at which order, and how the last step is taken.

    .host/venv/bin/python -m benchmarks.parameterisation > docs/parameterisation.md    # about five minutes

Every number is the geometric mean of the median defect over that of dpmpp_2m in the same row (below 1 is better): exact
mixtures and trained networks with and without guidance, three or four grids each, 6, 10 and 20 calls.
"""

import math
import statistics
import sys

import numpy as np
import torch

from . import host
from .cases import at_most, grids, network_cases, standard_cases

CALLS = (6, 10, 20)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def rows(module, batch: int = 32) -> list:
    """(is a network, case, grid name, grid, calls)."""
    found = []
    for case in (*standard_cases(module, batch), *network_cases(batch)):
        for name, grid in grids(case).items():
            if name != "uniform sigma":
                found += [(case.name.startswith(("sd3", "unet")), case, name, grid, calls) for calls in CALLS]
    return found


def measure(sampler, rows) -> list[float]:
    """Median defect of every row."""
    return [float(case.defect(at_most(case, sampler, grid, calls)[0]).median()) for _, case, _, grid, calls in rows]


def lagrange(points, j, v):
    """The Lagrange polynomial that is 1 at points[j] and 0 at the others."""
    return math.prod((v - p) / (points[j] - p) for i, p in enumerate(points) if i != j) + 0.0 * v


class EpsForm:
    """The corrected multistep method that interpolates eps = (y - D) / s instead of D: y_t = y_s + int eps ds.

    As a sampler of the host it can also step to the weighted mean of the two forms, here `share` of eps.
    """

    def __init__(self, pack_samplers, share: float, order: int = 4):
        self.alpha = pack_samplers.InAlpha(pack_samplers.DATA_SCALE, pack_samplers.POWER)
        self.share, self.order = share, order

    def weights(self, nodes, start, end):
        """int l_j(v(s)) ds from start to end."""
        s = start + (end - start) * (_NODES + 1.0) / 2.0
        v = (1.0 + (s / self.alpha.scale) ** self.alpha.power) ** (-1.0 / self.alpha.power)
        points = [self.alpha.variable(node) for node in nodes]
        return [(end - start) / 2.0 * float(_WEIGHTS @ lagrange(points, j, v)) for j in range(len(points))]

    def step(self, y, nodes, start, end):
        """y at `end` from y at `start`; nodes are (s, D, eps), newest first."""
        by_d = self.alpha.weights([s for s, _, _ in nodes], start, end)
        result = (end / start * y if math.isfinite(start) else end * y) + sum(b * d for b, (_, d, _) in zip(by_d, nodes))
        finite = [node for node in nodes if math.isfinite(node[0])]
        if not math.isfinite(start) or not self.share:
            return result
        by_eps = y + sum(b * e for b, (_, _, e) in zip(self.weights([s for s, _, _ in finite], start, end), finite))
        return torch.lerp(result, by_eps, self.share)

    def __call__(self, model, x, sigmas, extra_args=None, callback=None, disable=None, *, time):
        sigmas = [float(s) for s in sigmas.double()]
        nodes, previous = [], None
        for sigma, sigma_next in zip(sigmas, sigmas[1:]):
            s, alpha = time.s(sigma), time.alpha(sigma)
            denoised = model(x, x.new_full((len(x),), sigma), **(extra_args or {}))
            y = x / alpha if alpha else x  # at s = inf all of x is noise
            if previous is not None:
                new = (s, denoised, (y - denoised) / s)
                y = self.step(previous[0], [new, *previous[1]], previous[2], s)
            nodes = [(s, denoised, (y - denoised) / s if alpha else x), *nodes][: self.order]
            previous = y, nodes, s
            x = self.step(y, nodes, s, time.s(sigma_next)) * time.alpha(sigma_next)
        return x


def forms(pack) -> dict[str, dict]:
    """Table title -> {label: sampler}."""
    import comfy.samplers

    def multistep(**options):
        return comfy.samplers.KSAMPLER(pack.for_host(pack.res.sample_res_multistep, pack.res.FLOW), options)

    def alpha(order, scale, power):
        return multistep(order=order, corrector=True, interpolation="alpha", data_scale=scale, power=power)

    def eps(share):
        return comfy.samplers.KSAMPLER(pack.for_host(EpsForm(pack.res, share), pack.res.FLOW))

    corrector = {f"RES-{k}M{'C' if c else ''}": multistep(order=k, corrector=c) for k in (1, 2, 3) for c in (False, True)}
    corrector |= {f"alpha, order {k}, no corrector": multistep(order=k, interpolation="alpha") for k in (2, 4)}
    variable = {
        f"scale {scale:g}, power {power:g}, order {order}": alpha(order, scale, power)
        for scale, power in (
            (1.0, 2.0),
            (1.5, 2.0),
            (3.0, 2.0),
            (6.0, 2.0),
            (2.0, 1.5),
            (4.0, 1.5),
            (6.0, 1.5),
            (12.0, 1.5),
            (6.0, 1.0),
        )
        for order in (2, 3, 4)
    }
    parameter = {"D": eps(0.0), "three of D to one of eps": eps(0.25), "half and half": eps(0.5), "eps": eps(1.0)}
    last = {
        f"RES-{k}MC, {name}": multistep(order=k, corrector=True, last_step=name)
        for k in (2, 3)
        for name in ("denoised", "extrapolated")
    }
    return {
        "The free corrector": corrector,
        "The variable of interpolation, with corrector": variable,
        "What is interpolated, order 4 with corrector, scale 6, power 1.5": parameter,
        "The last step": last,
    }


def table(samplers: dict, rows, baseline) -> str:
    """Markdown, one line a sampler."""
    lines = ["| form | mixtures | networks | 6 calls | 10 calls | 20 calls | worst row |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name, sampler in samplers.items():
        ratios = [defect / base for defect, base in zip(measure(sampler, rows), baseline)]
        keys = [[not row[0] for row in rows], [row[0] for row in rows], *([row[4] == n for row in rows] for n in CALLS)]
        means = [statistics.geometric_mean(r for r, mine in zip(ratios, key) if mine) for key in keys]
        lines.append(f"| {name} | {' | '.join(f'{m:.2f}' for m in (*means, max(ratios)))} |")
        print(f"  {name} done", file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    """Print the tables as Markdown."""
    module = host.load()
    torch.set_num_threads(1)
    pack = sys.modules[module.__name__.replace("digits_model", "registry")]
    pack.res = sys.modules[pack.SAMPLERS["exp_res"].sample.__module__]
    problems = rows(module)
    baseline = measure(host.sampler("dpmpp_2m"), problems)
    print("# What exp_res was chosen by\n\n" + __doc__.split("\n\n")[-1])
    for title, samplers in forms(pack).items():
        print(f"## {title}\n\n{table(samplers, problems, baseline)}\n", flush=True)


if __name__ == "__main__":
    main()
