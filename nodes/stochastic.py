"""Nodes that give a SAMPLER that adds noise."""

from dataclasses import replace

from comfy_api.v0_0_2 import io

from ..samplers import options as o
from ..samplers.catalogue import METHODS, RES_CHURN, SOLVERS
from ..samplers.churn import Churn
from .host import model_sampling_of, sigma_range
from .inputs import cfg_pp_input, checked, choice_input, float_input, option_input, s_noise_input, schema
from .registry import as_sampler

# exp_res, 2m, 2s, 3s -> the method
_SDE = {
    name.removesuffix("_sde").removeprefix("exp_res_"): method
    for name, method in METHODS.items()
    if name.startswith("exp_res") and method.stochastic and not method.cfg_pp
}
# Larger than every finite sigma / alpha of a model.
_NO_LIMIT = 100_000.0


class RESSDE(io.ComfyNode):
    """RES for the reverse SDE."""

    @classmethod
    def define_schema(cls):
        return schema(
            node_id="RESSDE",
            display_name="RES SDE",
            category="RES/samplers",
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
            category="RES/samplers",
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
