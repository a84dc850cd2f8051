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
            "How much noise is exchanged. 0 is the deterministic sampler. 1 is the reverse SDE, which at first order is "
            "DDPM. Every value is correct in the limit of many steps; larger values need more steps."
        )
        return io.Schema(
            node_id="RESSDE",
            display_name="RES SDE",
            category="RES/samplers",
            description="RES for the reverse SDE: it exchanges noise at every step and is correct on eps, v, EDM and flow "
            "models. Each item's noise depends only on the seed and the item, not on its batch. With the default values these "
            "are the samplers exp_res_sde, exp_res_2m_sde and exp_res_3s_sde.",
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
                    tooltip="exp_res measures best. exp_res and 2m make one model call per step, 2s makes two and 3s three; the"
                    " last step to sigma 0 is always one call.",
                ),
                number("eta", 1.0, 0.0, 10.0, 0.01, eta),
                s_noise_input(),
                io.Combo.Input(
                    "noise",
                    options=list(NOISES),
                    default=NOISES[0],
                    optional=True,  # prompts saved before it existed stay valid
                    tooltip="independent: new noise for every step. brownian: each item keeps one noise path per seed, so runs "
                    "with more steps or another schedule converge to the same image; this is a little slower.",
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
            "Total amount of noise that is added and removed again. 0 is the deterministic sampler. Before each step the "
            "noise level rises by the fraction s_churn / steps, at most 0.414. 6 is about as much as RES SDE at eta 1."
        )
        return io.Schema(
            node_id="RESStochasticChurn",
            display_name="RES Stochastic (churn)",
            category="RES/samplers",
            description="The stochastic sampler of the RES paper: noise is added before a step, and a deterministic solver "
            "continues from there (EDM's churn). It is correct on eps, v, EDM and flow models and costs no model call. Each "
            "item's noise depends only on the seed and the item, not on its batch.",
            search_aliases=["res", "s_churn", "stochastic", "ancestral", "exponential", "edm", "sampler"],
            inputs=[
                io.Combo.Input(
                    "solver",
                    options=list(SOLVERS),
                    default="exp_res",
                    tooltip="The deterministic sampler. 2s makes two calls per step, 3s makes three, and the others make one. "
                    "Start with exp_res; 3m and 3mc overshoot under churn at few steps and high CFG.",
                ),
                number("s_churn", 5.0, 0.0, 10000.0, 0.1, s_churn),
                _limit_input("s_tmin", 0.0, "No noise is added below this noise level."),
                _limit_input("s_tmax", _NO_LIMIT, "No noise is added above this noise level."),
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
