"""Independent Gaussian numbers as a ComfyUI model: an exact denoiser for latents of any shape.

Every number of the latent is N(mean, STD^2), and a condition gives the mean. The denoiser is affine in x and in the
mean, so guidance, areas and masks only give another mean, and the probability-flow ODE has a closed-form solution.
"""

import pytest
import torch

from samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS

# CFG++ solves another process under guidance: tests/nodes/test_cfg_pp_in_the_host.py
PLAIN = {name: sampler for name, sampler in SAMPLERS.items() if not sampler.cfg_pp}
ALL = {**PLAIN, **ADAPTIVE_SAMPLERS}
STD = 0.5
FIRST_ORDER = "exp_gddim_sde"  # at 40 steps its samples have 0.92 of the data's spread, at 320 0.99
KINDS = ("eps", "flow")


def denoise(x, sigma, flow: bool, mean):
    """E[x0 | x] at the noise level sigma."""
    alpha = 1.0 - sigma if flow else 1.0
    return (alpha * STD**2 * x + sigma**2 * mean) / ((alpha * STD) ** 2 + sigma**2)


def transport(x, sigma, sigma_next, flow: bool, mean):
    """The solution of the ODE at sigma_next through x at sigma."""
    alpha, alpha_next = (1.0 - sigma, 1.0 - sigma_next) if flow else (1.0, 1.0)
    spread, spread_next = (((a * STD) ** 2 + s**2) ** 0.5 for a, s in ((alpha, sigma), (alpha_next, sigma_next)))
    return alpha_next * mean + (x - alpha * mean) * (spread_next / spread)


class GaussianNet(torch.nn.Module):
    """The denoiser instead of a network.

    The mean is the context's, plus the mean of a ControlNet's middle output. Models for inpainting have more channels than the
    latent: the first additional one is a mask, and the others are the known picture, which is valid where the mask is 0. `seen`
    keeps the inputs of every call.
    """

    dtype = torch.float32

    def __init__(self, flow: bool, channels: int):
        super().__init__()
        self.flow, self.channels, self.seen = flow, channels, []

    def forward(self, x, timesteps, context=None, control=None, transformer_options={}, **kwargs):  # noqa: B006
        sigma = transformer_options["sigmas"][0]
        mean = context.mean(dim=(1, 2)) + (0.0 if control is None else control["middle"][0].mean())
        window = getattr(transformer_options.get("context_window"), "index_list", None)
        self.seen.append({"sigma": float(sigma), "means": mean.tolist(), "window": window})
        parts = x if isinstance(x, list) else [x]
        outputs = [self._output(part, sigma, mean.reshape(-1, *[1] * (part.ndim - 1))) for part in parts]
        return outputs if isinstance(x, list) else outputs[0]

    def _output(self, x, sigma, mean):
        x, mask, picture = x[:, : self.channels], x[:, self.channels : self.channels + 1], x[:, self.channels + 1 :]
        x = x if self.flow else x * (1.0 + sigma**2) ** 0.5
        denoised = denoise(x, sigma, self.flow, mean)
        if picture.shape[1]:
            denoised = denoised * mask + picture * (1.0 - mask)
        return (x - denoised) / sigma


def gaussian_model(kind: str, channels: int = 2):
    """A MODEL of the host: BaseModel around a GaussianNet; flow has shift 3."""
    import comfy.conds
    import comfy.latent_formats
    import comfy.model_base
    import comfy.model_patcher
    import comfy.supported_models_base

    class Config(comfy.supported_models_base.BASE):
        unet_config = {"disable_unet_model_creation": True, "in_channels": channels}
        unet_extra_config = {}
        memory_usage_factor = 0.001

    class Model(comfy.model_base.BaseModel):
        def extra_conds(self, **kwargs):
            """The same as in ComfyUI's models for nested latents."""
            shapes = kwargs["latent_shapes"]
            nested = {"latent_shapes": comfy.conds.CONDConstant(shapes)} if len(shapes) > 1 else {}
            return super().extra_conds(**kwargs) | nested

    config = Config(Config.unet_config)
    config.latent_format = comfy.latent_formats.LatentFormat()
    config.latent_format.latent_channels = channels
    config.sampling_settings = {"shift": 3.0} if kind == "flow" else {}
    model = Model(config, {"eps": comfy.model_base.ModelType.EPS, "flow": comfy.model_base.ModelType.FLOW}[kind])
    model.diffusion_model = GaussianNet(kind == "flow", channels)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model.eval(), load_device=cpu, offload_device=cpu)


def condition(mean: float, **options):
    """CONDITIONING that gives the mean."""
    return [[torch.full((1, 1, 1), float(mean)), options]]


def schedule(model, steps: int = 40, scheduler: str = "logsnr_uniform"):
    import comfy.samplers

    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)


def steps_of(name: str, steps: int = 40) -> int:
    """The number of steps with which a sampler meets the tolerance that others meet with `steps`."""
    return 8 * steps if name == FIRST_ORDER else steps


def noise_like(shape, seed: int = 0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def solution(model, sigmas, noise, mean, latent=0.0, end=0.0, changes=()):
    """The ODE's solution at the sigma `end` from the noisy latent at which ComfyUI starts a run.

    `changes`: (sigma, mean) for every sigma below which the mean is another.
    """
    import comfy.samplers

    guider = comfy.samplers.CFGGuider(model)
    guider.inner_model = model.model
    full = comfy.samplers.Sampler().max_denoise(guider, sigmas)
    sampling, flow, sigma = model.get_model_object("model_sampling"), model.model.diffusion_model.flow, sigmas[0]
    x = sampling.noise_scaling(sigma, noise.clone(), latent + torch.zeros_like(noise), full)
    for following, next_mean in (*changes, (end, None)):
        x = transport(x, sigma, following, flow, mean)
        sigma, mean = following, next_mean
    return x


def sample(model, sampler, sigmas, noise, positive, negative=None, cfg=1.0, latent=None, seed=3, **options):
    """Latents by ComfyUI's sampling with a SAMPLER or its name; the seed is for the noise that a sampler adds."""
    import comfy.sample
    import comfy.samplers

    latent = torch.zeros_like(noise) if latent is None else latent
    sampler = comfy.samplers.sampler_object(sampler) if isinstance(sampler, str) else sampler
    arguments = model, noise.clone(), cfg, sampler, sigmas, positive, negative or positive, latent
    return comfy.sample.sample_custom(*arguments, disable_pbar=True, seed=seed, **options)


def assert_right(name: str, result, solution, mean):
    """A deterministic sampler gives the ODE's solution, and a stochastic one gives numbers with the data's mean and spread.

    The statistics need 8,000 numbers.
    """
    assert result.shape == solution.shape
    if ALL[name].stochastic:
        standard = (result - mean) / STD
        assert float(standard.mean()) == pytest.approx(0.0, abs=0.05), name
        assert float(standard.std()) == pytest.approx(1.0, abs=0.04), name
    else:
        # adaptive samplers keep their own tolerance; gDDIM cannot use eps at a flow model's sigma 1, where rho is infinite, and
        # takes two steps of DDIM there; samplers without a history end on the output at s = .02
        early = ("exp_gddim", "exp_res_2m", "exp_res_2s", "exp_res_3s")
        tolerance = 0.02 if name in ADAPTIVE_SAMPLERS else 8e-3 if name in early else 3e-3
        error = float((result - solution).norm() / solution.norm())
        assert error < tolerance, (name, error)
