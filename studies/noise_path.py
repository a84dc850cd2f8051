"""The effect of Brownian noise on runs with more steps.

The table says how far results move when the steps are doubled and the seeds stay the same: the median over 128 digits of width
0.2 of the root mean square over the pixels, whose standard deviation in the data is 0.78. It also gives the share of items that
end at the same digit. The study needs no ComfyUI.
"""

import torch

from benchmarks import pages
from embedded.digits import digits
from samplers.catalogue import METHODS
from samplers.options import NOISES
from samplers.schedules import SigmaRange, logsnr_grid
from samplers.time_maps import FLOW, VE

PAGE, PARTS, MINUTES = None, (), 1
ITEMS = 128
STEPS = (20, 40, 80)
NAMES = [name for name, sampler in METHODS.items() if sampler.stochastic and not sampler.cfg_pp]
DIGITS = digits(0.2)
SD = SigmaRange(0.0291675, 14.614642)
FLUX = SigmaRange(0.0003, 1.0)


def sample(name: str, flow: bool, noise: str, steps: int, karras: bool = False, items: int = ITEMS) -> torch.Tensor:
    """(items, 64) digits from the same seed and initial noise."""
    time_map = FLOW if flow else VE
    if karras:
        sigmas = torch.cat([torch.linspace(SD.sigma_max ** (1 / 7), SD.sigma_min ** (1 / 7), steps) ** 7, torch.zeros(1)])
    else:
        sigmas = logsnr_grid(steps, FLUX if flow else SD, time_map, "uniform")
    initial = torch.randn(items, 64, generator=torch.Generator().manual_seed(0))

    def model(x, sigma, seed=None):
        return DIGITS.denoise(x, sigma, time_map.alpha(float(sigma[0])))

    model.noise = initial
    x = initial * sigmas[0]
    return METHODS[name].sample(model, x, sigmas, {"seed": 1}, disable=True, noise=noise, time=time_map)


def _moved(a, b) -> str:
    distance = (a - b).square().mean(dim=1).sqrt().median()
    same = (torch.cdist(a, DIGITS.means).argmin(dim=1) == torch.cdist(b, DIGITS.means).argmin(dim=1)).double().mean()
    return f"{distance:.3f}, {same:.0%}"


def steps_table(items: int = ITEMS, steps=STEPS, names=NAMES) -> str:
    """Markdown: median distance and share of equal digits between runs of n and 2n steps."""
    pairs, rows = list(zip(steps, steps[1:])), []
    for name in names:
        for label, flow, karras in (("eps, karras", False, True), ("flow, logsnr_uniform", True, False)):
            for noise in NOISES:
                results = {n: sample(name, flow, noise, n, karras, items) for n in steps}
                rows.append([f"`{name}`", label, noise, *(_moved(results[a], results[b]) for a, b in pairs)])
    return pages.table(["sampler", "grid", "noise", *(f"{a} to {b} steps" for a, b in pairs)], rows, 3)


def report(quick: bool = False) -> pages.Report:
    """The table."""
    return {"": steps_table(*((8, STEPS[:2]) if quick else ()))}
