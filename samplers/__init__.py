"""Exponential integrators for diffusion sampling: pure torch and numpy, usable with k-diffusion alone."""

from .plan import Plan, Stage, multistep_plan, single_step_plan
from .res import SAMPLERS
from .tableaus import res_2s, res_3s
from .time_maps import FLOW, VE, TimeMap

__all__ = [
    "FLOW",
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
