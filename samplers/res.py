"""RES samplers with k-diffusion's signature, for any denoiser.

Refined Exponential Solver, arXiv 2308.02157. They differ from DPM-Solver++ in meeting the order condition
psi_2 (and, for third order, the refined ones) for every step size, not only in the limit.

All of them are deterministic, end a grid at sigma = 0 with one first-order call, and take `time`: the time
map of the model, `VE` (also right for flow models) or `FLOW`; see `time_maps.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

from .loop import run
from .plan import multistep_plan, single_step_plan
from .tableaus import RES_1, res_2s, res_3s
from .time_maps import FLOW, VE, TimeMap

# The single-step starts that keep a multistep method's asymptotic order.
_FULL_ORDER_START = {1: RES_1, 2: res_2s(), 3: res_3s()}
STARTS = ("low order", "single step")


def sample_res_multistep(
    model, x, sigmas, extra_args=None, callback=None, disable=None, *, order=2, start="low order", time: TimeMap = VE
):
    """RES-1M, -2M or -3M: one model call a step.

    Args:
        model, x, sigmas, extra_args, callback, disable: as in `loop.run`.
        order: 1, 2 or 3; how many denoised outputs a step combines.
        start: how the first order - 1 steps are taken. "low order": with what history there is, at one
            call each. "single step": by RES-2S or RES-3S at two or three calls each, which third order
            needs to show.
        time: the time map in which the denoised output is interpolated.

    Returns:
        The latent at the last sigma, shaped like x.

    Raises:
        ValueError: an option out of its range or a grid that cannot be sampled on, before the first call.
    """
    if order not in _FULL_ORDER_START:
        raise ValueError(f"order must be 1, 2 or 3, got {order!r}.")
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(map(repr, STARTS))}, got {start!r}.")
    first = _FULL_ORDER_START[order] if start == "single step" else RES_1
    return run(multistep_plan(sigmas, order, time, first), model, x, sigmas, extra_args, callback, disable)


def sample_exp_res_2m(model, x, sigmas, extra_args=None, callback=None, disable=None, *, time: TimeMap = VE):
    """RES-2M: second order, one call a step. On VE models equal to the host's `res_multistep`."""
    return sample_res_multistep(model, x, sigmas, extra_args, callback, disable, order=2, time=time)


def sample_exp_res_3m(model, x, sigmas, extra_args=None, callback=None, disable=None, *, time: TimeMap = VE):
    """RES-3M: third order, one call a step, low-order start."""
    return sample_res_multistep(model, x, sigmas, extra_args, callback, disable, order=3, time=time)


def sample_exp_res_2s(model, x, sigmas, extra_args=None, callback=None, disable=None, *, c2=0.5, time: TimeMap = VE):
    """RES-2S: second order, two calls a step. Equal to the host's `seeds_2` with phi_2, r = c2 and eta = 0.

    Raises:
        ValueError: c2 is not in (0, 1], or the grid cannot be sampled on, before the first call.
    """
    return run(single_step_plan(sigmas, res_2s(c2), time), model, x, sigmas, extra_args, callback, disable)


def sample_exp_res_3s(model, x, sigmas, extra_args=None, callback=None, disable=None, *, c2=1 / 3, c3=2 / 3, time: TimeMap = VE):
    """RES-3S: third order, three calls a step. At (1/3, 2/3) equal to the host's `seeds_3` with eta = 0.

    Raises:
        ValueError: c2 or c3 out of range or singular, or the grid cannot be sampled on, before the first call.
    """
    return run(single_step_plan(sigmas, res_3s(c2, c3), time), model, x, sigmas, extra_args, callback, disable)


class Sampler(NamedTuple):
    """A sampler as it is registered with the host.

    Attributes:
        sample: the function.
        flow_time: the time map it takes on flow models: the one that measured better.
    """

    sample: Callable
    flow_time: TimeMap


SAMPLERS = {
    "exp_res_2m": Sampler(sample_exp_res_2m, FLOW),
    "exp_res_3m": Sampler(sample_exp_res_3m, FLOW),
    "exp_res_2s": Sampler(sample_exp_res_2s, VE),
    "exp_res_3s": Sampler(sample_exp_res_3s, VE),
}
