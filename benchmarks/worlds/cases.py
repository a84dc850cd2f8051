"""What is measured: models, guidance, grids and numbers of calls."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from types import SimpleNamespace

import torch

from samplers.lab.distances import relative_distance
from samplers.lab.fingerprint import fingerprint
from samplers.time_maps import FLOW, VE, TimeMap
from training import networks

from . import exact, network
from .distilled import FreshDraws, Student
from .solve import converged

DEVELOPMENT_SEED, REPORT_SEED = 100, 7000
CALLS = (4, 6, 8, 10, 15, 20, 30)
OURS = ("logsnr_arctan", "logsnr_uniform")
# The schedulers of ComfyUI that make sense for a kind of model. On flow sgm_uniform is within half a step of simple; on eps
# logsnr_uniform is exponential.
SCHEDULERS = {
    "eps": ("karras", "exponential", "simple", "sgm_uniform", "normal", "beta", "kl_optimal", "logsnr_arctan"),
    "flow": ("simple", "normal", "beta", "kl_optimal", "linear_quadratic", *OURS),
}
SCHEDULERS["ddpm"] = SCHEDULERS["eps"]
# Cases that are variations of others are measured on these.
FEW, FEW_CALLS = {"eps": ("karras", "normal", "beta", "logsnr_arctan"), "flow": ("simple", "beta", "logsnr_arctan")}, (6, 10, 20)
_DISTILLED, _SHIFT, _VISIBLE = {"eps": "sgm_uniform", "flow": "simple"}, 3.0, 5e-3
_SETTINGS = {
    "eps": ("EPS", {}),
    "ddpm": ("EPS", {"beta_schedule": "sqrt_linear", "linear_start": 1e-4, "linear_end": 0.02}),
    "flow": ("FLOW", {}),
}


@dataclass
class Case:
    """A model, a guidance and the noise to start from.

    Attributes:
        world: the group that it is counted in.
        name: in tables.
        kind: "eps" on SD's sigmas, "ddpm" on linear betas, "flow".
        guidance: CFG.
        batch: items.
        make: makes the denoiser `f(x, sigma, alpha)`, which has a `shape`.
        shift: of a flow model.
        grids, calls: schedulers, and numbers of model calls.
        denoise: share of the schedule that is run, as KSampler has it; below 1 with a latent.
        latent: the image to start from.
        seed: of the noise.
        tolerance, cap: of the converged solution.
        floor: the smallest sigma / alpha of the converged solution.
        visible: relative distance below which nobody sees a difference; smaller errors count as this.
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
    denoise: float = 1.0
    latent: torch.Tensor | None = None
    seed: int = DEVELOPMENT_SEED
    tolerance: float = 1e-4
    cap: int = 1536
    floor: float = 1e-3
    visible: float = 0.0

    def __post_init__(self):
        self.grids = self.grids or SCHEDULERS[self.kind]

    @property
    def time(self) -> TimeMap:
        """The model's time map."""
        return FLOW if self.kind == "flow" else VE

    @cached_property
    def denoiser(self) -> Callable:
        """`f(x, sigma, alpha)`."""
        return self.make()

    @cached_property
    def model_sampling(self):
        """The host's object that knows the model's sigmas."""
        if patcher := getattr(self.denoiser, "patcher", None):
            return patcher.get_model_object("model_sampling")
        return _model_sampling(self.kind, self.shift)

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
        """The state that the host starts at, float32."""
        sampling, latent = self.model_sampling, torch.zeros_like(self.noise) if self.latent is None else self.latent
        full = self.denoise == 1.0 and sigma > 0.999 * float(sampling.sigma_max)
        return sampling.noise_scaling(torch.tensor(sigma), self.noise.clone(), latent.float(), full)

    def solution(self, sigma: float) -> torch.Tensor:
        """The converged solution from the state at sigma, float64.

        Raises:
            NotConverged: two levels of it do not agree.
        """
        x = self.start(sigma).double()
        return converged(
            getattr(self.denoiser, "teacher", self.denoiser), x, sigma, self.time, self.floor, self.tolerance, self.cap
        ).samples

    def error(self, samples: torch.Tensor, truth: torch.Tensor | None) -> torch.Tensor:
        """Relative distance of every item."""
        return relative_distance(samples, truth) if truth is not None else self.denoiser.distance(samples)

    @property
    def has_solution(self) -> bool:
        """Whether the ODE's solution is what is right."""
        return not hasattr(self.denoiser, "distance")

    @cached_property
    def key(self) -> str:
        """Of all that its results depend on but the grid and the sampler, answers of the model among it."""
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

    return comfy.samplers.calculate_sigmas(model_sampling, scheduler, steps).float()


def _asked(batch: int, classes: int) -> torch.Tensor:
    return torch.arange(batch) % classes


def _guided(world: Callable[[], exact.Exact], guidance: float, batch: int) -> exact.Exact:
    data = world()
    return data if guidance == 1.0 else data.guided(guidance, _asked(batch, data.classes))


def _plain(
    world: str,
    data: Callable,
    kind: str,
    guidance: float,
    batch: int,
    shift: float = 1.0,
    label: str = "",
    full: bool = True,
    **common,
) -> Case:
    """A case from noise; one that is not full has the grids and calls of FEW."""
    name = " ".join(filter(None, (label or world, kind, f"shift {shift:g}" if kind == "flow" else "", f"CFG {guidance:g}")))
    grids, calls = (SCHEDULERS[kind], CALLS) if full else (FEW[kind], FEW_CALLS)
    return Case(world, name, kind, guidance, batch, partial(_guided, data, guidance, batch), shift, grids, calls, **common)


def exact_cases(**common) -> Iterator[Case]:
    """Photo, latent, digits and ring: some settings in full, the others on fewer grids and calls."""
    for kind, shift, guidance in (("eps", 1, 1), ("eps", 1, 4), ("eps", 1, 7), ("flow", 3, 1), ("flow", 3, 4), ("flow", 8, 4)):
        yield _plain("photo", exact.photo, kind, guidance, 12, shift, full=(shift, guidance) in ((1, 4), (3, 4)), **common)
    for side, batch in ((64, 4), (128, 2)):
        for kind, shift in (("flow", 1), ("flow", 3), ("flow", 8), ("eps", 1)):
            for guidance in (1, 4):
                data, full = partial(exact.latent, side), side == 64 and shift == 3
                yield _plain("latent", data, kind, guidance, batch, shift, f"latent {side}", full, **common)
    for kind, guidance in (("eps", 1), ("eps", 5), ("flow", 1), ("flow", 4)):
        yield _plain("digits", exact.digit_mixture, kind, guidance, 24, 3, full=guidance > 1, **common)
    yield _plain("ring", exact.ring, "eps", 5, 48, **common)
    yield _plain("ring", exact.ring, "flow", 4, 48, 3, **common)


def image_cases(seed: int, **common) -> Iterator[Case]:
    """Image to image: a share of the schedule is run on data of one class, with the prompt of that class or of another one."""
    for label, world, kind, grids, shares in (
        ("photo", exact.photo, "eps", ("simple",), (0.4,)),
        ("photo", exact.photo, "flow", ("simple",), (0.4,)),
        ("digits", exact.digit_mixture, "eps", ("karras", "simple"), (0.2, 0.4, 0.6)),
        ("digits", exact.digit_mixture, "flow", ("simple", "beta"), (0.2, 0.4, 0.6)),
    ):
        data = world()
        of = _asked(12, data.classes)
        image = data.draw(of, torch.Generator().manual_seed(seed + 1))
        for denoise in shares:
            for asked, fits in ((of, "fits"), ((of + 1) % data.classes, "does not fit")):
                yield Case(
                    "image to image", f"{label} {kind} denoise {denoise:g}, the prompt {fits}", kind, 4.0, len(of),
                    partial(data.guided, 4.0, asked), 3.0, grids, (4, 8, 15), denoise, image, seed, tolerance=5e-3, **common,
                )  # fmt: skip


def distilled_cases(**common) -> Iterator[Case]:
    """Models that were made for few steps, on the grids that they were made for."""
    for calls in (4, 8):
        for label, data, kind in (("digits", exact.digit_mixture, "flow"), ("photo", exact.photo, "eps")):
            make, grids = partial(_student, data, kind, calls), (_DISTILLED[kind],)
            name = f"{label} {kind} in {calls} steps"
            yield Case("distilled", name, kind, 1.0, 8, make, _SHIFT, grids, (calls,), visible=_VISIBLE, **common)
    for kind, scheduler in _DISTILLED.items():
        name = f"fresh draws {kind}"
        yield Case("distilled", name, kind, 1.0, 16, _fresh, _SHIFT, (scheduler,), (4, 8), visible=_VISIBLE, **common)


def _student(data: Callable[[], exact.Exact], kind: str, calls: int) -> Student:
    sigmas = _grid(_model_sampling(kind, _SHIFT), _DISTILLED[kind], calls)
    return Student(data(), sigmas, FLOW if kind == "flow" else VE)


def _fresh() -> FreshDraws:
    return FreshDraws(exact.digit_mixture())


# The trained networks: a network's call costs ten times a formula's, so these have fewer grids and calls.
NETWORKS = {"emoji_sd": "eps", "emoji_ddpm": "ddpm", "emoji_ddpm_early": "ddpm", "emoji_flow": "flow"}
_NETWORK_GRIDS = {"eps": ("karras", "normal", "logsnr_arctan"), "flow": ("simple", "beta", "logsnr_arctan")}


def network_cases(**common) -> Iterator[Case]:
    """The networks of training/ on emoji. Their solution has ComfyUI's rounding of timesteps in it."""
    for name, kind in NETWORKS.items():
        grids = _NETWORK_GRIDS["flow" if kind == "flow" else "eps"]
        for guidance in (1, 4, 7):
            some, calls = (grids, (4, *FEW_CALLS)) if guidance == 4 else (grids[:2], FEW_CALLS)
            asked = _asked(3, 8)
            make = partial(network.Guided, name, float(guidance), asked)
            limits = {"tolerance": 5e-3, "cap": 400, "floor": 0.01 if kind == "flow" else 0.02}
            yield Case(name, f"{name} CFG {guidance}", kind, guidance, len(asked), make, 1.0, some, calls, **limits, **common)


def cases(seed: int = DEVELOPMENT_SEED, words: tuple[str, ...] = ()) -> list[Case]:
    """All of them, or those whose name or world holds one of the words. Networks that are not in training/ are left out.

    Raises:
        ValueError: a word that no case has; weights that are asked for and missing.
    """
    found = [*exact_cases(seed=seed), *image_cases(seed=seed), *distilled_cases(seed=seed), *network_cases(seed=seed)]
    for word in words:
        if not any(word in f"{case.world} {case.name}" for case in found):
            worlds = ", ".join(dict.fromkeys(case.world for case in found))
            raise ValueError(f"cases must be words of {worlds} or of their cases' names, got {word!r}.")
    return [case for case in found if not words or any(word in f"{case.world} {case.name}" for word in words)]


def missing_networks() -> list[str]:
    """Networks whose weights are not in training/weights."""
    return [name for name in NETWORKS if name not in networks.NETWORKS or not networks.NETWORKS[name].file.is_file()]
