"""Exponential integrators for diffusion sampling: pure torch and numpy, usable with k-diffusion alone."""

from .multistep import multistep_plan
from .plan import Plan, Stage
from .res import SAMPLERS
from .single_step import single_step_plan
from .tableaus import res_2s, res_3s
from .time_maps import FLOW, FLOW_LOG_SIGMA, VE, TimeMap

__all__ = [
    "FLOW",
    "FLOW_LOG_SIGMA",
    "SAMPLERS",
    "VE",
    "Plan",
    "Stage",
    "TimeMap",
    "multistep_plan",
    "res_2s",
    "res_3s",
    "single_step_plan",
]
