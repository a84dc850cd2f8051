"""Nodes that give a deterministic SAMPLER."""

import comfy.samplers
from comfy_api.v0_0_2 import io

from ..samplers.res import (
    DATA_SCALE,
    EPS_SHARE,
    LAST_STEPS,
    MAX_DATA_SCALE,
    MAX_POWER,
    METHODS,
    MIN_DATA_SCALE,
    MIN_POWER,
    POWER,
    STARTS,
    Sampler,
    check_multistep_options,
    sample_res_multistep,
)
from ..samplers.tableaus import MIN_NODE, res_2s, res_3s
from ..samplers.time_maps import FLOW, FLOW_LOG_SIGMA
from .inputs import cfg_pp_input, checked, number
from .registry import for_host

_ORDERS = {"auto": None, "1": 1, "2": 2, "3": 3, "4": 4}
_FLOW_TIMES = {"logsnr": FLOW, "log_sigma": FLOW_LOG_SIGMA}
# stages -> registered name, tableau, its nodes
_SINGLE_STEP = {"2": ("exp_res_2s", res_2s, ("c2",)), "3": ("exp_res_3s", res_3s, ("c2", "c3"))}


def _flow_variable_input():
    return io.Combo.Input(
        "flow_variable",
        options=["auto", *_FLOW_TIMES],
        default="auto",
        tooltip="The variable in which the denoised output is interpolated on flow models (Flux, SD3, Wan). auto takes the "
        "variable that measured better: logsnr for multistep and log_sigma for single-step methods. Above sigma 0.9 steps are "
        "always taken in log sigma. Other models have only one variable.",
        advanced=True,
    )


def _last_step_input():
    return io.Combo.Input(
        "last_step",
        options=list(LAST_STEPS),
        default=LAST_STEPS[0],
        tooltip="The step to sigma 0. denoised: take the last denoised output. extrapolated: extrapolate the last two outputs "
        "to sigma 0, which is better if the last step is large, as in simple and kl_optimal.",
        advanced=True,
    )


def _alpha_inputs():
    scale = (
        "The sigma at which alpha bends. Near 1, the standard deviation of latents, the method follows smooth data "
        "closely; larger values are steadier at few steps and high CFG."
    )
    power = (
        "alpha = (1 + (sigma / data_scale)^power)^(-1 / power). 2 gives the alpha of variance-preserving models and 1 the alpha"
        " of flow models; a value in between measures best on both."
    )
    share = (
        "Fraction of each step near the image that interpolates the noise (eps) instead of the denoised output. Above 0 the "
        "last step uses the noise almost entirely. 0.2 to 0.5 measure alike, and 1 is unsteady."
    )
    return [
        number("data_scale", DATA_SCALE, MIN_DATA_SCALE, MAX_DATA_SCALE, 0.01, scale, advanced=True),
        number("power", POWER, MIN_POWER, MAX_POWER, 0.01, power, advanced=True),
        number("eps_share", EPS_SHARE, 0.0, 1.0, 0.01, share, advanced=True),
    ]


def _node_input(name, default, ordinal):
    tooltip = (
        f"Position of the {ordinal} call, as a fraction of the step in logSNR. The default measures within 10 % of the best "
        "value over eps and flow models."
    )
    return number(name, default, MIN_NODE, 1.0, 0.001, tooltip, advanced=True)


def _sampler(sampler, flow_variable, **options):
    automatic = FLOW if sampler.cfg_pp else sampler.flow_time
    flow_time = {"auto": automatic, **_FLOW_TIMES}[flow_variable]
    if sampler.cfg_pp and flow_time is not FLOW:
        raise ValueError(f"flow_variable must be auto or logsnr where cfg_pp is on, got {flow_variable}.")
    return io.NodeOutput(comfy.samplers.KSAMPLER(for_host(sampler._replace(flow_time=flow_time)), extra_options=options))


class RESMultistep(io.ComfyNode):
    """RES-1M to RES-4M, with the free corrector and two variables of interpolation, or the choice in the run."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RESMultistep",
            display_name="RES Multistep",
            category="RES/samplers",
            description="Deterministic refined exponential multistep solver. It makes one model call per step: 20 steps are 20 "
            "calls. The default values are a fixed rule: order 4 in alpha, a third of it in eps, with the corrector. Order "
            "auto is the sampler exp_res, which weighs several rules during the run. Interpolation lambda at order 2 without "
            "the corrector is RES-2M of the RES paper, the sampler exp_res_2m; at order 3 it is RES-3M.",
            search_aliases=["res", "res_2m", "res_3m", "exponential", "sampler", "exp_res", "exp_res_2m", "res4lyf", "cfg++"],
            inputs=[
                io.Combo.Input(
                    "order",
                    options=list(_ORDERS),
                    default="4",
                    tooltip="How many of the last denoised outputs a step combines. 4 is for interpolation in alpha. In lambda,"
                    " 2 suits 8 steps and more, and 3 needs 15 steps or more and a smooth schedule. auto is exp_res, which "
                    "weighs its rules during the run and ignores corrector, interpolation and start. Every order makes one "
                    "model call per step.",
                ),
                io.Boolean.Input(
                    "corrector",
                    default=True,
                    tooltip="Repeat every step once the output at its end is known. This costs no model call and nearly always "
                    "measures better.",
                ),
                io.DynamicCombo.Input(
                    "interpolation",
                    options=[
                        io.DynamicCombo.Option("alpha", _alpha_inputs()),
                        io.DynamicCombo.Option("lambda", [_last_step_input()]),
                    ],
                    tooltip="The variable in which denoised outputs are interpolated. alpha: finite at both ends of a "
                    "schedule, and stable at high order. lambda: half the logSNR, as in the RES paper.",
                ),
                io.Combo.Input(
                    "start",
                    options=list(STARTS),
                    default=STARTS[0],
                    tooltip="How to take the first steps, before there is enough history. low order: one call per step. single "
                    "step: RES-2S or RES-3S with two or three calls per step.",
                    advanced=True,
                ),
                _flow_variable_input(),
                cfg_pp_input(" eps_share then counts as 0."),
            ],
            outputs=[io.Sampler.Output()],
        )

    @classmethod
    @checked
    def execute(cls, order, corrector, interpolation, start, flow_variable, cfg_pp=False) -> io.NodeOutput:
        """A SAMPLER; `interpolation` holds the choice and its last_step, or data_scale, power and eps_share."""
        order = _ORDERS[order]
        if order is None:
            return _sampler(METHODS["exp_res_cfg_pp" if cfg_pp else "exp_res"], flow_variable)
        options = {"order": order, "start": start, **interpolation}
        check_multistep_options(**options)  # raises before anything is sampled
        sampler = Sampler(sample_res_multistep, FLOW, cfg_pp=cfg_pp)
        return _sampler(sampler, flow_variable, cfg_pp=cfg_pp, corrector=corrector, **options)


class RESSingleStep(io.ComfyNode):
    """RES-2S and RES-3S."""

    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="RESSingleStep",
            display_name="RES Single-step",
            category="RES/samplers",
            description="Deterministic refined exponential single-step solver (RES-2S, RES-3S). It makes `stages` model calls "
            "per step, and one in the last step to sigma 0: 7 steps of RES-3S are 19 calls. Compare samplers at equal calls, "
            "not at equal steps. With the default values these are the samplers exp_res_2s and exp_res_3s.",
            search_aliases=["res", "res_2s", "res_3s", "exponential", "sampler", "exp_res_2s", "exp_res_3s", "res4lyf"],
            inputs=[
                io.DynamicCombo.Input(
                    "stages",
                    options=[
                        io.DynamicCombo.Option("2", [_node_input("c2", 0.5, "second")]),
                        io.DynamicCombo.Option("3", [_node_input("c2", 1 / 3, "second"), _node_input("c3", 2 / 3, "third")]),
                    ],
                    tooltip="Model calls per step, which is also the order of accuracy: 2 is RES-2S, 3 is RES-3S.",
                ),
                _flow_variable_input(),
                cfg_pp_input(),
            ],
            outputs=[io.Sampler.Output()],
        )

    @classmethod
    @checked
    def execute(cls, stages, flow_variable, cfg_pp=False) -> io.NodeOutput:
        """A SAMPLER with the given nodes; `stages` holds the choice and its c2 and c3."""
        name, tableau, nodes = _SINGLE_STEP[stages["stages"]]
        options = {node: stages[node] for node in nodes}
        tableau(**options)  # raises before anything is sampled
        sampler = METHODS[name]._replace(cfg_pp=cfg_pp)
        return _sampler(sampler, flow_variable, cfg_pp=cfg_pp, **options)
