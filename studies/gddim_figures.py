"""Figures of gDDIM on CLD, after figures 1 and 3 to 5 of arXiv 2206.05564."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from embedded.mixture import GaussianMixture
from embedded.process_mixture import ProcessMixture
from samplers.processes.cld import CLD
from samplers.processes.process_sampler import sample_gddim

from .cld_baselines import mapped
from .gddim_models import DigitsModel, euler_maruyama, gddim, times

_POINTS = GaussianMixture(torch.tensor([[-0.7], [0.8], [0.8]], dtype=torch.float64), 0.1)
_LAMBDAS = (0.0, 0.3, 0.7, 1.0)
_PIXELS = (18, 20, 27, 29, 35, 37, 44, 46)  # in the middle of the image, where digits differ


def line_model() -> DigitsModel:
    """Two points on a line, of width 0.1; a third of the data at -0.7, the rest at 0.8."""
    exact = ProcessMixture(CLD(), _POINTS)
    return DigitsModel("two points", CLD(), "R", lambda u, t: exact.eps(u, float(t[0])))


def path(model: DigitsModel, u: torch.Tensor, calls: int, **options) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Times, states and values of eps at the calls of a run: (calls,), (calls, *u.shape) twice."""
    kind, seen = options.get("kind", "R"), []

    def note(step):
        seen.append((step["sigma_hat"].clone(), step["x"].clone(), step["denoised"].clone()))

    draw = lambda s, t: torch.randn_like(u)  # noqa: E731
    eps = lambda v, t: model.eps(v, t, kind)  # noqa: E731
    options |= {"sde": model.sde, "disable": True, "noise_sampler": draw}
    sample_gddim(eps, u, times(model, calls), callback=note, **options)
    return tuple(torch.stack(column) for column in zip(*seen))


def trajectories(fine: int, file: Path) -> None:
    """x and v of the probability-flow ODE on the line, and what 20 calls in R and in L give."""
    model, u = line_model(), _line_starts(8)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), constrained_layout=True)
    times, states, _ = path(model, u, fine, degree=3)
    marks = {"R": ("o", "tab:blue"), "L": ("x", "tab:red")}
    for part, (axis, name, limits) in enumerate(zip(axes, "xv", ((-4, 4), (-2, 2)))):
        axis.plot(times, states[:, :, part, 0, 0], color="0.65", linewidth=1)
        axis.set(xlabel="t (sampling runs to the left)", title=f"{name} along the probability-flow ODE", ylim=limits)
    for kind, (mark, colour) in marks.items():
        times, states, _ = path(model, u[::3], 20, degree=2, kind=kind)
        for part, axis in enumerate(axes):
            for item in range(states.shape[1]):
                label = f"q = 2, K = {kind}, 20 calls" if item == part == 0 else None
                axis.plot(times, states[:, item, part, 0, 0], mark, color=colour, markersize=3.5, label=label)
    axes[0].legend(fontsize=8, loc="lower right")
    _save(figure, file)


def eps_along(models: Sequence[DigitsModel], fine: int, file: Path) -> dict[str, tuple[float, float]]:
    """eps_R and eps_L of some pixels along trajectories; gives the mean total variation of eps_v, R and L, a model."""
    panels = (("R", 0, "eps_R, x"), ("R", 1, "eps_R, v"), ("L", 1, "eps_L, v"))
    figure, axes = plt.subplots(len(models), 3, figsize=(11, 2.9 * len(models)), constrained_layout=True, squeeze=False)
    found = {}
    for model, row in zip(models, axes):
        times, _, eps_r = path(model, model.start(32, 5), fine, degree=3)
        eps_l = torch.stack([_as_l(model, e, t) for e, t in zip(eps_r, times)])
        eps = {"R": eps_r, "L": eps_l}
        for (kind, part, title), axis in zip(panels, row):
            axis.plot(times.sqrt(), eps[kind][:, 0, part].flatten(1)[:, list(_PIXELS)], linewidth=1)
            axis.set(xlabel="t^(1/2)", title=f"{title}: {model.name}", ylim=(-4, 4))
        found[model.name] = tuple(float(eps[kind][:, :, 1].diff(dim=0).abs().sum(dim=0).mean()) for kind in "RL")
    _save(figure, file)
    return found


def noise_strengths(models: Sequence[DigitsModel], fine: int, calls: int, file: Path) -> None:
    """Trajectories on the line, and digits by gDDIM and Euler-Maruyama, for several lambdas."""
    rows = 1 + 2 * len(models)
    figure, axes = plt.subplots(rows, len(_LAMBDAS), figsize=(10, 1.6 * rows + 0.8), constrained_layout=True)
    line, u = line_model(), _line_starts(8)
    for lam, axis in zip(_LAMBDAS, axes[0]):
        torch.manual_seed(2)
        times, states, _ = path(line, u, fine, degree=0, noise_level=lam)
        axis.plot(times, states[:, :, 0, 0, 0], linewidth=0.8)
        axis.set(title=f"lambda = {lam:g}", xlabel="t", ylim=(-3, 3))
    axes[0, 0].set_ylabel(f"x, {fine} calls")
    for index, model in enumerate(models):
        start = model.start(12, 3)
        for row, (name, sample) in enumerate({"gDDIM, q = 0": gddim, "Euler-Maruyama": euler_maruyama}.items()):
            for lam, axis in zip(_LAMBDAS, axes[1 + 2 * index + row]):
                torch.manual_seed(1)
                options = {"degree": 0} if sample is gddim else {}
                axis.imshow(
                    _mosaic(sample(model, start, calls, lam=lam, **options)),
                    cmap="gray",
                    vmin=-1,
                    vmax=1,
                    interpolation="nearest",
                )
                axis.set(xticks=[], yticks=[])
            axes[1 + 2 * index + row, 0].set_ylabel(f"{name},\n{model.name}", fontsize=8)
    _save(figure, file)


def _line_starts(items: int) -> torch.Tensor:
    u = torch.randn(items, 2, 1, 1, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    u[:, 1] *= CLD().mass ** 0.5
    return u


def _as_l(model: DigitsModel, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    sde, t = model.sde, float(t)
    return mapped(sde.cholesky(t).T, mapped(torch.linalg.inv(torch.from_numpy(sde.root(t))).numpy().T, eps))


def _mosaic(samples: torch.Tensor, across: int = 6) -> torch.Tensor:
    images = torch.nn.functional.pad(samples[:, 0], (0, 1, 0, 1), value=-1.0)
    return images.unflatten(0, (-1, across)).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)


def _save(figure, file: Path) -> None:
    figure.savefig(file, dpi=72)
    plt.close(figure)
