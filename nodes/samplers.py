"""Nodes that give a deterministic SAMPLER."""

from dataclasses import replace

from comfy_api.v0_0_2 import io

from ..samplers.catalogue import METHODS, RES_MULTISTEP
from ..samplers.options import CFG_PP, DATA_SCALE, EPS_SHARE, ORDER, POWER
from ..samplers.time_maps import FLOW
from .inputs import cfg_pp_input, checked, dynamic_input, option_input, schema
from .registry import as_sampler

_ORDERS = {str(order): order for order in ORDER.choices}
_SINGLE_STEP = {"2": METHODS["exp_res_2s"], "3": METHODS["exp_res_3s"]}  # by stages


def _sampler(method, cfg_pp, **options):
    """The SAMPLER of a method; with CFG++ a flow model is integrated in logSNR, because log sigma has no alpha."""
    if CFG_PP in method.options:
        options["cfg_pp"] = cfg_pp
    method = replace(method, cfg_pp=cfg_pp, flow_time=FLOW if cfg_pp else method.flow_time)
    return io.NodeOutput(as_sampler(method, **options))


class RESMultistep(io.ComfyNode):
    """RES-1M to RES-4M, with the free corrector and two variables of interpolation, or the choice in the run."""

    @classmethod
    def define_schema(cls):
        in_alpha = [option_input(option, advanced=True) for option in (DATA_SCALE, POWER, EPS_SHARE)]
        return schema(
            node_id="RESMultistep",
            display_name="RES Multistep",
            category="RES/samplers",
            description="Deterministic refined exponential multistep solver. It makes one model call per step: 20 steps are 20 "
            "calls. The default values give a fixed rule: order 4 in alpha, a third of each step near the image in eps, with the "
            "corrector. Order auto is the sampler exp_res, which weights several rules during the run. Interpolation lambda at "
            "order 2 without the corrector is RES-2M of the RES paper, the sampler exp_res_2m; at order 3 it is RES-3M.",
            aliases="res, res_2m, res_3m, exponential, sampler, exp_res, exp_res_2m, res4lyf, cfg++",
            inputs=[
                io.Combo.Input("order", options=["auto", *_ORDERS], default="4"),
                io.Boolean.Input("corrector", default=True),
                dynamic_input("interpolation", {"alpha": in_alpha, "lambda": []}),
                cfg_pp_input(" eps_share then counts as 0."),
            ],
            outputs=[io.Sampler.Output()],
            tooltips={
                "order": "How many of the last denoised outputs a step combines. 4 is for interpolation in alpha. In lambda, "
                "2 suits 8 steps and more, and 3 needs 20 steps or more, a smooth schedule and low CFG. auto is exp_res, "
                "which weights its rules during the run and ignores corrector and interpolation. Every order makes one model "
                "call per step.",
                "corrector": "Repeat every step once the output at its end is known. This costs no model call and nearly always "
                "reduces the error.",
                "interpolation": "The variable in which denoised outputs are interpolated. alpha: finite at both ends of a "
                "schedule, and stable at high order. lambda: half the logSNR, as in the RES paper.",
            },
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
        places = {
            stages: [option_input(option, 0.001, advanced=True) for option in method.options if option is not CFG_PP]
            for stages, method in _SINGLE_STEP.items()
        }
        return schema(
            node_id="RESSingleStep",
            display_name="RES Single-step",
            category="RES/samplers",
            description="Deterministic refined exponential single-step solver (RES-2S, RES-3S). It makes `stages` model calls "
            "per step, and one in the last step to sigma 0: 7 steps of RES-3S are 19 calls. Compare samplers at equal calls, not "
            "at equal steps. With the default values the node gives the samplers exp_res_2s and exp_res_3s.",
            aliases="res, res_2s, res_3s, exponential, sampler, exp_res_2s, exp_res_3s, res4lyf",
            inputs=[dynamic_input("stages", places), cfg_pp_input()],
            outputs=[io.Sampler.Output()],
            tooltips={"stages": "Model calls per step, which is also the order of accuracy: 2 is RES-2S, 3 is RES-3S."},
        )

    @classmethod
    @checked
    def execute(cls, stages, cfg_pp=False) -> io.NodeOutput:
        method, places = _SINGLE_STEP[stages["stages"]], {name: c for name, c in stages.items() if name != "stages"}
        method.plan([1.0, 0.5], **places)  # raises before anything is sampled
        return _sampler(method, cfg_pp, **places)
