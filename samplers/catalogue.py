"""All samplers by name: METHODS.

Refined Exponential Solver, arXiv 2308.02157, its multistep methods with other variables of interpolation, gDDIM (arXiv
2206.05564), their forms for the reverse SDE and their forms with CFG++. They differ from DPM-Solver++ because they meet the
order condition psi_2 (and, for third order, the refined conditions) for every step size and not only in the limit.

The functions, the names that ComfyUI lists, and the choices of the nodes derive from these entries.
"""

import inspect
from dataclasses import replace
from functools import partial

from . import options as o
from .adaptive import sample_exp_res_adaptive
from .churn import NO_CHURN, Churn
from .gddim_rule import gddim_plan
from .interpolation import IN_LAMBDA, InAlpha
from .method import Method, Planner
from .multistep import choice_plan, kriging_rule, multistep_plan, res_rule, rule_plan, steady_sde_plan
from .plan import Noise, Plan
from .signature import Sigmas
from .single_step import single_step_plan
from .tableaus import res_2s, res_3s
from .time_maps import FLOW_LOG_SIGMA, VE, TimeMap

# The rules suit, in this order: most models; outputs that older outputs say little about; guidance, under which outputs change
# sharply; smooth models; rough models.
_EXP_RES = (1e-3, 4.0, 4), (1.0, 4.0, 4), (1e-2, 8.0, 4), (1e-5, 4.0, 4), (1e-4, 3.0, 2)
EXP_RES = tuple(kriging_rule(roughness, sharpness, o.EPS_SHARE.default, order) for roughness, sharpness, order in _EXP_RES)


def _multistep(
    sigmas: Sigmas, *, order: int, corrector: bool, interpolation: str, data_scale: float, power: float, eps_share: float,
    time: TimeMap = VE,
) -> Plan:  # fmt: skip
    alpha = interpolation == "alpha"
    by = InAlpha(data_scale, power) if alpha else IN_LAMBDA
    return multistep_plan(sigmas, order, time, interpolation=by, corrector=corrector, eps_share=eps_share if alpha else 0.0)


def _2s(sigmas: Sigmas, *, c2: float, time: TimeMap = VE, churn: Churn = NO_CHURN) -> Plan:
    return single_step_plan(sigmas, res_2s(c2), time, churn=churn)


def _3s(sigmas: Sigmas, *, c2: float, c3: float, time: TimeMap = VE, churn: Churn = NO_CHURN) -> Plan:
    return single_step_plan(sigmas, res_3s(c2, c3), time, churn=churn)


def _sde(name: str, summary: str, planner: Planner, calls_per_step: int = 1, cfg_pp: bool = False) -> Method:
    """The planner's method for the reverse SDE; the noise of a step's stages is one Brownian path."""

    def plan(sigmas: Sigmas, *, eta: float, s_noise: float, noise: str, time: TimeMap = VE) -> Plan:
        if 0.0 < eta < 1e-9:
            raise ValueError(f"eta must be 0, or large enough to matter, got {eta!r}. Set it to 0 for the deterministic sampler.")
        return planner(sigmas, time=time, noise=Noise(eta, s_noise, path=noise == o.BROWNIAN))

    options = (o.ETA, o.S_NOISE, o.NOISE, o.NOISE_SAMPLER, replace(o.CFG_PP, default=cfg_pp))
    return Method(name, summary, plan, options, calls_per_step, stochastic=True, cfg_pp=cfg_pp)


def _churned(
    sigmas: Sigmas, *, solver: str | Planner, s_churn: float, s_tmin: float, s_tmax: float, s_noise: float, sigma_max: float,
    time: TimeMap = VE,
) -> Plan:  # fmt: skip
    if isinstance(solver, str) and solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(map(repr, SOLVERS))}, or a planner, got {solver!r}.")
    planner = METHODS[solver].plan if isinstance(solver, str) else solver
    return planner(sigmas, time=time, churn=Churn(s_churn, s_tmin, s_tmax, s_noise, sigma_max))


# Kriging is not used here: with noise between the outputs its averages lag, and Gaussian data would get the wrong mean and
# variance.
_2MC_IN_ALPHA = partial(steady_sde_plan, rule=res_rule(2, InAlpha(o.DATA_SCALE.default, o.POWER.default), corrector=True))

METHODS = {
    method.name: method
    for method in (
        Method(
            "exp_res",
            "The recommended sampler: weights by kriging, a choice of five rules in the run, and the free corrector.",
            partial(choice_plan, rules=EXP_RES),
            (o.ON_SHARES,),
        ),
        Method(
            "exp_res_2m",
            "RES-2M: second order. On VE models it equals ComfyUI's `res_multistep`.",
            partial(multistep_plan, order=2),
        ),
        Method("exp_res_3m", "RES-3M: third order.", partial(multistep_plan, order=3)),
        Method(
            "exp_res_2mc",
            "RES-2M with the free corrector: every step is redone with the output at its end, at no extra call.",
            partial(multistep_plan, order=2, corrector=True),
        ),
        Method("exp_res_3mc", "RES-3M with the free corrector.", partial(multistep_plan, order=3, corrector=True)),
        Method(
            "exp_res_2s",
            "RES-2S: second order. It equals ComfyUI's `seeds_2` with phi_2, r = c2 and eta = 0.",
            _2s,
            (o.C2, o.CFG_PP),
            calls_per_step=2,
            flow_time=FLOW_LOG_SIGMA,
        ),
        Method(
            "exp_res_3s",
            "RES-3S: third order. At (1/3, 2/3) it equals ComfyUI's `seeds_3` with eta = 0.",
            _3s,
            (o.C2_OF_3S, o.C3, o.CFG_PP),
            calls_per_step=3,
            flow_time=FLOW_LOG_SIGMA,
        ),
        _sde("exp_res_sde", "The recommended stochastic sampler: order 2 in alpha with the free corrector.", _2MC_IN_ALPHA),
        _sde("exp_res_2m_sde", "RES-2M for the reverse SDE.", partial(multistep_plan, order=2)),
        _sde("exp_res_2s_sde", "RES-2S for the reverse SDE.", partial(single_step_plan, tableau=res_2s()), 2),
        _sde("exp_res_3s_sde", "RES-3S for the reverse SDE.", partial(single_step_plan, tableau=res_3s()), 3),
        Method(
            "exp_gddim",
            "Deterministic gDDIM: DDIM made more accurate by a polynomial through earlier values of eps.",
            gddim_plan,
            (o.GDDIM_DEGREE, o.GDDIM_CORRECTOR),
        ),
        _sde("exp_gddim_sde", "Stochastic gDDIM of degree 0, which is DDPM on every model.", partial(multistep_plan, order=1)),
        Method(
            "exp_res_cfg_pp",
            "The smoothest rule of exp_res, without its share of eps, with CFG++.",
            partial(rule_plan, rule=kriging_rule(1e-5)),
            cfg_pp=True,
        ),
        _sde("exp_res_sde_cfg_pp", "exp_res_sde with CFG++.", _2MC_IN_ALPHA, cfg_pp=True),
    )
}
_BY_NODE = {"exp_res_3m", "exp_res_2mc", "exp_res_3mc", "exp_res_2s_sde"}  # which RES Multistep and RES SDE give
SAMPLERS = {name: method for name, method in METHODS.items() if name not in _BY_NODE}
# Samplers that choose their own grid between the ends of the one given.
ADAPTIVE_SAMPLERS = {
    "exp_res_adaptive": Method(
        "exp_res_adaptive",
        "RES-3S with step sizes chosen by an error estimate.",
        calls_per_step=3,
        flow_time=FLOW_LOG_SIGMA,
        function=sample_exp_res_adaptive,
    )
}

RES_MULTISTEP = Method(
    "res_multistep",
    "RES multistep, order 1 to 4.",
    _multistep,
    (o.ORDER, o.FREE_CORRECTOR, o.INTERPOLATION, o.DATA_SCALE, o.POWER, o.EPS_SHARE, o.CFG_PP),
)
# The deterministic methods that churn takes, by name.
SOLVERS = [
    name
    for name, method in METHODS.items()
    if method.planner and "churn" in inspect.signature(method.planner).parameters and not method.cfg_pp
]
RES_CHURN = Method(
    "res_churn",
    "A RES solver under churn (EDM): every step within limits starts from a larger sigma, reached by adding noise.",
    _churned,
    (o.SOLVER, o.S_CHURN, o.S_TMIN, o.S_TMAX, o.S_NOISE, o.SIGMA_MAX, o.NOISE_SAMPLER),
    stochastic=True,
)
