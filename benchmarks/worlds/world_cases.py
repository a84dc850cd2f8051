"""The measured cases: models, guidance, grids and numbers of calls."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from types import SimpleNamespace

import numpy as np
import torch

from samplers.lab.distances import relative_distance
from samplers.lab.fingerprint import fingerprint
from samplers.lab.reference import Reference
from samplers.time_maps import FLOW, VE, TimeMap
from training import networks

from . import exact_worlds, network
from .distilled import FreshDraws, Student
from .solve import converged

DEVELOPMENT_SEED, REPORT_SEED = 100, 7000
CALLS = (4, 6, 8, 10, 15, 20, 30)
OURS = ("logsnr_arctan", "logsnr_uniform")
# The schedulers that ComfyUI's templates and users choose for a kind of model, and ours. On eps models logsnr_uniform equals
# exponential. karras and exponential do not support flow models, and linear_quadratic was made for flow models.
SCHEDULERS = {
    "eps": ("karras", "exponential", "simple", "sgm_uniform", "normal", "beta", "kl_optimal", "logsnr_arctan"),
    "flow": ("simple", "sgm_uniform", "normal", "beta", "kl_optimal", "linear_quadratic", *OURS),
}
SCHEDULERS["ddpm"] = SCHEDULERS["eps"]
# The grid of eight steps that LTX-2's distilled checkpoints come with; other numbers of steps are read between its points.
LTX, _LTX = "LTX distilled", (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0)
_VISIBLE = 5e-3
_LOOSE = 1e-3  # at this tolerance or above, solutions are computed in float32 and from a coarser first grid
_FIRST, _FIRST_LOOSE = 24, 12
_SETTINGS = {
    "eps": ("EPS", {}),
    "ddpm": ("EPS", {"beta_schedule": "sqrt_linear", "linear_start": 1e-4, "linear_end": 0.02}),
    "flow": ("FLOW", {}),
}


@dataclass
class Case:
    """A model, a guidance and the noise to start from.

    Attributes:
        world: the group in which it is counted.
        name: name in tables.
        kind: "eps" on SD's sigmas, "ddpm" on linear betas, "flow".
        guidance: CFG.
        batch: number of items.
        make: function that makes the denoiser `f(x, sigma, alpha)`, which has a `shape`.
        shift: shift of a flow model.
        grids, calls: schedulers, and numbers of model calls.
        every, number: only one in `every` pairs of a scheduler and a number of calls is measured: the pairs whose positions in
            SCHEDULERS and CALLS, plus the case's number, have a sum that is divisible by `every`. Cases with consecutive
            numbers thus share the pairs.
        denoise: KSampler's denoise; below 1 with a latent.
        latent: the image to start from.
        seed: seed for the noise.
        tolerance, cap: tolerance and most steps of the converged solution.
        floor: the smallest sigma / alpha of the converged solution.
        visible: invisible relative distance; smaller errors count as this.
    """

    world: str
    name: str
    kind: str
    guidance: float
    batch: int
    make: Callable[[], Callable]
    shift: float = 1.0
    grids: tuple[str, ...] = ()
    calls: tuple[int, ...] = CALLS
    every: int = 1
    number: int = 0
    denoise: float = 1.0
    latent: torch.Tensor | None = None
    seed: int = DEVELOPMENT_SEED
    tolerance: float = 1e-4
    cap: int = 1536
    floor: float = 1e-3
    visible: float = 0.0

    def __post_init__(self):
        self.grids = self.grids or SCHEDULERS[self.kind]

    def calls_on(self, scheduler: str) -> tuple[int, ...]:
        """The numbers of calls that are measured on a grid; all of them on a grid that is not usual for the kind of model."""
        order = SCHEDULERS[self.kind]
        if self.every == 1 or scheduler not in order:
            return self.calls
        place = order.index(scheduler) + self.number
        return tuple(n for n in self.calls if (place + CALLS.index(n)) % self.every == 0)

    @property
    def time(self) -> TimeMap:
        return FLOW if self.kind == "flow" else VE

    @cached_property
    def denoiser(self) -> Callable:
        return self.make()

    @cached_property
    def model_sampling(self):
        patcher = getattr(self.denoiser, "patcher", None)
        return patcher.get_model_object("model_sampling") if patcher else _model_sampling(self.kind, self.shift)

    @cached_property
    def noise(self) -> torch.Tensor:
        """(batch, ...)."""
        return torch.randn(self.batch, *self.denoiser.shape, generator=torch.Generator().manual_seed(self.seed))

    def denoised(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """The guided output of the model."""
        return self.denoiser(x, sigma, self.time.alpha(sigma))

    def grid(self, scheduler: str, steps: int) -> torch.Tensor:
        """SIGMAS, as KSampler makes them; float32."""
        every = steps if self.denoise == 1.0 else int(steps / self.denoise)
        return _grid(self.model_sampling, scheduler, every)[-(steps + 1) :].clone()

    def start(self, sigma: float) -> torch.Tensor:
        """The state at which ComfyUI starts, float32."""
        sampling, latent = self.model_sampling, torch.zeros_like(self.noise) if self.latent is None else self.latent
        full = self.denoise == 1.0 and sigma > 0.999 * float(sampling.sigma_max)
        return sampling.noise_scaling(torch.tensor(sigma), self.noise.clone(), latent.float(), full)

    def solution(self, sigma: float) -> Reference:
        """The converged solution from the state at sigma, or the finest level of one that does not converge."""
        x, first = (self.start(sigma), _FIRST_LOOSE) if self.tolerance >= _LOOSE else (self.start(sigma).double(), _FIRST)
        model = getattr(self.denoiser, "teacher", self.denoiser)
        return converged(model, x, sigma, self.time, self.floor, first, self.tolerance, self.cap)

    def error(self, samples: torch.Tensor, truth: torch.Tensor | None) -> torch.Tensor:
        """Relative distance of every item."""
        return relative_distance(samples, truth) if truth is not None else self.denoiser.distance(samples)

    @property
    def has_solution(self) -> bool:
        """Whether the ODE's solution is the right result."""
        return not hasattr(self.denoiser, "distance")

    @cached_property
    def key(self) -> str:
        """A hash of everything that its results depend on except the grid and the sampler, including outputs of the model."""
        answers = [self.denoised(self.start(sigma), sigma) for sigma in self.grid(self.grids[0], 3)[:-1].tolist()]
        settings = self.kind, self.denoise, self.tolerance, self.cap, self.floor
        return fingerprint(settings, self.model_sampling.sigmas, self.noise, self.latent, answers)


@cache
def _model_sampling(kind: str, shift: float):
    import comfy.model_base

    name, settings = _SETTINGS[kind]
    config = SimpleNamespace(sampling_settings={**settings, "shift": shift} if kind == "flow" else settings)
    return comfy.model_base.model_sampling(config, comfy.model_base.ModelType[name])


@cache
def _grid(model_sampling, scheduler: str, steps: int) -> torch.Tensor:
    import comfy.samplers

    if scheduler == LTX:
        places = np.linspace(0, len(_LTX) - 1, steps + 1)
        return torch.from_numpy(np.interp(places, np.arange(len(_LTX)), _LTX)).float()
    return comfy.samplers.calculate_sigmas(model_sampling, scheduler, steps).float()


def _asked(batch: int, classes: int) -> torch.Tensor:
    return torch.arange(batch) % classes


def _guided(world: Callable[[], exact_worlds.Exact], guidance: float, batch: int) -> exact_worlds.Exact:
    data = world()
    return data if guidance == 1.0 else data.guided(guidance, _asked(batch, data.classes))


def from_noise(
    world: str, data: Callable, kind: str, guidance: float, batch: int, shift: float = 1.0, label: str = "", **common
) -> Case:
    """A case from noise."""
    name = " ".join(filter(None, (label or world, kind, f"shift {shift:g}" if kind == "flow" else "", f"CFG {guidance:g}")))
    return Case(world, name, kind, guidance, batch, partial(_guided, data, guidance, batch), shift, **common)


def exact_cases(**common) -> Iterator[Case]:
    """Ring in full, half of the pairs of photo and digits, a quarter of those of latent."""
    settings = ("eps", 1, 1), ("eps", 1, 4), ("eps", 1, 7), ("flow", 3, 1), ("flow", 3, 4), ("flow", 8, 4)
    for number, (kind, shift, guidance) in enumerate(settings):
        yield from_noise("photo", exact_worlds.photo, kind, guidance, 12, shift, every=2, number=number, **common)
    for larger, (side, batch) in enumerate(((64, 4), (128, 2))):
        for kind, shift in (("flow", 1), ("flow", 3), ("flow", 8), ("eps", 1)):
            for guidance in (1, 4):
                data, quarter = partial(exact_worlds.latent, side), {"every": 4, "number": 2 * larger + (guidance > 1)}
                yield from_noise("latent", data, kind, guidance, batch, shift, f"latent {side}", **quarter, **common)
    for kind, guidance in (("eps", 1), ("eps", 5), ("flow", 1), ("flow", 4)):
        yield from_noise("digits", exact_worlds.digit_mixture, kind, guidance, 24, 3, every=2, number=int(guidance > 1), **common)
    yield from_noise("ring", exact_worlds.ring, "eps", 5, 48, **common)
    yield from_noise("ring", exact_worlds.ring, "flow", 4, 48, 3, **common)


def image_cases(seed: int, **common) -> Iterator[Case]:
    """Image to image: a share of the schedule is run on data of one class, with the prompt of that class or of another one.

    Every number of steps has its own start and needs its own solution, which is expensive, so one pair in fourteen is measured.
    """
    worlds = ("photo", exact_worlds.photo, 6), ("digits", exact_worlds.digit_mixture, 12)
    settings = itertools.product(worlds, ("eps", "flow"), (0.2, 0.4, 0.6), (True, False))
    for number, ((label, world, batch), kind, denoise, fits) in enumerate(settings):
        data = world()
        of = _asked(batch, data.classes)
        image = data.draw(of, torch.Generator().manual_seed(seed + 1))
        asked = of if fits else (of + 1) % data.classes
        yield Case(
            "image to image", f"{label} {kind} denoise {denoise:g}, the prompt {'fits' if fits else 'does not fit'}", kind, 4.0,
            batch, partial(data.guided, 4.0, asked), 3.0, every=14, number=number, denoise=denoise, latent=image,
            seed=seed, tolerance=5e-3, cap=192, **common,
        )  # fmt: skip


# Models that were made for few steps: data, kind, and the scheduler and shift of the grid that each was made for.
_STUDENTS = (
    ("digits", "flow", "simple", 1.0), ("digits", "flow", "simple", 3.0), ("digits", "flow", "simple", 8.0),
    ("digits", "flow", "beta", 3.0), ("digits", "flow", LTX, 1.0), ("digits", "eps", "sgm_uniform", 1.0),
    ("digits", "eps", "simple", 1.0), ("photo", "flow", "simple", 3.0), ("photo", "flow", LTX, 1.0),
    ("photo", "eps", "sgm_uniform", 1.0),
)  # fmt: skip
_FRESH = (("eps", "sgm_uniform"), ("eps", "simple"), ("flow", "simple"), ("flow", "beta"), ("flow", LTX))


def distilled_cases(**common) -> Iterator[Case]:
    """Models that were made for 4 or 8 steps, on the grids that they were made for; LTX's has 8."""
    for (label, kind, scheduler, shift), calls in itertools.product(_STUDENTS, (4, 8)):
        if (scheduler, calls) != (LTX, 4):
            make, shifted = partial(_student, label, kind, scheduler, shift, calls), f" shift {shift:g}" if kind == "flow" else ""
            more = {"grids": (scheduler,), "calls": (calls,), "visible": _VISIBLE, **common}
            yield Case("distilled", f"{label} {kind}{shifted} in {calls} steps", kind, 1.0, 4, make, shift, **more)
    for kind, scheduler in _FRESH:
        more = {"grids": (scheduler,), "calls": (8,) if scheduler == LTX else (4, 8), "visible": _VISIBLE, **common}
        make = partial(FreshDraws, exact_worlds.digit_mixture())
        yield Case("distilled", f"fresh draws {kind}", kind, 1.0, 16, make, 3.0, **more)


def _student(label: str, kind: str, scheduler: str, shift: float, calls: int) -> Student:
    data = {"digits": exact_worlds.digit_mixture, "photo": exact_worlds.photo}[label]()
    return Student(data, _grid(_model_sampling(kind, shift), scheduler, calls), FLOW if kind == "flow" else VE)


NETWORKS = {"emoji_sd": "eps", "emoji_ddpm": "ddpm", "emoji_ddpm_early": "ddpm", "emoji_flow": "flow"}


def network_cases(**common) -> Iterator[Case]:
    """The networks trained on emoji. A call costs ten times as much as a formula, so one pair in eight is measured.

    Their solutions include ComfyUI's rounding of timesteps.
    """
    for number, ((name, kind), guidance) in enumerate(itertools.product(NETWORKS.items(), (1, 4, 7))):
        asked = _asked(3, 8)
        make = partial(network.Guided, name, float(guidance), asked)
        limits = {"tolerance": 5e-3, "cap": 400, "floor": 0.01 if kind == "flow" else 0.02, "every": 8, "number": number}
        yield Case(name, f"{name} CFG {guidance}", kind, guidance, len(asked), make, **limits, **common)


def cases(seed: int = DEVELOPMENT_SEED, words: tuple[str, ...] = ()) -> list[Case]:
    """All cases, or those whose name or world contains one of the words.

    Raises:
        ValueError: no case contains one of the words.
    """
    result = [*exact_cases(seed=seed), *image_cases(seed=seed), *distilled_cases(seed=seed), *network_cases(seed=seed)]
    names = [f"{case.world} {case.name}" for case in result]
    for word in words:
        if not any(word in name for name in names):
            worlds = ", ".join(dict.fromkeys(case.world for case in result))
            raise ValueError(f"cases must be words of {worlds} or of their cases' names, got {word!r}.")
    return [case for case, name in zip(result, names) if not words or any(word in name for word in words)]


def missing_networks() -> list[str]:
    """Networks whose weights are not in training/weights."""
    return [name for name in NETWORKS if not networks.NETWORKS[name].file.is_file()]
