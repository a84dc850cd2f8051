"""Draws the pictures of the help pages with the pack's own code; `dev.pictures` writes them."""

import itertools
import math
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.figure import Figure

from embedded import emoji
from embedded.mixture import GaussianMixture, ring
from samplers import sample_exp_gddim, sample_res_churn, sample_res_multistep
from samplers.adaptive import sample_exp_res_adaptive
from samplers.catalogue import METHODS
from samplers.curve import read_curve
from samplers.lab import measure_picture, trace_picture
from samplers.lab.calibration import results
from samplers.lab.calibration.calibrate import Calibration
from samplers.lab.calibration.results import Settings
from samplers.lab.measure import DryRun, Entry, Measurement, Schedule
from samplers.lab.store import Store
from samplers.lab.trace import Trace
from samplers.lab.verdict import judge
from samplers.model_kinds import stable_diffusion
from samplers.processes.blurring import Blurring
from samplers.processes.cld import CLD
from samplers.processes.process_planner import gddim_on, res_on
from samplers.reshaping import blend, resample, split
from samplers.schedules import logsnr_grid
from samplers.spacings import SPACINGS
from samplers.time_maps import VE
from testbed.digits_process import DigitsProcess, median_distance

SD = stable_diffusion()
_STEPS = 16


def _figure(columns: int = 1, **options):
    figure = Figure(figsize=(6.4, 3.4), dpi=100, layout="constrained")
    axes = figure.subplots(1, columns, **options)
    for one in axes if columns > 1 else [axes]:
        one.grid(alpha=0.3)
    return figure, axes


def _lam(sigmas) -> np.ndarray:
    """lambda of the sigmas above 0."""
    return -np.log(np.array([sigma for sigma in sigmas.tolist() if sigma > 0.0]))


def schedule():
    """Every spacing at its defaults: logSNR and the steps."""
    figure, (curve, steps) = _figure(2)
    for spacing in SPACINGS:
        lam = _lam(logsnr_grid(_STEPS, SD, VE, spacing))
        curve.plot(2.0 * lam, marker=".", label=spacing)
        steps.plot(np.diff(lam), marker=".")
    curve.set(xlabel="step", ylabel="logSNR")
    steps.set(xlabel="step", ylabel="h, step in lambda")
    curve.legend(fontsize=8)
    return figure


def curve():
    """A curve through points, and its grid."""
    figure, (drawn, grid) = _figure(2)
    of_points = read_curve("[[0, 0], [0.2, 0.4], [0.7, 0.65], [1, 1]]")
    u = np.linspace(0.0, 1.0, 200)
    drawn.plot(u, of_points.share(u))
    drawn.plot(*zip(*of_points.points), "o", color="C0")
    drawn.set(xlabel="share of the steps", ylabel="share of the logSNR range")
    grid.plot(2.0 * _lam(logsnr_grid(_STEPS, SD, VE, of_points)), marker=".")
    grid.set(xlabel="step", ylabel="logSNR")
    return figure


def reshaping():
    """Blend, Resample and Split."""
    figure, panels = _figure(3, sharey=True)
    uniform, rho = (logsnr_grid(_STEPS, SD, VE, spacing) for spacing in ("uniform", "edm_rho"))
    for grid, label in ((uniform, "a"), (rho, "b"), (blend(uniform, rho, 0.5, VE), "weight 0.5")):
        panels[0].plot(2.0 * _lam(grid), marker=".", label=label)
    for grid, label in ((rho, f"{_STEPS} steps"), (resample(rho, 8, VE), "8 steps")):
        lam = _lam(grid)
        panels[1].plot(np.linspace(0.0, 1.0, len(lam)), 2.0 * lam, marker=".", label=label)
    first, second = split(rho, 1.0, VE)
    panels[2].plot(2.0 * _lam(first), marker=".", label="first")
    panels[2].plot(len(first) - 1 + np.arange(len(_lam(second))), 2.0 * _lam(second), marker=".", label="second")
    for panel, title in zip(panels, ("Blend", "Resample", "Split at sigma 1")):
        panel.set_title(title, fontsize=10)
        panel.legend(fontsize=8)
    panels[0].set_ylabel("logSNR")
    return figure


def _errors(sample, steps: list[int]) -> list[float]:
    """Median relative distance to the converged solution on the ring at the model's last sigma, for each number of steps."""
    mixture = ring()
    x = torch.randn(256, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * SD.sigma_max

    def run(sample, steps):
        return sample(mixture.denoise, x, logsnr_grid(steps + 1, SD, VE)[:-1].double(), disable=True)

    exact = run(METHODS["exp_res_3s"].sample, 400)
    ends = (run(sample, n) for n in steps)
    return [median_distance(end, exact) for end in ends]


def _error_plot(methods: dict):
    """methods: label -> (sampler, stages)."""
    figure, axes = _figure()
    for label, (sample, stages) in methods.items():
        steps = list(range(6 // stages, 60 // stages + 1, 6 // stages))
        axes.loglog([stages * n for n in steps], _errors(sample, steps), marker=".", label=label)
    axes.set(xlabel="model calls", ylabel="error")
    axes.set_xticks([6, 12, 24, 48], ["6", "12", "24", "48"])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    return figure


def multistep():
    """exp_res and the orders in lambda."""
    methods = {f"order {order}": (partial(sample_res_multistep, order=order), 1) for order in (1, 2, 3)}
    methods["order 2, corrector"] = (partial(sample_res_multistep, order=2, corrector=True), 1)
    return _error_plot({**methods, "exp_res": (METHODS["exp_res"].sample, 1)})


def single_step():
    """The error of two and three stages compared with one."""
    methods = {f"{stages} stages": (METHODS[f"exp_res_{stages}s"].sample, stages) for stages in (2, 3)}
    return _error_plot({"1 stage (ddim)": (partial(sample_res_multistep, order=1), 1), **methods})


def gddim():
    """Degrees 0 to 3, and the default with the free corrector."""
    of = {f"degree {q}": partial(sample_exp_gddim, degree=q) for q in range(4)}
    of["degree 2, PEC"] = partial(sample_exp_gddim, corrector="PEC")
    return _error_plot({name: (sample, 1) for name, sample in of.items()})


def processes():
    """gDDIM and RES on the digits under CLD and blurring diffusion, on the paper's grid."""
    figure, panels = _figure(2, sharey=True)
    for panel, sde in zip(panels, (CLD(), Blurring(8, 8))):
        problem = DigitsProcess(sde)
        state = problem.start(32, 0)
        exact = problem.solve(partial(gddim_on, degree=3), state, 400)
        methods = {f"degree {q}": partial(gddim_on, degree=q) for q in (0, 2, 3)}
        methods |= {f"RES-{name}": partial(res_on, method=name) for name in ("2MC", "3MC")}
        for label, plan in methods.items():
            calls = (12, 16, 24, 36, 50)
            errors = [median_distance(problem.solve(plan, state, n), exact) for n in calls]
            panel.loglog(calls, errors, marker=".", label=label)
        panel.set_title(sde.name, fontsize=10)
        panel.set_xlabel("model calls")
        panel.set_xticks([12, 24, 50], ["12", "24", "50"])
        panel.minorticks_off()
    panels[0].set_ylabel("error")
    panels[0].legend(fontsize=8)
    return figure


class _Path:
    """The states that a model of two peaks is called with, in x / sqrt(1 + sigma^2)."""

    def __init__(self):
        self.peaks = GaussianMixture(torch.tensor([[-1.0], [1.0]], dtype=torch.float64), 0.1)
        self.logsnr, self.x = [], []

    def __call__(self, x, sigma, **_):
        self.logsnr.append(-2.0 * float(sigma.flatten()[0].log()))
        self.x.append((x / (1.0 + sigma[:, None] ** 2).sqrt())[:, 0])
        return self.peaks.denoise(x, sigma)


def _paths(title_to_sample: dict):
    figure, panels = _figure(len(title_to_sample), sharey=True)
    start = torch.linspace(-1.5, 1.5, 8, dtype=torch.float64)[:, None] * SD.sigma_max
    for panel, (title, sample) in zip(panels, title_to_sample.items()):
        torch.manual_seed(0)
        path = _Path()
        sample(path, start, logsnr_grid(60, SD, VE).double(), extra_args={"seed": 3}, disable=True)
        panel.plot(path.logsnr, torch.stack(path.x), linewidth=0.9)
        panel.set_title(title, fontsize=10)
        panel.set_xlabel("logSNR")
    panels[0].set_ylabel("x / sqrt(alpha^2 + sigma^2)")
    return figure


def sde():
    """Paths of the SDE at three strengths."""
    return _paths({f"eta {eta:g}": partial(METHODS["exp_res_sde"].sample, eta=eta) for eta in (0.0, 0.5, 1.0)})


def churn():
    """Paths under churn at three strengths."""
    return _paths({f"s_churn {s_churn:g}": partial(sample_res_churn, s_churn=s_churn) for s_churn in (0.0, 5.0, 15.0)})


def adaptive():
    """The steps that two tolerances choose on the emoji."""
    figure, axes = _figure()
    mixture, x = emoji.emoji(0.1, torch.float64), SD.sigma_max * _noise()
    for rtol in (0.05, 0.01):
        ends = torch.tensor([SD.sigma_max, SD.sigma_min, 0.0], dtype=torch.float64)
        _, info = sample_exp_res_adaptive(mixture.denoise, x, ends, disable=True, rtol=rtol, atol=rtol / 6, return_info=True)
        lam = _lam(info.sigmas)
        axes.step(2.0 * lam[:-1], np.diff(lam), where="post", label=f"rtol {rtol:g}: {info.calls} model calls")
    axes.set(xlabel="logSNR", ylabel="h, step in lambda")
    axes.set_ylim(bottom=0.0)
    axes.legend(fontsize=8)
    return figure


def _noise(items: int = 8, seed: int = 0) -> torch.Tensor:
    """(items, 3072), for the emoji."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(items, math.prod(emoji.SHAPE), generator=generator, dtype=torch.float64)


class _Emoji:
    """What the lab measures, without a host: the exact emoji from 8 noises."""

    fingerprint, seed, shape = "emoji", 0, (8, math.prod(emoji.SHAPE))

    def run(self, sampler, sigmas):
        mixture, calls = emoji.emoji(0.1), itertools.count()
        noise = _noise(seed=self.seed).float()
        samples = sampler(lambda x, sigma: (next(calls), mixture.denoise(x, sigma))[1], sigmas[0] * noise, sigmas, disable=True)
        return SimpleNamespace(samples=samples, calls=next(calls), seconds=0.0)

    def dry(self, sampler, sigmas):
        return DryRun(self.run(sampler, sigmas).calls, stochastic=False)


def measure():
    """What RES Lab: Measure draws, of samplers of the pack."""
    names, calls = ("exp_res", "exp_res_2m", "exp_res_2s", "exp_gddim"), [6, 8, 10, 15, 20]
    uniform = Schedule("logsnr_uniform", lambda steps: logsnr_grid(steps, SD, VE))
    with tempfile.TemporaryDirectory() as folder:
        work = Measurement(_Emoji(), METHODS["exp_res_3mc"].sample, VE, SD, Store(Path(folder)), tolerance=5e-3)
        entries = [Entry(name, METHODS[name].sample) for name in names]
        cells = list(work.cells(work.plan(entries, [uniform], calls)))
    return measure_picture.picture(cells, work.references, judge(cells, work.references, calls[-1]))


def trace():
    """What RES Lab: Trace draws, of a run of exp_res on the emoji."""
    grid = logsnr_grid(_STEPS, SD, VE).double()
    measured, mixture = Trace(grid.tolist(), VE), emoji.emoji(0.1, torch.float64)

    def model(x, sigma, **_):
        denoised = mixture.denoise(x, sigma)
        measured.call(x, sigma, denoised, 0.0)
        return denoised

    METHODS["exp_res"].sample(model, SD.sigma_max * _noise(), grid, None, lambda info: measured.stepped(info["i"]), True)
    measured.finish()
    return trace_picture.picture(measured.rows)


def calibration():
    """What RES Lab: Calibrate draws, on the emoji at CFG 5."""
    mixture, batch, cfg, steps = emoji.emoji(0.1), 4, 5.0, 8
    classes = torch.nn.functional.one_hot(torch.arange(batch) % mixture.classes, mixture.classes).float()

    def guided(x, sigma, **_):
        free = mixture.denoise(x, sigma)
        return free + cfg * (mixture.denoise(x, sigma, 1.0, classes) - free)

    def problem(sampler, sigmas, seed):
        return sampler(guided, _noise(batch, seed).float() * sigmas[0], sigmas, {}, None, True)

    rivals = {name: METHODS[name].sample for name in ("exp_gddim", "exp_res_2m", "exp_res_3m", "exp_res")}
    settings = Settings(batch, batch, 4 * batch)
    fit = Calibration(problem, logsnr_grid(steps, SD, VE), VE, np.exp(-6.0), 0, batch, settings, rivals)
    return results.picture(fit.run())


def toy():
    """Emoji at rising noise, and the denoised outputs."""
    figure, panels = _figure(2)
    mixture = emoji.emoji()
    generator = torch.Generator().manual_seed(9)
    clean = mixture.sample(8, generator)
    sigmas = torch.tensor([0.0, 0.5, 1.0, 4.0, 8.0, 14.6])
    noisy = torch.cat([clean + sigma * torch.randn(clean.shape, generator=generator) for sigma in sigmas])
    denoised = mixture.denoise(noisy, sigmas.clamp(min=1e-3).repeat_interleave(8))
    for panel, rows, title in zip(panels, (noisy, denoised), ("emoji, with noise from sigma 0 to 14.6", "denoised outputs")):
        sheet = rows.reshape(6, 8, *emoji.SHAPE).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
        panel.imshow((sheet / 2.0 + 0.5).clamp(0.0, 1.0))
        panel.set_title(title, fontsize=10)
        panel.grid(False)
        panel.set(xticks=[], yticks=[])
    return figure


_OF_SIGMAS = (schedule, curve, reshaping)
_OF_SAMPLERS = (multistep, single_step, sde, churn, adaptive, gddim, processes)
_OF_TOOLS = (trace, calibration, toy, measure)
PICTURES = {draw.__name__: draw for draw in (*_OF_SIGMAS, *_OF_SAMPLERS, *_OF_TOOLS)}
