"""The problems on which solvers are compared: exact mixtures as ComfyUI models, each with its converged solution."""

from dataclasses import dataclass
from functools import cached_property

import torch

from embedded.digits import digits
from embedded.mixture import GaussianMixture, ring
from samplers.lab.distances import relative_distance
from samplers.lab.reference import reference_grid
from samplers.lab.steps import most_steps
from samplers.loop import run
from samplers.single_step import single_step_plan
from samplers.tableaus import res_3s
from samplers.time_maps import FLOW, VE, TimeMap
from training import networks

from . import host_samplers

BATCH = 64
CONVERGING = 400
ROUGH = 30  # steps of the solution in a trial run, which only shows that a benchmark runs


@dataclass
class Case:
    """A ComfyUI model, a guidance scale, and the noise to start from.

    Attributes:
        name: name in tables.
        shape: latent shape of one item.
        kind: "eps" or "flow".
        cfg: guidance towards one class per item; 1 means no guidance.
        batch: number of items.
        seed: seed for the starting noise.
        converging: number of steps of the converged solution.

    Subclasses have a `model` (a ModelPatcher), the positive and negative `conditioning`, and a `reference`, which is the
    converged solution at sigma = 0 from the state at which ComfyUI starts.
    """

    name: str
    shape: tuple[int, int, int]
    kind: str
    cfg: float = 1.0
    batch: int = BATCH
    seed: int = 0
    converging: int = CONVERGING

    @property
    def time(self) -> TimeMap:
        return FLOW if self.kind == "flow" else VE

    @property
    def model_sampling(self):
        return self.model.get_model_object("model_sampling")

    @cached_property
    def noise(self) -> torch.Tensor:
        return torch.randn(self.batch, *self.shape, generator=torch.Generator().manual_seed(self.seed))

    def grid(self, scheduler: str, steps: int) -> torch.Tensor:
        """SIGMAS of one of ComfyUI's schedulers."""
        import comfy.samplers

        return comfy.samplers.calculate_sigmas(self.model_sampling, scheduler, steps)

    def sample(self, sampler, sigmas, latent: torch.Tensor | None = None) -> tuple[torch.Tensor, int]:
        """Sample through ComfyUI; gives latents as the model sees them, and the number of denoiser calls.

        Args:
            sampler: a SAMPLER.
            sigmas: the grid.
            latent: the result of a run that ended at sigmas[0], to continue from; None to start from the noise.
        """
        import comfy.patcher_extension
        import comfy.sample

        calls = 0

        def count(executor, *args, **kwargs):
            nonlocal calls
            calls += 1
            return executor(*args, **kwargs)

        model = self.model.clone()
        model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "count", count)
        zeros = torch.zeros_like(self.noise)
        noise, latent = (self.noise.clone(), zeros) if latent is None else (zeros, self.model.model.process_latent_out(latent))
        inputs = sampler, sigmas.clone(), *self.conditioning, latent  # some of ComfyUI's samplers write into the sigmas
        samples = comfy.sample.sample_custom(model, noise, self.cfg, *inputs, disable_pbar=True, seed=self.seed)
        return self.model.model.process_latent_in(samples), calls

    def error(self, samples: torch.Tensor) -> torch.Tensor:
        """Relative distance to the converged solution, per item."""
        return relative_distance(samples, self.reference)


@dataclass
class MixtureCase(Case):
    """A mixture, in float64, as a model; flow models have shift 3."""

    mixture: GaussianMixture | None = None

    @cached_property
    def model(self):
        return host_samplers.pack("toy_model").mixture_model(self.mixture, self.kind, 3.0, self.shape[0])

    @cached_property
    def class_weights(self) -> torch.Tensor:
        """One-hot class of each item, (batch, classes)."""
        classes = torch.arange(self.batch) % self.mixture.classes
        return torch.nn.functional.one_hot(classes, self.mixture.classes).float()

    @property
    def conditioning(self):
        everything = torch.ones(1, 1, self.mixture.classes)
        return [[self.class_weights[:, None, :] if self.cfg != 1.0 else everything, {}]], [[everything, {}]]

    def denoise(self, x, sigma):
        """The guided denoiser in float64."""
        alpha = 1.0 - sigma if self.kind == "flow" else 1.0
        denoised = self.mixture.denoise(x, sigma, alpha)
        if self.cfg == 1.0:
            return denoised
        conditional = self.mixture.denoise(x, sigma, alpha, self.class_weights.to(x.dtype))
        return denoised + self.cfg * (conditional - denoised)

    @property
    def start(self) -> torch.Tensor:
        """The state at which ComfyUI starts."""
        sampling = self.model_sampling
        return sampling.noise_scaling(sampling.sigma_max, self.noise.clone(), torch.zeros_like(self.noise), True).double()

    @cached_property
    def reference(self) -> torch.Tensor:
        return self.converge(self.start, float(self.model_sampling.sigma_max), self.converging)

    def converge(self, start, sigma_max: float, steps: int) -> torch.Tensor:
        """RES-3S on `steps` steps of the lab's grid, down to where D no longer changes.

        The number of steps is fixed, because the lab's `converge` would not end at CFG 5, where some trajectories lie on the
        border between two images.
        """
        sigmas = reference_grid(steps, sigma_max, self.time.sigma(9.0), self.time).double()
        return run(single_step_plan(sigmas, res_3s(), self.time), self.denoise, start, sigmas, disable=True)


@dataclass
class NetworkCase(Case):
    """A network of training/, by name; its solution is computed through ComfyUI and thus includes its rounding of timesteps."""

    network: str = ""

    @cached_property
    def model(self):
        return networks.load(self.network)

    @property
    def conditioning(self):
        network = networks.NETWORKS[self.network]
        classes = torch.arange(self.batch) % network.no_class
        return networks.conditioning(network, classes), networks.conditioning(network, [network.no_class])

    @cached_property
    def reference(self) -> torch.Tensor:
        return self.converge(self.converging)

    def converge(self, steps: int) -> torch.Tensor:
        """RES-3S on `steps` steps of the lab's grid."""
        last = self.time.sigma(6.0) if self.kind == "flow" else float(self.model_sampling.sigma_min)
        sigmas = reference_grid(steps, float(self.model_sampling.sigma_max), last, self.time)
        return self.sample(host_samplers.sampler("exp_res_3s"), sigmas)[0].double()


def digits_case(kind: str, batch: int, seed: int = 0, cfg: float = 5.0, enlarged: int = 1) -> MixtureCase:
    """The digits, with repeated pixels for another resolution."""
    data = digits(dtype=torch.float64)
    means = data.means.reshape(-1, 8, 8).repeat_interleave(enlarged, 1).repeat_interleave(enlarged, 2).flatten(1)
    mixture = GaussianMixture(means, data.std, data.labels)
    return MixtureCase(f"digits {kind} CFG {cfg:g}", (1, 8 * enlarged, 8 * enlarged), kind, cfg, batch, seed, mixture=mixture)


def _label(name: str, cfg: float) -> str:
    return name if cfg == 1.0 else f"{name} CFG {cfg:g}"


def network_case(name: str, batch: int, seed: int = 0, cfg: float = 4.0, enlarged: int = 1, converging: int = 100) -> NetworkCase:
    """A network; another resolution is a larger latent than it was trained on."""
    network = networks.NETWORKS[name]
    channels, height, width = network.shape
    shape = (channels, height * enlarged, width * enlarged)
    return NetworkCase(_label(name, cfg), shape, network.kind, cfg, batch, seed, converging, name)


def standard_cases(batch: int = BATCH, converging: int = CONVERGING) -> list[Case]:
    """Ring and digits, with and without CFG 5, as eps models; digits as flow model with and without CFG 4."""
    data = {"ring": (ring(), (2, 1, 1)), "digits": (digits(dtype=torch.float64), (1, 8, 8))}
    settings = [("ring", "eps", 1.0), ("ring", "eps", 5.0), ("digits", "eps", 1.0), ("digits", "eps", 5.0)]
    settings += [("digits", "flow", 1.0), ("digits", "flow", 4.0)]
    cases = []
    for name, kind, cfg in settings:
        mixture, shape = data[name]
        label = _label(f"{name} flow" if kind == "flow" else name, cfg)
        cases.append(MixtureCase(label, shape, kind, cfg, batch, converging=converging, mixture=mixture))
    return cases


def network_cases(batch: int) -> list[NetworkCase]:
    """The networks trained on digits, with and without CFG 3."""
    names = [name for name, network in networks.NETWORKS.items() if network.data is networks.DIGITS and network.file.is_file()]
    return [network_case(name, batch, cfg=cfg, converging=CONVERGING) for name in names for cfg in (1.0, 3.0)]


def at_most(case: Case, sampler, grid, budget: int, latent: torch.Tensor | None = None) -> tuple[torch.Tensor, int] | None:
    """The run with the most steps whose counted model calls fit the budget; None if no run fits.

    `latent` is passed to `Case.sample`.
    """
    result = None

    def calls_of(steps):
        nonlocal result
        result = case.sample(sampler, grid(steps), latent)
        return result[1]

    return result if most_steps(calls_of, budget, least=2) else None
