"""The node of the sampler that chooses its own steps."""

import comfy.samplers
from comfy_api.v0_0_2 import io
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

from ..samplers.adaptive import ATOL, C2, C3, MAX_CALLS, RTOL, AdaptiveInfo
from ..samplers.catalogue import ADAPTIVE_SAMPLERS
from .inputs import checked, float_input, schema
from .registry import for_host

_NOT_RUN = "Only SAMPLER is available until noise, guider, sigmas and latent_image of RES Adaptive are connected."


class RESAdaptive(io.ComfyNode):
    """RES-3S with an adaptive step size, as a SAMPLER and, with the inputs of a run, as a run that gives its grid."""

    @classmethod
    def define_schema(cls):
        limits = 1e-5, 1.0, 0.001
        same, to_run = "Same as in SamplerCustomAdvanced. ", "Connect it to get SIGMAS, LATENT and calls."
        return schema(
            node_id="RESAdaptive",
            display_name="RES Adaptive",
            category="RES/samplers",
            description="Deterministic RES-3S that chooses its own steps by an estimate of their error. It uses only the first "
            "and last sigma of SIGMAS. A step makes three model calls, and a repeated step makes two more. The log gives their "
            "total number. With the default values the SAMPLER is exp_res_adaptive. With noise, guider, sigmas and latent_image "
            "connected, the node also samples, and gives the steps it took as SIGMAS for any sampler, seed and prompt; RES "
            f"Single-step with c2 {C2:g} and c3 {C3:g} reproduces the latent.",
            aliases="res, adaptive, adaptive grid, tolerance, dpm_adaptive, scheduler, sigmas",
            inputs=[
                float_input("rtol", RTOL, *limits),
                float_input("atol", ATOL, *limits, advanced=True),
                io.Int.Input("max_calls", default=MAX_CALLS, min=4, max=10000),
                io.Noise.Input("noise", optional=True),
                io.Guider.Input("guider", optional=True),
                io.Sigmas.Input("sigmas", optional=True),
                io.Latent.Input("latent_image", optional=True),
            ],
            outputs=[
                io.Sampler.Output(tooltip="The sampler with these tolerances."),
                io.Sigmas.Output(tooltip="The accepted steps, without the rejected ones."),
                io.Latent.Output(tooltip="The sampled latent."),
                io.Int.Output(display_name="calls", tooltip="Total number of model calls."),
            ],
            tooltips={
                "rtol": "Allowed error per step, relative to the latent. Smaller is more accurate; a tenth of the value takes "
                "about twice the model calls.",
                "atol": "Allowed error per step in addition to rtol, for latents with a standard deviation near 1.",
                "max_calls": "Maximum number of model calls. If they are too few, the remaining steps are as short as the "
                "remaining calls allow, and the log says by how much the tolerance is exceeded.",
                "noise": same + to_run,
                "guider": same + to_run,
                "sigmas": "Only the first sigma, the last sigma above 0, and whether the list ends in 0 are used. " + to_run,
                "latent_image": same + "One schedule is chosen for the whole batch.",
            },
        )

    @classmethod
    @checked
    def execute(cls, rtol, atol, max_calls, noise=None, guider=None, sigmas=None, latent_image=None) -> io.NodeOutput:
        options = {"rtol": rtol, "atol": atol, "max_calls": max_calls}
        sample = for_host(ADAPTIVE_SAMPLERS["exp_res_adaptive"])
        sampler = comfy.samplers.KSAMPLER(sample, extra_options=options)
        wires = {"noise": noise, "guider": guider, "sigmas": sigmas, "latent_image": latent_image}
        missing = [name for name, value in wires.items() if value is None]
        if len(missing) == len(wires):
            return io.NodeOutput(sampler, *[ExecutionBlocker(_NOT_RUN)] * 3)
        if missing:
            raise ValueError(f"{' and '.join(missing)} must be connected too to sample, or none of {', '.join(wires)}.")
        info = AdaptiveInfo(sigmas.clone(), 0, 0, 0.0)  # for ComfyUI's empty grids, on which it calls no sampler

        def sample_with_info(*args, **options):
            nonlocal info
            latent, info = sample(*args, **options, return_info=True)
            return latent

        reporting = comfy.samplers.KSAMPLER(sample_with_info, extra_options=options)
        latent = SamplerCustomAdvanced.execute(noise, guider, reporting, sigmas, latent_image).result[0]
        return io.NodeOutput(sampler, info.sigmas, latent, info.calls)
