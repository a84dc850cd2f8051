"""The subject of the lab's runs: a model with its prompts, a latent and a seed, sampled by the host's own sampling."""

import copy
import functools
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import comfy.model_management
import comfy.sample
import comfy.samplers
import torch
from comfy_api.v0_0_2 import io
from comfyui_version import __version__ as HOST_VERSION

from ..samplers.lab.fingerprint import fingerprint, folder_digest, model_fingerprint, unseen
from ..samplers.lab.measure import DryRun
from .host import time_map
from .inputs import seed_input

CATEGORY = "RES/lab"
# Keys for the size of an empty latent, as far as this version of the host has them.
_SIZES = [name for name in inspect.signature(comfy.sample.fix_empty_latent_channels).parameters if name.startswith("downscale_")]


def subject_inputs() -> list:
    """The inputs of a Subject."""
    return [
        io.MultiType.Input(
            "model",
            [io.Model, io.Guider],
            tooltip="A GUIDER, which brings prompts and CFG, or a MODEL, which is sampled without a prompt.",
        ),
        io.Latent.Input("latent_image", tooltip="As in KSampler. Each item of the batch is a separate trajectory."),
        seed_input("seed", "Seed for the starting noise.", change=False),
    ]


def filename_input(default: str, tooltip: str) -> io.String.Input:
    """The input for the file names of tables."""
    return io.String.Input("filename_prefix", default=default, tooltip=tooltip, advanced=True)


class NeedsPrompt(ValueError):
    """A MODEL that cannot be sampled without a prompt."""


class Run(NamedTuple):
    """One sampling run."""

    samples: torch.Tensor  # (batch, channels, ...) as the model sees them, float32, on the CPU
    calls: int  # of the denoiser; conditional and unconditional parts count as one call
    seconds: float
    latent: dict  # the LATENT that the host's sampling nodes give


class Subject:
    """A MODEL or a GUIDER, a LATENT and a seed.

    Attributes:
        guider: its own guider, so that those of other nodes are not changed.
        latent: the LATENT with the channels of the model.
        seed: seed of the noise.
        on_call: default of `run`'s on_call.
        unprompted: whether it is a MODEL, which is sampled without a prompt.
    """

    def __init__(self, model, latent: dict, seed: int):
        """Raise a ValueError for nested latents and models without a single sigma, which the lab cannot measure."""
        self.unprompted = not hasattr(model, "original_conds")
        self.guider = comfy.samplers.CFGGuider(model) if self.unprompted else copy.copy(model)
        if self.unprompted:
            self.guider.inner_set_conds({"positive": [[None, {}]]})
        sizes = {name: latent.get(name) for name in _SIZES}
        samples = comfy.sample.fix_empty_latent_channels(self.guider.model_patcher, latent["samples"], **sizes)
        if getattr(samples, "is_nested", False):  # newer hosts also make an empty latent nested if the model needs it
            raise ValueError(
                "latent_image is nested (several latents in one, as of video with sound), which the lab cannot measure. Connect "
                "an ordinary one, with a model for such latents."
            )
        self.latent = {name: value for name, value in latent.items() if name not in _SIZES} | {"samples": samples}
        self.seed = seed
        self.on_call: Callable | None = None
        time_map(self.model_sampling)  # raises for models it does not know

    @property
    def model_sampling(self):
        """The host's object that knows the model's sigmas."""
        return self.guider.model_patcher.get_model_object("model_sampling")

    @property
    def shape(self) -> torch.Size:
        """Shape of the latent, (batch, channels, ...)."""
        return self.latent["samples"].shape

    @property
    def fingerprint(self) -> str:
        """Hash of everything that a run depends on, apart from sampler, sigmas and seed."""
        guider, versions = self.guider, (HOST_VERSION, pack_digest(), torch.__version__)
        settings = {name: value for name, value in vars(guider).items() if name != "model_patcher"}
        latent = {name: value for name, value in self.latent.items() if name in ("samples", "noise_mask", "batch_index")}
        return fingerprint(versions, type(guider), settings, model_fingerprint(guider.model_patcher), latent)

    @property
    def unseen(self) -> str:
        """A sentence that names what the fingerprint does not cover in the model's patches; "" if it covers everything."""
        names = "; ".join(unseen(self.guider.model_patcher))
        return f"Some changes of the model's patches cannot be seen ({names}); turn fresh on after one." if names else ""

    def run(self, sampler, sigmas: torch.Tensor, seed: int | None = None, on_call: Callable | None = None, callback=None) -> Run:
        """Sample.

        Args:
            sampler: a SAMPLER.
            sigmas: SIGMAS, (steps + 1,).
            seed: seed of noise and sampler; by default the subject's seed.
            on_call: on_call(x, sigma, denoised, seconds) after every call of the denoiser, with the duration of the call.
            callback: the host's callback(step, denoised, x, steps).

        Raises:
            InterruptProcessingException: the user interrupted; this is noticed before the next call.
            NeedsPrompt: there is no prompt.
        """
        seed = self.seed if seed is None else seed
        counted = _Between(sampler, on_call or self.on_call)
        started = time.perf_counter()
        samples = self._sample(counted, sigmas, seed, callback)
        seconds = time.perf_counter() - started
        latent = {**self.latent, "samples": samples.to(comfy.model_management.intermediate_device())}
        samples = self.guider.model_patcher.model.process_latent_in(samples.float().cpu())
        return Run(samples, counted.calls, seconds, latent)

    def dry(self, sampler, sigmas: torch.Tensor) -> DryRun:
        """Calls of a sampler on a grid, and whether it draws noise, from two runs on a formula instead of the model."""
        dry = _DryRunSampler(sampler)
        self._sample(dry, sigmas, self.seed)
        return DryRun(dry.calls, dry.stochastic)

    def _sample(self, sampler: "_Between", sigmas: torch.Tensor, seed: int, callback=None) -> torch.Tensor:
        samples, mask = self.latent["samples"], self.latent.get("noise_mask")
        options = {"denoise_mask": mask, "callback": callback, "disable_pbar": True, "seed": seed}
        sigmas = sigmas.clone()  # some samplers change the sigmas that they get
        try:
            noise = comfy.sample.prepare_noise(samples, seed, self.latent.get("batch_index"))
            return self.guider.sample(noise, samples, sampler, sigmas, **options)
        except (TypeError, AttributeError, RuntimeError, KeyError) as error:
            if self.unprompted and sampler.calls == 0 and not sampler.is_at_work:
                raise NeedsPrompt(
                    f"model is a MODEL without a prompt, and this one failed before its first answer ({error!r}). Connect a "
                    "GUIDER, as CFGGuider and BasicGuider make them."
                ) from error
            raise


@functools.cache
def pack_digest() -> str:
    """Digest of the files of the pack's solvers."""
    return folder_digest(Path(__file__).parents[1] / "samplers")


class _Between(comfy.samplers.Sampler):
    """A SAMPLER between the host and another SAMPLER, whose calls go through `call`."""

    def __init__(self, sampler, on_call: Callable | None = None):
        self._sampler, self._on_call = sampler, on_call
        self.calls = 0  # finished calls of the denoiser
        self.is_at_work = False  # whether the other sampler is running, and not the model or the host

    def sample(self, model_wrap, *args, **kwargs):
        self.is_at_work = True
        samples = self._sampler.sample(_Watched(model_wrap, self), *args, **kwargs)
        self.is_at_work = False
        return samples

    def max_denoise(self, model_wrap, sigmas):
        return self._sampler.max_denoise(model_wrap, sigmas)

    def call(self, model, x, sigma, *args, **kwargs):
        """The output for a call, which is counted, timed and shown."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        self.is_at_work = False
        started = time.perf_counter()
        denoised = self._answer(model, x, sigma, *args, **kwargs)
        if self._on_call is not None:
            self._on_call(x, sigma, denoised, time.perf_counter() - started)
        self.calls, self.is_at_work = self.calls + 1, True
        return denoised

    def _answer(self, model, x, sigma, *args, **kwargs):
        denoised = model(x, sigma, *args, **kwargs)
        comfy.model_management.synchronize()  # otherwise only the launch of the call would be timed
        return denoised


class _DryRunSampler(_Between):
    """Answers in the model's place, and runs the sampler with two seeds."""

    stochastic = False  # whether the two seeds gave different results

    def sample(self, model_wrap, sigmas, extra_args, callback, noise, *args, **kwargs):
        results = []
        with torch.random.fork_rng(devices=[noise.device] if noise.is_cuda else []):
            for seed in (0, 1):
                torch.manual_seed(seed)  # for samplers that draw from torch's generator
                self.calls = 0
                arguments = {**extra_args, "seed": seed}
                results.append(super().sample(model_wrap, sigmas.clone(), arguments, None, noise.clone(), *args, **kwargs))
        self.stochastic = not torch.equal(*(samples.nan_to_num() for samples in results))
        return results[0]

    def _answer(self, model, x, sigma, *args, **kwargs):
        # the mean spreads noise outside an inpainting mask to the rest, like a model
        return 0.5 * x + 0.1 * x.mean(dim=tuple(range(1, x.ndim)), keepdim=True)


class _Watched:
    """The guider as samplers see it, whose calls go through the `call` of another object."""

    def __init__(self, model, caller: _Between):
        self._model, self._caller = model, caller

    def __getattr__(self, name):
        return getattr(self._model, name)

    def __call__(self, *args, **kwargs):
        return self._caller.call(self._model, *args, **kwargs)
