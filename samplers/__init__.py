"""Exponential integrators for diffusion sampling: pure torch and numpy, usable without ComfyUI.

    from samplers import VE, SigmaRange, logsnr_grid, sample_exp_res

    sigmas = logsnr_grid(10, SigmaRange(0.03, 14.6), VE)
    samples = sample_exp_res(model, noise * sigmas[0], sigmas)

Every sampler has the arguments of k-diffusion's samplers (see `signature.py`), its own options (`help(sample_exp_res_2s)`), and
`time`, the time map of the model: VE for eps, v and EDM models, FLOW for rectified flow. METHODS and ADAPTIVE_SAMPLERS hold all
samplers by name. `print(METHODS["exp_res_2m"].plan(sigmas))` prints a method as numbers, its plan.
"""

from .adaptive import sample_exp_res_adaptive
from .catalogue import ADAPTIVE_SAMPLERS, METHODS, RES_CHURN, RES_MULTISTEP, SAMPLERS
from .churn import Churn
from .gddim_rule import gddim_plan
from .interpolation import IN_LAMBDA, InAlpha
from .kriging import Kriging
from .loop import run
from .method import Method
from .multistep import choice_plan, kriging_rule, multistep_plan, rule_plan
from .noise import default_noise_sampler
from .plan import Noise, Plan, Stage
from .rule import Rule
from .schedules import SigmaRange, logsnr_grid
from .single_step import single_step_plan
from .tableaus import res_2s, res_3s
from .time_maps import FLOW, FLOW_LOG_SIGMA, VE, TimeMap

sample_exp_res = METHODS["exp_res"].sample
sample_exp_res_2m = METHODS["exp_res_2m"].sample
sample_exp_res_3m = METHODS["exp_res_3m"].sample
sample_exp_res_2mc = METHODS["exp_res_2mc"].sample
sample_exp_res_3mc = METHODS["exp_res_3mc"].sample
sample_exp_res_2s = METHODS["exp_res_2s"].sample
sample_exp_res_3s = METHODS["exp_res_3s"].sample
sample_exp_gddim = METHODS["exp_gddim"].sample
sample_res_multistep = RES_MULTISTEP.sample
sample_res_churn = RES_CHURN.sample
