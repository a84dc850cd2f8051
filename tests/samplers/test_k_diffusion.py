"""The samplers run on crowsonkb's k-diffusion, without the host."""

import importlib.util
import sys
import types

import pytest
import torch
from exact import MIXTURE, calls_per_step, paired

from samplers.catalogue import METHODS


@pytest.fixture(scope="module")
def external():
    """k_diffusion.external, without the package's __init__ and the training code it imports."""
    spec = importlib.util.find_spec("k_diffusion")
    package = types.ModuleType("k_diffusion")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["k_diffusion"] = package
    import k_diffusion.external

    return k_diffusion.external


@pytest.mark.parametrize("name", METHODS)
def test_discrete_eps_denoiser(external, name):
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2  # Stable Diffusion's
    alphas_cumprod = (1.0 - betas).cumprod(0)

    class Eps(torch.nn.Module):
        """The exact eps at a timestep, from the scaled input, as a network would give it."""

        def forward(self, scaled, t):
            alpha = alphas_cumprod[t.long()].sqrt()[:, None]
            sigma = (1 - alpha**2).sqrt()
            denoised = MIXTURE.to(torch.float32).denoise(scaled, sigma[:, 0], alpha[:, 0])
            return (scaled - alpha * denoised) / sigma

    class Denoiser(external.DiscreteEpsDDPMDenoiser):
        def get_eps(self, *args, **kwargs):
            return self.inner_model(*args, **kwargs)

    denoiser = Denoiser(Eps(), alphas_cumprod, quantize=True)
    sigmas = external.sampling.get_sigmas_karras(60, denoiser.sigma_min, denoiser.sigma_max)
    x = torch.randn(1024, 2, generator=torch.Generator().manual_seed(0)) * sigmas[0]
    seen = []
    torch.manual_seed(0)  # seeds the noise of stochastic samplers, because this wrapper takes no seed
    model = paired(denoiser) if METHODS[name].cfg_pp else denoiser
    samples = METHODS[name].sample(model, x, sigmas, extra_args={}, callback=seen.append, disable=True)
    assert len(seen) == calls_per_step(name) * (len(sigmas) - 2) + 1
    # the ring's radius 1 and width 0.6: variance 1/2 + 0.36 in each coordinate
    assert samples.isfinite().all() and float(samples.var()) == pytest.approx(0.86, abs=0.1)
