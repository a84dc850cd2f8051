"""Networks that others trained: four score networks of galaxies, from PyPI's galaxygrad 0.1.0.

They are MLP mixers by M. Sampson, for galaxies of the surveys HSC and ZTF in 32x32 and 64x64 pixels. They learned the
variance-preserving process with beta = 1 for t from 0.01 to 10, which is sigma from 0.1 to 148. The study downloads them;
they are no part of this pack. No setting was chosen on them, but `logsnr_arctan` was checked on them, with other seeds. Rows,
errors and ratios are those of `python -m benchmarks worlds`, with every fourth pair of a scheduler and a number of calls. The
converged solutions end at sigma 0.1, where the networks' range ends, with the output there.
"""

import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn import functional

from benchmarks import host_samplers, pages
from benchmarks.worlds import RECOMMENDED, judged
from benchmarks.worlds.scores import comparison, grouped, headline, summary
from benchmarks.worlds.world_cases import REPORT_SEED, Case
from dev.setup import SetupError, download

PAGE, PARTS, MINUTES = None, ("headline", "summary", "comparison"), 5
NETWORKS = {f"{survey} {side}": f"galaxygrad/eqx_{survey}_ScoreNet{side}.eqx" for survey in ("hsc", "ZTF") for side in (32, 64)}
_LAST_TIME, _PATCH = 10.0, 4


def wheel() -> Path:
    """The package's file, which is downloaded once.

    Raises:
        SetupError: it cannot be downloaded.
    """
    file = pages.OUTPUT / "galaxygrad-0.1.0-py3-none-any.whl"
    if not file.is_file():
        download("galaxygrad==0.1.0", pages.OUTPUT)
    return file


class Galaxies:
    """A network's denoised output, `f(x, sigma, alpha)`.

    Args:
        arrays: its weights, in the order of the file.
        side: height and width of an image.

    Attributes:
        shape: of an item.
        patcher: gives ComfyUI's ModelSampling object, as a MODEL does.
    """

    def __init__(self, arrays: list[np.ndarray], side: int):
        *weights, _last_time = map(torch.from_numpy, arrays)
        self._in, self._out, *mixers, self._norm = _parted(weights, 2)  # weight and bias each
        self._blocks = _parted(mixers, 6)  # two layers for patches, two for channels, two norms
        self.shape = (1, side, side)
        self.patcher = SimpleNamespace(get_model_object=lambda name: _model_sampling())

    def __call__(self, x: torch.Tensor, sigma: float, alpha: float = 1.0) -> torch.Tensor:
        variance = sigma**2
        scaled = x.float() * (1.0 + variance) ** -0.5
        score = self._network(scaled, np.log1p(variance))
        return ((1.0 + variance) ** 0.5 * (scaled + variance / (1.0 + variance) * score)).to(x.dtype)  # Tweedie

    def _network(self, x: torch.Tensor, t: float) -> torch.Tensor:
        weight, bias = self._in
        x = functional.conv2d(torch.cat([x, torch.full_like(x, t / _LAST_TIME)], 1), weight, bias.flatten(), stride=_PATCH)
        size, x = x.shape[2:], x.flatten(2)
        for *patches, below, above, first, second in self._blocks:
            x = x + _mixed(_normed(x, first), *patches)
            y = x.mT
            x = (y + _mixed(_normed(y, second), below, above)).mT
        weight, bias = self._out
        weight = weight.transpose(0, 1).flip(2, 3)  # Equinox's order of a transposed convolution
        return functional.conv_transpose2d(_normed(x, self._norm).unflatten(2, size), weight, bias.flatten(), stride=_PATCH)


def _parted(items: list, size: int) -> list[list]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _mixed(x: torch.Tensor, first: list, second: list) -> torch.Tensor:
    return functional.linear(functional.linear(x, *first).relu(), *second)


def _normed(x: torch.Tensor, norm: list) -> torch.Tensor:
    return functional.layer_norm(x, norm[0].shape, *norm)


def _model_sampling():
    import comfy.model_base

    eps = comfy.model_base.ModelType.EPS
    sampling = comfy.model_base.model_sampling(SimpleNamespace(sampling_settings={}), eps)
    sampling.set_sigmas(torch.expm1(torch.linspace(0.01, _LAST_TIME, 1000, dtype=torch.float64)).sqrt().float())
    return sampling


def load(name: str) -> Galaxies:
    """A network of NETWORKS."""
    with zipfile.ZipFile(wheel()) as package, package.open(NETWORKS[name]) as file:
        arrays = []
        while file.peek(1):
            arrays.append(np.load(file))
    return Galaxies(arrays, int(name[-2:]))


def cases() -> list[Case]:
    """One case per network."""
    limits = {"tolerance": 2e-3, "cap": 400, "floor": 0.1, "every": 4, "seed": REPORT_SEED}
    return [Case(name, name, "eps", 1.0, 8, partial(load, name), number=i, **limits) for i, name in enumerate(NETWORKS)]


def report(quick: bool = False) -> pages.Report:
    """The blocks of docs/networks.md.

    Raises:
        SystemExit: the networks cannot be downloaded.
    """
    try:
        wheel()
    except SetupError as error:
        raise SystemExit(f"galaxies: {error}") from error
    host_samplers.load()
    chosen = cases()[:1] if quick else cases()
    for case in chosen if quick else ():
        case.grids, case.calls, case.every = case.grids[:1], (6,), 1
    rows = judged(chosen, (RECOMMENDED, *host_samplers.DETERMINISTIC))
    mine = grouped(rows, lambda row: row.sampler)[RECOMMENDED]
    return {"headline": headline(rows, RECOMMENDED), "summary": summary(mine), "comparison": comparison(rows)}
