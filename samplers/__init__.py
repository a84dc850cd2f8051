"""Exponential integrators for diffusion sampling: pure torch and numpy, usable with only k-diffusion.

    from samplers import VE, SigmaRange, logsnr_grid, sample_exp_res

    sigmas = logsnr_grid(10, SigmaRange(0.03, 14.6), VE)
    samples = sample_exp_res(model, noise * sigmas[0], sigmas)

Every sampler takes what k-diffusion's take (see `signature.py`), and `time`, the time map of the model: VE for eps, v and EDM
models, FLOW for rectified flow. METHODS and ADAPTIVE_SAMPLERS have all of them by name, those with noise and with CFG++ too.
A plan is a method as numbers, ready for `run`; print one to see it.
"""

from .adaptive import ADAPTIVE_SAMPLERS, sample_exp_res_adaptive
from .churn import Churn
from .gddim_rule import gddim_plan, sample_exp_gddim
from .interpolation import IN_LAMBDA, InAlpha
from .kriging import Kriging
from .loop import run
from .multistep import choice_plan, kriging_rule, multistep_plan, rule_plan
from .noise import default_noise_sampler
from .plan import Noise, Plan, Stage
from .res import (
    METHODS,
    SAMPLERS,
    sample_exp_res,
    sample_exp_res_2m,
    sample_exp_res_2mc,
    sample_exp_res_2s,
    sample_exp_res_3m,
    sample_exp_res_3mc,
    sample_exp_res_3s,
    sample_res_multistep,
)
from .rule import Rule
from .schedules import SigmaRange, logsnr_grid
from .single_step import single_step_plan
from .stochastic import sample_res_churn
from .tableaus import res_2s, res_3s
from .time_maps import FLOW, FLOW_LOG_SIGMA, VE, TimeMap

__all__ = [
    "ADAPTIVE_SAMPLERS",
    "FLOW",
    "FLOW_LOG_SIGMA",
    "IN_LAMBDA",
    "METHODS",
    "SAMPLERS",
    "VE",
    "Churn",
    "InAlpha",
    "Kriging",
    "Noise",
    "Plan",
    "Rule",
    "SigmaRange",
    "Stage",
    "TimeMap",
    "choice_plan",
    "default_noise_sampler",
    "gddim_plan",
    "kriging_rule",
    "logsnr_grid",
    "multistep_plan",
    "res_2s",
    "res_3s",
    "rule_plan",
    "run",
    "sample_exp_gddim",
    "sample_exp_res",
    "sample_exp_res_2m",
    "sample_exp_res_2mc",
    "sample_exp_res_2s",
    "sample_exp_res_3m",
    "sample_exp_res_3mc",
    "sample_exp_res_3s",
    "sample_exp_res_adaptive",
    "sample_res_churn",
    "sample_res_multistep",
    "single_step_plan",
]
