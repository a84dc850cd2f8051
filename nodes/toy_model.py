"""An exact mixture denoiser as an ordinary model of the host.

The host's BaseModel does the same as for a network: it scales the input, calls `diffusion_model` through the wrappers, and
turns its output into a denoised latent. Only the network is a formula, and it gets the exact sigma instead of one rounded to a
timestep.
"""

import comfy.model_base
import comfy.model_sampling
import torch

from ..embedded.mixture import GaussianMixture
from .network_model import Network, as_model, model_config

KINDS = {
    "eps": comfy.model_base.ModelType.EPS,
    "v": comfy.model_base.ModelType.V_PREDICTION,
    "edm": comfy.model_base.ModelType.EDM,
    "flow": comfy.model_base.ModelType.FLOW,
}
_TRUE_SIGMA = "comfyui_res_true_sigma"


class MixtureNet(Network):
    """The exact denoiser in the form of a network, whose output `calculate_denoised` turns into D."""

    def __init__(self, mixture: GaussianMixture):
        super().__init__()
        self.std, self.classes = mixture.std, mixture.classes
        self.register_buffer("means", mixture.means.float())
        self.register_buffer("labels", mixture.labels)

    def _forward(self, x, timesteps, context, control, transformer_options, **kwargs):
        """The network output of the model's kind for x after `calculate_input`."""
        sampling, sigma = transformer_options[_TRUE_SIGMA]
        if x[0].numel() != self.means.shape[1]:
            raise ValueError(
                f"latent_image has items of shape {tuple(x.shape[1:])}, but this model's have {self.means.shape[1]} numbers. "
                "Use Toy Latent with the data of Toy Model."
            )
        if context is not None and context.shape[-1] != self.classes:
            raise ValueError(
                f"conditioning has tokens of length {context.shape[-1]}, but this model has {self.classes} classes. "
                "Use Toy Condition with the data of Toy Model."
            )
        x = x / sampling.calculate_input(sigma, torch.ones_like(x))
        flow = isinstance(sampling, comfy.model_sampling.CONST)
        mixture = GaussianMixture(self.means.to(x.device), self.std, self.labels.to(x.device))
        denoised = mixture.denoise(
            x,
            sigma * getattr(sampling, "noise_scale", 1.0),
            alpha=1.0 - sigma if flow else 1.0,
            class_weights=None if context is None else context.sum(dim=1),
        )
        # calculate_denoised is affine in the network's output; solve it for that output
        at_zero = sampling.calculate_denoised(sigma, torch.zeros_like(x), x)
        slope = sampling.calculate_denoised(sigma, torch.ones_like(x), torch.zeros_like(x))
        return (denoised - at_zero) / slope


class MixtureModel(comfy.model_base.BaseModel):
    """BaseModel around a MixtureNet."""

    def __init__(self, config, model_type, net: MixtureNet):
        super().__init__(config, model_type=model_type)
        self.diffusion_model = net

    def _apply_model(self, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options={}, **kwargs):
        options = {**transformer_options, _TRUE_SIGMA: (self.model_sampling, t)}
        return super()._apply_model(x, t, c_concat, c_crossattn, control, options, **kwargs)


def mixture_model(mixture: GaussianMixture, kind: str, shift: float = 1.0, channels: int = 1):
    """A MODEL of one of KINDS whose denoiser is the mixture's, for latents with these channels; shift: of a flow model, > 0."""
    config = model_config(channels)
    config.sampling_settings = {"shift": shift} if kind == "flow" else {}
    return as_model(MixtureModel(config, KINDS[kind], MixtureNet(mixture)))
