"""Nodes that give a SAMPLER that adds noise on the way."""

import comfy.samplers
from comfy_api.v0_0_2 import io

from ..samplers.churn import Churn
from ..samplers.res import METHODS, NOISES, Sampler
from ..samplers.stochastic import SOLVERS, sample_res_churn
from .host import model_sampling_of, sigma_range
from .inputs import cfg_pp_input, checked, number, s_noise_input
from .registry import for_host

_SDE = {"exp_res": "exp_res_sde", "2m": "exp_res_2m_sde", "2s": "exp_res_2s_sde", "3s": "exp_res_3s_sde"}
# Above every finite sigma / alpha of any model.
_NO_LIMIT = 100_000.0


def _limit_input(name, default, tooltip):
    tooltip += " Compared with sigma, on flow models (Flux, SD3, Wan) with sigma / (1 - sigma)."
    return number(name, default, 0.0, _NO_LIMIT, 0.01, tooltip, advanced=True)


class RESSDE(io.ComfyNode):
    """RES for the reverse SDE."""

    @classmethod
    def define_schema(cls):
        eta = (
            "How much noise is exchanged. 0: none, the deterministic sampler. 1: the reverse SDE, DDPM at first order. Any value "
            "is right in the limit of many steps; larger ones need more of them."
        )
        return io.Schema(
            node_id="RESSDE",
            display_name="RES SDE",
            category="RES/samplers",
            description="RES for the reverse SDE: it exchanges noise on the way, and is right on eps, v, EDM and flow models. An "
            "item's noise depends on the seed and that item alone, whatever batch it is in. At the defaults these are the "
            "samplers exp_res_sde, exp_res_2m_sde and exp_res_3s_sde.",
            search_aliases=[
                "res",
                "stochastic",
                "ancestral",
                "exponential",
                "sampler",
                "exp_res_sde",
                "res4lyf",
                "noise injection",
                "eta",
                "ancestral",
            ],
            inputs=[
                io.Combo.Input(
                    "method",
                    options=list(_SDE),
                    default=next(iter(_SDE)),
                    tooltip="exp_res measures best. It makes one model call a step, as 2m does, 2s two, 3s three; the last step "
                    "to sigma 0 is always one call.",
                ),
                number("eta", 1.0, 0.0, 10.0, 0.01, eta),
                s_noise_input(),
                io.Combo.Input(
                    "noise",
                    options=list(NOISES),
                    default=NOISES[0],
                    optional=True,  # prompts saved before it existed stay valid
                    tooltip="independent: new noise for every step. brownian: one path for every seed and item, which runs with "
                    "more steps or another schedule follow too, so that they approach one picture; a little slower.",
                    advanced=True,
                ),
                cfg_pp_input(),
            ],
            outputs=[io.Sampler.Output()],
        )

    @classmethod
    @checked
    def execute(cls, method, eta, s_noise, noise=NOISES[0], cfg_pp=False) -> io.NodeOutput:
        """A SAMPLER with the given noise."""
        sampler = for_host(METHODS[_SDE[method]]._replace(cfg_pp=cfg_pp))
        options = {"eta": eta, "s_noise": s_noise, "noise": noise, "cfg_pp": cfg_pp}
        return io.NodeOutput(comfy.samplers.KSAMPLER(sampler, extra_options=options))


class RESStochasticChurn(io.ComfyNode):
    """The deterministic RES samplers under EDM's churn."""

    @classmethod
    def define_schema(cls):
        s_churn = (
            "How much noise is added and removed again in all. 0: none, the deterministic sampler. A step's noise level rises by "
            "s_churn / steps, at most by 0.414. 6 is about as much as RES SDE at eta 1."
        )
        return io.Schema(
            node_id="RESStochasticChurn",
            display_name="RES Stochastic (churn)",
            category="RES/samplers",
            description="The RES paper's stochastic sampler: before a step noise is added, and a deterministic solver goes on "
            "from there (EDM's churn). Right on eps, v, EDM and flow models; it costs no model call. An item's noise depends on "
            "the seed and that item alone, whatever batch it is in.",
            search_aliases=["res", "s_churn", "stochastic", "ancestral", "exponential", "edm", "sampler"],
            inputs=[
                io.Combo.Input(
                    "solver",
                    options=list(SOLVERS),
                    default="exp_res",
                    tooltip="The deterministic sampler. 2s takes two calls a step, 3s three, the others one. exp_res is the one "
                    "to start with; 3m and 3mc overshoot under churn at few steps and high CFG.",
                ),
                number("s_churn", 5.0, 0.0, 10000.0, 0.1, s_churn),
                _limit_input("s_tmin", 0.0, "Below this noise level no noise is added."),
                _limit_input("s_tmax", _NO_LIMIT, "Above this noise level no noise is added."),
                s_noise_input(),
            ],
            outputs=[io.Sampler.Output()],
        )

    @classmethod
    @checked
    def execute(cls, solver, s_churn, s_tmin, s_tmax, s_noise) -> io.NodeOutput:
        """A SAMPLER with the given churn."""
        churn = {"s_churn": s_churn, "s_tmin": s_tmin, "s_tmax": s_tmax, "s_noise": s_noise}
        Churn(**churn)  # raises before anything is sampled
        sampler = for_host(Sampler(_within_model, METHODS[solver].flow_time, stochastic=True))
        return io.NodeOutput(comfy.samplers.KSAMPLER(sampler, extra_options={"solver": solver, **churn}))


def _within_model(model, x, sigmas, *args, **options):
    """`sample_res_churn` below the largest sigma of the host's model."""
    sigma_max = sigma_range(model_sampling_of(model)).sigma_max
    return sample_res_churn(model, x, sigmas, *args, sigma_max=sigma_max, **options)
