"""Nodes that give a deterministic SAMPLER."""

from dataclasses import replace

import comfy.samplers
from comfy_api.v0_0_2 import io

from ..samplers.catalogue import METHODS, RES_MULTISTEP
from ..samplers.options import CFG_PP, DATA_SCALE, EPS_SHARE, ORDER, POWER
from ..samplers.time_maps import FLOW
from .inputs import cfg_pp_input, checked, option_input
from .registry import for_host

_ORDERS = {str(order): order for order in ORDER.choices}
_SINGLE_STEP = {"2": METHODS["exp_res_2s"], "3": METHODS["exp_res_3s"]}  # by stages


def _sampler(method, cfg_pp, **options):
    """The SAMPLER of a method; with CFG++ a flow model is integrated in logSNR, because log sigma has no alpha."""
    if CFG_PP in method.options:
        options["cfg_pp"] = cfg_pp
    method = replace(method, cfg_pp=cfg_pp, flow_time=FLOW if cfg_pp else method.flow_time)
    return io.NodeOutput(comfy.samplers.KSAMPLER(for_host(method), extra_options=options))


class RESMultistep(io.ComfyNode):
    """RES-1M to RES-4M, with the free corrector and two variables of interpolation, or the choice in the run."""

    @classmethod
    def define_schema(cls):
        in_alpha = [option_input(option, advanced=True) for option in (DATA_SCALE, POWER, EPS_SHARE)]
        return io.Schema(
            node_id="RESMultistep",
            display_name="RES Multistep",
            category="RES/samplers",
            description="Deterministic refined exponential multistep solver. It makes one model call per step: 20 steps are 20 "
            "calls. The default values give a fixed rule: order 4 in alpha, a third of each step near the image in eps, with the "
            "corrector. Order auto is the sampler exp_res, which weights several rules during the run. Interpolation lambda at "
            "order 2 without the corrector is RES-2M of the RES paper, the sampler exp_res_2m; at order 3 it is RES-3M.",
            search_aliases=["res", "res_2m", "res_3m", "exponential", "sampler", "exp_res", "exp_res_2m", "res4lyf", "cfg++"],
            inputs=[
                io.Combo.Input(
                    "order",
                    options=["auto", *_ORDERS],
                    default="4",
                    tooltip="How many of the last denoised outputs a step combines. 4 is for interpolation in alpha. In lambda, "
                    "2 suits 8 steps and more, and 3 needs 20 steps or more, a smooth schedule and low CFG. auto is exp_res, "
                    "which weights its rules during the run and ignores corrector and interpolation. Every order makes one model "
                    "call per step.",
                ),
                io.Boolean.Input(
                    "corrector",
                    default=True,
                    tooltip="Repeat every step once the output at its end is known. This costs no model call and nearly always "
                    "reduces the error.",
                ),
                io.DynamicCombo.Input(
                    "interpolation",
                    options=[
                        io.DynamicCombo.Option("alpha", in_alpha),
                        io.DynamicCombo.Option("lambda", []),
                    ],
                    tooltip="The variable in which denoised outputs are interpolated. alpha: finite at both ends of a "
                    "schedule, and stable at high order. lambda: half the logSNR, as in the RES paper.",
                ),
                cfg_pp_input(" eps_share then counts as 0."),
            ],
            outputs=[io.Sampler.Output()],
        )

    @classmethod
    @checked
    def execute(cls, order, corrector, interpolation, cfg_pp=False) -> io.NodeOutput:
        if order == "auto":
            return _sampler(METHODS["exp_res_cfg_pp" if cfg_pp else "exp_res"], cfg_pp)
        return _sampler(RES_MULTISTEP, cfg_pp, order=_ORDERS[order], corrector=corrector, **interpolation)


class RESSingleStep(io.ComfyNode):
    """RES-2S and RES-3S."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RESSingleStep",
            display_name="RES Single-step",
            category="RES/samplers",
            description="Deterministic refined exponential single-step solver (RES-2S, RES-3S). It makes `stages` model calls "
            "per step, and one in the last step to sigma 0: 7 steps of RES-3S are 19 calls. Compare samplers at equal calls, not "
            "at equal steps. With the default values the node gives the samplers exp_res_2s and exp_res_3s.",
            search_aliases=["res", "res_2s", "res_3s", "exponential", "sampler", "exp_res_2s", "exp_res_3s", "res4lyf"],
            inputs=[
                io.DynamicCombo.Input(
                    "stages",
                    options=[
                        io.DynamicCombo.Option(
                            stages, [option_input(o, 0.001, advanced=True) for o in method.options if o is not CFG_PP]
                        )
                        for stages, method in _SINGLE_STEP.items()
                    ],
                    tooltip="Model calls per step, which is also the order of accuracy: 2 is RES-2S, 3 is RES-3S.",
                ),
                cfg_pp_input(),
            ],
            outputs=[io.Sampler.Output()],
        )

    @classmethod
    @checked
    def execute(cls, stages, cfg_pp=False) -> io.NodeOutput:
        method, places = _SINGLE_STEP[stages["stages"]], {name: c for name, c in stages.items() if name != "stages"}
        method.plan([1.0, 0.5], **places)  # raises before anything is sampled
        return _sampler(method, cfg_pp, **places)
