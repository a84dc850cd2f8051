"""MODELs whose noise is not the same in every direction: critically-damped Langevin and blurring diffusion.

These models are BaseModels of the host. Their sigma is the time t of the process, and their "denoised" output is eps. A model
of CLD takes and gives positions and velocities, which have twice the channels of a latent.
"""

import comfy.model_base
import torch

from ...embedded.cld_coordinates import LABEL_SCALE
from ...embedded.mixture import GaussianMixture
from ...embedded.process_mixture import ProcessMixture
from ...samplers.processes.coordinates import Coordinates
from ...samplers.processes.linear_sde import LinearSDE
from ..host import OtherProcess
from ..network_model import Network, as_model, model_config

GDDIM = "comfyui_res_gddim"  # in transformer_options: says that the sampler expects eps from the model
_TABLE = 1000


class ProcessSampling(torch.nn.Module, OtherProcess):
    """The host's model_sampling for a linear diffusion whose eps has the parameterisation `kind`, "R" or "L".

    The shape is (channels, height, width) of the latents that the model is made for, with None for a length that is free. A
    `Blurring` must have the size of image in it.
    """

    def __init__(self, sde: LinearSDE, kind: str, shape: tuple[int | None, ...]):
        super().__init__()
        self.sde, self.kind, self.shape = sde, kind, shape
        # uniform in sqrt(t), so that schedulers that select from this table give the paper's grid
        root = torch.linspace(sde.t_min**0.5, sde.t_max**0.5, _TABLE, dtype=torch.float64)
        self.register_buffer("sigmas", root.square().float())

    @property
    def sigma_min(self):
        return self.sigmas[0]

    @property
    def sigma_max(self):
        return self.sigmas[-1]

    def timestep(self, sigma):
        return sigma * LABEL_SCALE

    def sigma(self, timestep):
        return timestep / LABEL_SCALE

    def percent_to_sigma(self, percent):
        return self.sde.t_max * min(max(1.0 - percent, 0.0), 1.0)

    def calculate_input(self, sigma, noise):
        return noise

    def calculate_denoised(self, sigma, model_output, model_input):
        return model_output

    def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
        """The data part of the state at t = sigma; the sampler adds the rest."""
        self.check_shape(latent_image.shape)
        t = min(float(sigma), self.sde.t_max)
        return Coordinates(self.sde, latent_image).noised(t, latent_image, noise)

    def inverse_noise_scaling(self, sigma, latent):
        """The latent from which `noise_scaling` without noise makes this one."""
        t = min(float(sigma), self.sde.t_max)
        return latent if t == 0.0 else Coordinates(self.sde, latent).unscaled(t, latent)

    def check_shape(self, shape: torch.Size) -> None:
        """Raise a ValueError for latents that the model is not made for."""
        if len(shape) != 1 + len(self.shape) or any(w is not None and w != n for w, n in zip(self.shape, shape[1:])):
            sizes = " x ".join("any" if w is None else str(w) for w in self.shape)
            raise ValueError(
                f"latent_image has items of shape {tuple(shape[1:])}, but this {self.sde.name} model is made for {sizes} "
                "(channels x height x width). For the digits, set data of Toy Latent to digits."
            )

    def sample(self, name, model, x, sigmas, extra_args, callback, disable, **options):
        from ...samplers.processes.process_sampler import PLANNERS  # noqa: PLC0415 (most users never sample a process)
        from .process_sampling import sample_process  # noqa: PLC0415

        if name not in PLANNERS:
            raise ValueError(self.no_sigma())
        # the mark GDDIM, by which the model recognises a sampler that expects eps
        model_options = (extra_args or {}).get("model_options", {})
        transformer_options = {**model_options.get("transformer_options", {}), GDDIM: True}
        extra_args = {**(extra_args or {}), "model_options": {**model_options, "transformer_options": transformer_options}}
        return sample_process(self, PLANNERS[name], model, x, sigmas, extra_args, callback, disable, **options)

    def no_sigma(self):
        return (
            f"model is a {self.sde.name} model: its noise is not the same in every direction, so it has no sigma. Use gDDIM "
            "Times as schedule, and gDDIM Sample or, by name, exp_gddim, exp_gddim_sde, exp_res_2m, exp_res_2s and exp_res_3s, "
            "or RES Multistep in lambda to sample."
        )


class ProcessMixtureNet(torch.nn.Module):
    """The exact eps of a mixture, used as a network."""

    def __init__(self, sde: LinearSDE, mixture: GaussianMixture, kind: str, shape: tuple[int, int, int]):
        super().__init__()
        coordinates = Coordinates(sde, torch.zeros(1, *shape, dtype=torch.float64))
        means = coordinates.to_state(mixture.means.double().reshape(-1, *shape)).flatten(1)
        self.sde, self.kind, self.shape, self.std, self.classes = sde, kind, shape, mixture.std, mixture.classes
        self.register_buffer("means", means.float())
        self.register_buffer("labels", mixture.labels)

    def forward(self, x, timesteps, context):
        """Eps for states x, (batch, channels, height, width), at times timesteps / 999."""
        channels, *size = self.shape
        if tuple(x.shape[1:]) != (channels * self.sde.size, *size):
            raise ValueError(
                f"the model is asked for a piece of shape {tuple(x.shape[1:])} of the digits, whose states have "
                f"{(channels * self.sde.size, *size)}. Remove the area from the conditioning."
            )
        if context is not None and context.shape[-1] != self.classes:
            raise ValueError(
                f"conditioning has tokens of length {context.shape[-1]}, not a weight for each of the digits. "
                "Set data of Toy Condition to digits."
            )
        mixture = GaussianMixture(self.means.to(x.device), self.std, self.labels.to(x.device))
        exact, coordinates = ProcessMixture(self.sde, mixture), Coordinates(self.sde, x)
        weights = None if context is None else context.sum(dim=1)
        state, times = coordinates.to_state(x), timesteps.cpu().double().numpy() / LABEL_SCALE
        eps = torch.empty_like(state)
        for t in set(times.tolist()):  # one time, except in batches of several prompts
            here = torch.from_numpy(times == t).to(x.device)
            eps[here] = exact.eps(state[here], t, self.kind, None if weights is None else weights[here])
        return coordinates.to_seen(eps)


class _Wrapped(Network):
    """A network of eps, called like the host's own networks."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def _forward(self, x, timesteps, context, control, transformer_options, **kwargs):
        return self.network(x, timesteps, context)


class ProcessModel(comfy.model_base.BaseModel):
    """BaseModel around a network for a linear diffusion."""

    def __init__(self, config, sampling: ProcessSampling, network: torch.nn.Module):
        super().__init__(config, model_type=comfy.model_base.ModelType.EPS)
        self.model_sampling = self.process = sampling
        self.diffusion_model = _Wrapped(network)

    def _apply_model(self, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options={}, **kwargs):
        check_unpatched(self, self.model_sampling)
        if not transformer_options.get(GDDIM):  # the sampler would take eps for a denoised output and t for a sigma
            raise ValueError(
                f"model is a {self.process.sde.name} model, which this sampler does not support: its noise is not the same in "
                "every direction. Use exp_gddim, exp_gddim_sde or gDDIM Sample."
            )
        return super()._apply_model(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)


def check_unpatched(model, sampling) -> None:
    """Raise a ValueError for a ProcessModel whose model_sampling a patch has replaced."""
    if isinstance(model, ProcessModel) and not isinstance(sampling, ProcessSampling):
        raise ValueError(
            f"model is a {model.process.sde.name} model, but a node has replaced its model_sampling by one without its "
            f"process ({type(sampling).__name__}). Remove that Model Sampling node."
        )


def process_model(sde: LinearSDE, kind: str, shape: tuple[int | None, ...], network: torch.nn.Module):
    """A MODEL of `network(x, timesteps, context) -> eps` in float32, with `sde.size` times the channels of `shape`."""
    return as_model(ProcessModel(model_config(shape[0]), ProcessSampling(sde, kind, shape), network))
