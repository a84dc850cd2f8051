"""Nodes of the sampler that chooses its own steps."""

import comfy.samplers
from comfy_api.v0_0_2 import io
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

from ..samplers.adaptive import ATOL, C2, C3, MAX_CALLS, RTOL, AdaptiveInfo
from ..samplers.catalogue import ADAPTIVE_SAMPLERS
from .inputs import checked, float_input
from .registry import for_host

_CALLS_A_STEP = "A step makes three model calls, and a repeated step makes two more."


def _tolerance_inputs() -> list:
    limits = 1e-5, 1.0, 0.001
    relative = (
        "Allowed error per step, relative to the latent. Smaller is more accurate; a tenth of the value takes about twice "
        "the model calls."
    )
    absolute = "Allowed error per step in addition to rtol, for latents with a standard deviation near 1."
    return [
        float_input("rtol", RTOL, *limits, relative),
        float_input("atol", ATOL, *limits, absolute, advanced=True),
        io.Int.Input(
            "max_calls",
            default=MAX_CALLS,
            min=4,
            max=10000,
            tooltip="Maximum number of model calls. If they are too few, the remaining steps are as short as the remaining "
            "calls allow, and the log says by how much the tolerance is exceeded.",
        ),
    ]


def _sampler(sample, **options):
    return comfy.samplers.KSAMPLER(sample, extra_options=options)


def _sample():
    return for_host(ADAPTIVE_SAMPLERS["exp_res_adaptive"])


class RESAdaptive(io.ComfyNode):
    """RES-3S with an adaptive step size."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RESAdaptive",
            display_name="RES Adaptive",
            category="RES/samplers",
            description="Deterministic RES-3S that chooses its own steps by an estimate of their error. It uses only the first "
            f"and last sigma of SIGMAS. {_CALLS_A_STEP} The log gives their total number. The default values are the sampler "
            "exp_res_adaptive.",
            search_aliases=["res", "adaptive", "tolerance", "dpm_adaptive", "exponential", "sampler"],
            inputs=_tolerance_inputs(),
            outputs=[io.Sampler.Output()],
        )

    @classmethod
    @checked
    def execute(cls, rtol, atol, max_calls) -> io.NodeOutput:
        """A SAMPLER with the given tolerances."""
        return io.NodeOutput(_sampler(_sample(), rtol=rtol, atol=atol, max_calls=max_calls))


class RESAdaptiveGrid(io.ComfyNode):
    """RES Adaptive as a sampling node, which tells the grid it chose."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RESAdaptiveGrid",
            display_name="RES Adaptive Grid",
            category="RES/samplers",
            description="Samples with RES Adaptive instead of SamplerCustomAdvanced and gives the steps it took as "
            f"SIGMAS for any sampler, seed and prompt. RES Single-step with c2 {C2:g} and c3 {C3:g} reproduces the latent. "
            + _CALLS_A_STEP,
            search_aliases=["res", "adaptive", "scheduler", "sigmas", "tolerance"],
            inputs=[
                io.Noise.Input("noise", tooltip="Same as in SamplerCustomAdvanced."),
                io.Guider.Input("guider", tooltip="Same as in SamplerCustomAdvanced."),
                io.Sigmas.Input(
                    "sigmas", tooltip="Only the first sigma, the last sigma above 0, and whether the list ends in 0 are used."
                ),
                io.Latent.Input(
                    "latent_image", tooltip="Same as in SamplerCustomAdvanced. One schedule is chosen for the whole batch."
                ),
                *_tolerance_inputs(),
            ],
            outputs=[
                io.Latent.Output(tooltip="The sampled latent."),
                io.Sigmas.Output(tooltip="The accepted steps, without the rejected ones."),
                io.Int.Output(display_name="calls", tooltip="Total number of model calls."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, noise, guider, sigmas, latent_image, rtol, atol, max_calls) -> io.NodeOutput:
        """(LATENT, SIGMAS of the steps taken, model calls)."""
        info = AdaptiveInfo(sigmas.clone(), 0, 0, 0.0)  # of the host's empty grids, on which it calls no sampler

        def sample(*args, **options):
            nonlocal info
            latent, info = _sample()(*args, **options)
            return latent

        sampler = _sampler(sample, rtol=rtol, atol=atol, max_calls=max_calls, return_info=True)
        latent = SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent_image).result[0]
        return io.NodeOutput(latent, info.sigmas, info.calls)
