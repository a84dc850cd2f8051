"""Exponential integrators for diffusion sampling: pure torch and numpy, usable with k-diffusion alone."""

from .churn import Churn
from .multistep import multistep_plan
from .plan import Plan, Stage
from .res import SAMPLERS
from .single_step import single_step_plan
from .stochastic import sample_res_churn
from .tableaus import res_2s, res_3s
from .time_maps import FLOW, FLOW_LOG_SIGMA, VE, TimeMap

__all__ = [
    "FLOW",
    "FLOW_LOG_SIGMA",
    "SAMPLERS",
    "VE",
    "Churn",
    "Plan",
    "Stage",
    "TimeMap",
    "multistep_plan",
    "res_2s",
    "res_3s",
    "sample_res_churn",
    "single_step_plan",
]
