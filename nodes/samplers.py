"""Nodes that give a SAMPLER, deterministic or stochastic."""

from dataclasses import replace

from comfy_api.v0_0_2 import io

from ..samplers import options as o
from ..samplers.catalogue import METHODS, RES_CHURN, RES_MULTISTEP, SOLVERS
from ..samplers.churn import Churn
from ..samplers.gddim_rule import MAX_DEGREE, gddim_eta
from ..samplers.time_maps import FLOW
from .host import model_sampling_of, sigma_range
from .inputs import cfg_pp_input, checked, choice_input, dynamic_input, float_input, option_input, s_noise_input, schema
from .registry import as_sampler

_CATEGORY = "RES/samplers"
_ORDERS = {str(order): order for order in o.ORDER.choices}
_SINGLE_STEP = {"2": METHODS["exp_res_2s"], "3": METHODS["exp_res_3s"]}  # by stages
# exp_res, 2m, 2s, 3s -> the method
_SDE = {
    name.removesuffix("_sde").removeprefix("exp_res_"): method
    for name, method in METHODS.items()
    if name.startswith("exp_res") and method.stochastic and not method.cfg_pp
}
# Larger than every finite sigma / alpha of a model.
_NO_LIMIT = 100_000.0


def _sampler(method, cfg_pp, **options):
    """The SAMPLER of a method; with CFG++ a flow model is integrated in logSNR, because log sigma has no alpha."""
    if o.CFG_PP in method.options:
        options["cfg_pp"] = cfg_pp
    method = replace(method, cfg_pp=cfg_pp, flow_time=FLOW if cfg_pp else method.flow_time)
    return io.NodeOutput(as_sampler(method, **options))


class RESMultistep(io.ComfyNode):
    """RES-1M to RES-4M, with the free corrector and two variables of interpolation, or the choice in the run."""

    @classmethod
    def define_schema(cls):
        in_alpha = [option_input(option, advanced=True) for option in (o.DATA_SCALE, o.POWER, o.EPS_SHARE)]
        return schema(
            node_id="RESMultistep",
            display_name="RES Multistep",
            category=_CATEGORY,
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
            stages: [option_input(option, 0.001, advanced=True) for option in method.options if option is not o.CFG_PP]
            for stages, method in _SINGLE_STEP.items()
        }
        return schema(
            node_id="RESSingleStep",
            display_name="RES Single-step",
            category=_CATEGORY,
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


class RESSDE(io.ComfyNode):
    """RES for the reverse SDE."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESSDE",
            display_name="RES SDE",
            category=_CATEGORY,
            description="RES for the reverse SDE: it exchanges noise at every step and is correct on eps, v, EDM and flow "
            "models. Each item's noise depends only on the seed and the item, not on its batch. With the default values the node "
            "gives the samplers exp_res_sde, exp_res_2m_sde and exp_res_3s_sde.",
            aliases="res, stochastic, ancestral, exponential, sampler, exp_res_sde, res4lyf, noise injection, eta",
            inputs=[
                choice_input("method", _SDE),
                option_input(o.ETA, high=10.0),
                s_noise_input(),
                option_input(o.NOISE, optional=True, advanced=True),  # optional: prompts saved before it existed stay valid
                cfg_pp_input(),
            ],
            outputs=[io.Sampler.Output()],
            tooltips={
                "method": "exp_res has the least error. exp_res and 2m make one model call per step, 2s makes two and 3s "
                "three; the last step to sigma 0 is always one call."
            },
        )

    @classmethod
    @checked
    def execute(cls, method, eta, s_noise, noise=o.NOISE.default, cfg_pp=False) -> io.NodeOutput:
        method = replace(_SDE[method], cfg_pp=cfg_pp)
        return io.NodeOutput(as_sampler(method, eta=eta, s_noise=s_noise, noise=noise, cfg_pp=cfg_pp))


class RESStochasticChurn(io.ComfyNode):
    """The deterministic RES samplers under EDM's churn."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESStochasticChurn",
            display_name="RES Stochastic (churn)",
            category=_CATEGORY,
            description="The stochastic sampler of the RES paper: noise is added before a step, and a deterministic solver "
            "continues from there (EDM's churn). It is correct on eps, v, EDM and flow models and costs no model call. Each "
            "item's noise depends only on the seed and the item, not on its batch.",
            aliases="res, s_churn, stochastic, ancestral, exponential, edm, sampler",
            inputs=[
                choice_input("solver", SOLVERS),
                float_input("s_churn", 5.0, 0.0, 10000.0, 0.1, o.S_CHURN.text + " 6 is about as much as RES SDE at eta 1."),
                float_input("s_tmin", 0.0, 0.0, _NO_LIMIT, 0.01, o.S_TMIN.text, advanced=True),
                float_input("s_tmax", _NO_LIMIT, 0.0, _NO_LIMIT, 0.01, o.S_TMAX.text, advanced=True),
                s_noise_input(),
            ],
            outputs=[io.Sampler.Output()],
            tooltips={
                "solver": "The deterministic sampler. exp_res_2s makes two calls per step, exp_res_3s makes three, and the "
                "others make one. Start with exp_res; exp_res_3m and exp_res_3mc overshoot under churn at few steps and high CFG."
            },
        )

    @classmethod
    @checked
    def execute(cls, solver, s_churn, s_tmin, s_tmax, s_noise) -> io.NodeOutput:
        churn = {"s_churn": s_churn, "s_tmin": s_tmin, "s_tmax": s_tmax, "s_noise": s_noise}
        Churn(**churn)  # raises before anything is sampled
        method = replace(RES_CHURN, function=_within_model, flow_time=METHODS[solver].flow_time)
        return io.NodeOutput(as_sampler(method, solver=solver, **churn))


def _within_model(model, x, sigmas, *args, **options):
    """`sample_res_churn` with the largest sigma of the host's model as a limit."""
    sigma_max = sigma_range(model_sampling_of(model)).sigma_max
    return RES_CHURN.sample(model, x, sigmas, *args, sigma_max=sigma_max, **options)


class RESGDDIM(io.ComfyNode):
    """GDDIM for eps, v, EDM and flow models."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESGDDIM",
            display_name="gDDIM",
            category=_CATEGORY,
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
    degree = io.Int.Input("degree", default=o.GDDIM_DEGREE.default, min=0, max=MAX_DEGREE, tooltip=o.GDDIM_DEGREE.text)
    amount = "Amount of added noise: 0 is DDIM, 1 is DDPM. It is the square root of eta in RES SDE, and not the eta of DDIM."
    return dynamic_input(
        "mode",
        {
            "deterministic": [degree, option_input(o.GDDIM_CORRECTOR, more=f" {steadier}")],
            "stochastic": [float_input("lambda", 1.0, 0.0, 3.0, 0.01, amount), s_noise_input()],
        },
        tooltip="deterministic: no added noise, any degree. stochastic: with added noise, degree 0.",
    )
