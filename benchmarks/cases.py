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
from samplers.time_maps import FLOW, VE
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
    """

    name: str
    shape: tuple[int, int, int]
    kind: str
    cfg: float = 1.0
    batch: int = BATCH
    seed: int = 0
    converging: int = CONVERGING

    @property
    def model(self):
        """The MODEL (a ModelPatcher)."""
        raise NotImplementedError

    @property
    def conditioning(self) -> tuple[list, list]:
        """Positive and negative CONDITIONING."""
        raise NotImplementedError

    @property
    def reference(self) -> torch.Tensor:
        """The converged solution at sigma = 0, from the state at which ComfyUI starts."""
        raise NotImplementedError

    @property
    def model_sampling(self):
        return self.model.get_model_object("model_sampling")

    @cached_property
    def noise(self) -> torch.Tensor:
        return torch.randn(self.batch, *self.shape, generator=torch.Generator().manual_seed(self.seed))

    def sample(self, sampler, sigmas, latent: torch.Tensor | None = None, callback=None) -> tuple[torch.Tensor, int]:
        """Sample through ComfyUI; gives latents as the model sees them, and the number of denoiser calls.

        Args:
            sampler: a SAMPLER.
            sigmas: the grid.
            latent: the result of a run that ended at sigmas[0], to continue from; None to start from the noise.
            callback: passed to ComfyUI's sampling, `callback(step, denoised, x, steps)`.
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
        noise, latent = (
            (self.noise.clone(), torch.zeros_like(self.noise)) if latent is None
            else (torch.zeros_like(self.noise), self.model.model.process_latent_out(latent))
        )  # fmt: skip
        # clones, because some of ComfyUI's samplers write into the sigmas that they get
        options = {"callback": callback, "disable_pbar": True, "seed": self.seed}
        samples = comfy.sample.sample_custom(
            model, noise, self.cfg, sampler, sigmas.clone(), *self.conditioning, latent, **options
        )
        return self.model.model.process_latent_in(samples), calls

    def error(self, samples: torch.Tensor) -> torch.Tensor:
        """Relative distance to the converged solution, per item."""
        return relative_distance(samples, self.reference)


@dataclass
class MixtureCase(Case):
    """A mixture as a model; flow models have shift 3.

    Attributes:
        mixture: the data, in float64.
    """

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
        time = FLOW if self.kind == "flow" else VE
        sigmas = reference_grid(steps, sigma_max, time.sigma(9.0), time).double()
        return run(single_step_plan(sigmas, res_3s(), time), self.denoise, start, sigmas, disable=True)


@dataclass
class NetworkCase(Case):
    """A trained network; its solution is computed through ComfyUI and thus includes ComfyUI's rounding of timesteps.

    Attributes:
        network: key of training.networks.NETWORKS.
    """

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
        import comfy.samplers

        sampling = self.model_sampling
        time = FLOW if self.kind == "flow" else VE
        last = time.sigma(6.0) if self.kind == "flow" else float(sampling.sigma_min)
        sigmas = reference_grid(steps, float(sampling.sigma_max), last, time)
        return self.sample(comfy.samplers.ksampler("exp_res_3s"), sigmas)[0].double()


def standard_cases(batch: int = BATCH, seed: int = 0, converging: int = CONVERGING) -> list[Case]:
    """Ring and digits, with and without CFG 5, as eps models; digits as flow model with and without CFG 4."""
    data = {"ring": (ring(), (2, 1, 1)), "digits": (digits(dtype=torch.float64), (1, 8, 8))}
    settings = [("ring", "eps", 1.0), ("ring", "eps", 5.0), ("digits", "eps", 1.0), ("digits", "eps", 5.0)]
    settings += [("digits", "flow", 1.0), ("digits", "flow", 4.0)]
    cases = []
    for name, kind, cfg in settings:
        label = name + (" flow" if kind == "flow" else "") + (f" CFG {cfg:g}" if cfg != 1.0 else "")
        mixture, shape = data[name]
        cases.append(MixtureCase(label, shape, kind, cfg, batch, seed, converging, mixture))
    return cases


def network_cases(batch: int = BATCH, seed: int = 0, converging: int = CONVERGING) -> list[NetworkCase]:
    """The networks trained on digits, with and without CFG 3."""
    cases = []
    for name, network in networks.NETWORKS.items():
        if network.data is networks.DIGITS and network.file.is_file():
            for cfg in (1.0, 3.0):
                label = name + (f" CFG {cfg:g}" if cfg != 1.0 else "")
                cases.append(NetworkCase(label, network.shape, network.kind, cfg, batch, seed, converging, name))
    return cases


def grids(case: Case) -> dict:
    """name -> function from a step count to SIGMAS: the paper's three grids for eps models, common schedulers for flow."""
    import comfy.samplers

    def by_name(name):
        return lambda n: comfy.samplers.calculate_sigmas(case.model_sampling, name, n)

    if case.kind == "flow":
        return {name: by_name(name) for name in ("simple", "kl_optimal", "logsnr_uniform")}
    return {"karras": by_name("karras"), "logsnr_uniform": by_name("logsnr_uniform"), "uniform sigma": uniform_sigma(case)}


def uniform_sigma(case: Case):
    """The RES paper's suboptimal grid, as a function from a step count to SIGMAS."""
    low, high = float(case.model_sampling.sigma_min), float(case.model_sampling.sigma_max)
    return lambda n: torch.cat([torch.linspace(high, low, n), torch.zeros(1)])


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
