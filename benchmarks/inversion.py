"""Round trips between noise and image: what each deterministic sampler with fixed steps loses on the way there and back.

A deterministic sampler on rising SIGMAS turns an image into the noise from which it samples that image again (*inversion*).
This page measures how much a round trip loses. The digits are sampled as eps and flow models, with CFG 1 and CFG 3, at 20 calls
each way. The rising grid is logsnr_uniform in reverse. It starts at sigma 0.0001, as *Flip Sigmas* makes it, or at a third of
the smallest sigma, as the direction *invert* of *RES LogSNR Schedule* makes it. Flow models have shift 3, and their grids end at
sigma 0.999. The numbers are medians over the items of the relative distance between the input and the result of the round trip;
*diverges* means 10 or more:

- *noise*: noise -> image -> noise, from the noise that ComfyUI samples from
- *image*: image -> noise -> image, from digits of the data; with guidance, in their own class
"""

import torch

from samplers.lab.distances import relative_distance, spread

from . import host_samplers, pages
from .cases import MixtureCase, at_most, digits_case

PAGE, PARTS, MINUTES = "docs/inversion.md", ("flip", "invert"), 5
OURS = ("exp_res", "exp_res_2m", "exp_res_2mc", "exp_res_3m", "exp_res_3mc", "exp_res_2s", "exp_res_3s")
STARTS = {"flip": "Flip Sigmas", "invert": "invert"}  # part of the report -> where the rising grid comes from
SETTINGS = [("eps", 1.0), ("eps", 3.0), ("flow", 1.0), ("flow", 3.0)]


def round_trips(case: MixtureCase, name: str, start: str, calls: int) -> list[float] | list[str]:
    """[noise, image] errors, or twice the reason why there are none."""
    down, up = _grids(case, start)
    sampler = host_samplers.sampler(name)

    def sample(grid, latent=None):
        return at_most(case, sampler, grid, calls, latent)[0]

    first, image = down(2)[0], _first_digits(case)
    noise = case.model_sampling.noise_scaling(first, case.noise.clone(), torch.zeros_like(case.noise), True)
    alpha = 1.0 - first if case.kind == "flow" else 1.0  # ComfyUI divides a rising flow latent by it
    try:
        ends = (sample(up, sample(down)) * alpha, noise), (sample(down, sample(up, image)), image)
    except Exception as error:  # some of ComfyUI's samplers fail on a rising grid, each in its own way
        return [f"fails: {type(error).__name__}"] * 2
    return [spread(relative_distance(result, truth)).median for result, truth in ends]


def table(start: str, names, batch: int, calls: int) -> str:
    """Markdown: one row per sampler; the best two of every column in bold."""
    cases = [digits_case(kind, batch, cfg=cfg) for kind, cfg in SETTINGS]
    rows = {name: [error for case in cases for error in round_trips(case, name, start, calls)] for name in names}
    best = [sorted(error for error in column if not isinstance(error, str))[:2] for column in zip(*rows.values())]
    lines = [[name, *map(_cell, row, best)] for name, row in rows.items()]
    head = (f"{kind} CFG {cfg:g}, {end}" for kind, cfg in SETTINGS for end in ("noise", "image"))
    return pages.table(["sampler", *head], lines)


def _grids(case: MixtureCase, start: str):
    """Functions from a step count to falling and rising SIGMAS."""

    def build(direction):
        return lambda n: host_samplers.node("RESLogSNRSchedule", case.model, n, 1.0, {"spacing": "uniform"}, direction)[0]

    def flipped(n):
        sigmas = build("denoise inverted")(n).flip(0)
        sigmas[0] = 0.0001
        return sigmas

    return build("denoise inverted"), flipped if start == "flip" else build("invert")


def _first_digits(case: MixtureCase) -> torch.Tensor:
    """The first digits of each item's class, blurred like the model's data."""
    generator = torch.Generator().manual_seed(case.seed)
    mixture = case.mixture
    of_class = [mixture.means[mixture.labels == label] for label in range(mixture.classes)]
    means = torch.stack([of_class[i % mixture.classes][i // mixture.classes] for i in range(case.batch)])
    images = means + mixture.std * torch.randn(means.shape, generator=generator, dtype=means.dtype)
    return images.reshape(case.noise.shape).float()


def _cell(error: float | str, best: list[float]) -> str:
    if isinstance(error, str):
        return error
    text = f"{error:.4f}" if error < 10.0 else "diverges"
    return pages.bold(text, error in best)


def report(quick: bool = False) -> pages.Report:
    """docs/inversion.md."""
    host_samplers.load()
    calls, batch = (6, 2) if quick else (20, 40)
    names = [*OURS, *host_samplers.DETERMINISTIC]
    parts = {start: table(start, names, batch, calls) for start in STARTS}
    head = "Rising grid from the sigma of {!r}, {} calls each way:\n\n{}"
    tables = (head.format(STARTS[start], calls, text) for start, text in parts.items())
    return {"": pages.page("benchmarks inversion", "What a round trip loses", *pages.paragraphs(__doc__), *tables), **parts}
