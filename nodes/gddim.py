"""The node that gives a gDDIM SAMPLER."""

from comfy_api.v0_0_2 import io

from ..samplers.catalogue import METHODS
from ..samplers.gddim_rule import MAX_DEGREE, gddim_eta
from ..samplers.options import GDDIM_CORRECTOR, GDDIM_DEGREE
from .inputs import checked, dynamic_input, float_input, option_input, s_noise_input, schema
from .registry import as_sampler


class RESGDDIM(io.ComfyNode):
    """GDDIM for eps, v, EDM and flow models."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESGDDIM",
            display_name="gDDIM",
            category="RES/samplers",
            description="Generalised DDIM for eps, v, EDM and flow models: DDIM made more accurate by a polynomial through "
            "earlier noise predictions, or DDIM with noise. With the default values the node gives the samplers exp_gddim and "
            "exp_gddim_sde.",
            aliases="res, gddim, ddim, deis, ddpm, sampler, exp_gddim",
            inputs=[mode_input()],
            outputs=[io.Sampler.Output()],
        )

    @classmethod
    @checked
    def execute(cls, mode) -> io.NodeOutput:
        return io.NodeOutput(sampler_of(mode))


def sampler_of(mode: dict):
    """The SAMPLER that `mode_input` describes."""
    if mode["mode"] == "deterministic":
        return as_sampler(METHODS["exp_gddim"], degree=mode["degree"], corrector=mode["corrector"])
    return as_sampler(METHODS["exp_gddim_sde"], eta=gddim_eta(mode["lambda"]), s_noise=mode["s_noise"])


def mode_input(steadier: str = "none is more stable below 8 steps and at high CFG.") -> io.DynamicCombo.Input:
    """With or without noise, with the options of each; `steadier` is the end of the corrector's tooltip."""
    degree = io.Int.Input("degree", default=GDDIM_DEGREE.default, min=0, max=MAX_DEGREE, tooltip=GDDIM_DEGREE.text)
    amount = "Amount of added noise: 0 is DDIM, 1 is DDPM. It is the square root of eta in RES SDE, and not the eta of DDIM."
    return dynamic_input(
        "mode",
        {
            "deterministic": [degree, option_input(GDDIM_CORRECTOR, more=f" {steadier}")],
            "stochastic": [float_input("lambda", 1.0, 0.0, 3.0, 0.01, amount), s_noise_input()],
        },
        tooltip="deterministic: no added noise, any degree. stochastic: with added noise, degree 0.",
    )
