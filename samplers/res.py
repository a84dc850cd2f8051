"""RES samplers with k-diffusion's signature, for any denoiser.

Refined Exponential Solver, arXiv 2308.02157. They differ from DPM-Solver++ in meeting the order condition
psi_2 (and, for third order, the refined ones) for every step size, not only in the limit.

All of them end a grid at sigma = 0 with one call and take `time`: the time map of the model, `VE`, `FLOW` or
`FLOW_LOG_SIGMA`; see `time_maps.py`. Those named `_sde` add noise, the others are deterministic. Those named `_cfg_pp`, and
the others with `cfg_pp`, take a model that returns (guided, unconditional), see `cfg_pp.py`. METHODS has all of them by name,
SAMPLERS those that ComfyUI offers by name.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch

from .brownian import brownian_noise_sampler
from .cfg_pp import cfg_pp as with_cfg_pp
from .gddim_rule import sample_exp_gddim
from .interpolation import IN_LAMBDA, InAlpha
from .loop import run
from .multistep import choice_plan, kriging_rule, multistep_plan, rule_plan
from .noise import default_noise_sampler
from .plan import MAX_STRENGTH, Noise, Plan
from .signature import Callback, Denoiser, ExtraArgs, Model, NoiseSampler, OnShares, Sigmas
from .single_step import single_step_plan
from .tableaus import RES_1, res_2s, res_3s
from .time_maps import FLOW, FLOW_LOG_SIGMA, VE, TimeMap

# The single-step starts that keep a multistep method's asymptotic order.
_FULL_ORDER_START = {1: RES_1, 2: res_2s(), 3: res_3s()}
STARTS = ("low order", "single step")
INTERPOLATIONS = ("lambda", "alpha")
LAST_STEPS = ("denoised", "extrapolated")
NOISES = ("independent", "brownian")
MIN_DATA_SCALE, MAX_DATA_SCALE = 0.01, 100.0
MIN_POWER, MAX_POWER = 1.0, 4.0
# Defaults for interpolation in alpha: the result hardly depends on them near these values, while a scale near the data's own
# standard deviation is unsteady at few steps and high CFG.
DATA_SCALE, POWER = 6.0, 1.5
EPS_SHARE = 0.33
_LAST_STEP = InAlpha(1.5)

# Most models; little trust in older outputs; guidance, which turns outputs sharply; smooth models; rough ones.
_EXP_RES = (1e-3, 4.0, 4), (1.0, 4.0, 4), (1e-2, 8.0, 4), (1e-5, 4.0, 4), (1e-4, 3.0, 2)
EXP_RES = tuple(kriging_rule(roughness, sharpness, EPS_SHARE, order) for roughness, sharpness, order in _EXP_RES)

Planner = Callable[..., Plan]  # (sigmas, *, time, noise, churn) -> Plan
SOLVERS: dict[str, Planner] = {
    "exp_res": partial(choice_plan, rules=EXP_RES),
    "exp_res_2m": partial(multistep_plan, order=2),
    "exp_res_3m": partial(multistep_plan, order=3),
    "exp_res_2mc": partial(multistep_plan, order=2, corrector=True),
    "exp_res_3mc": partial(multistep_plan, order=3, corrector=True),
    "exp_res_2s": partial(single_step_plan, tableau=res_2s()),
    "exp_res_3s": partial(single_step_plan, tableau=res_3s()),
}


def sample_res_multistep(
    model: Denoiser,
    x: torch.Tensor,
    sigmas: Sigmas,
    extra_args: ExtraArgs = None,
    callback: Callback = None,
    disable: bool | None = None,
    *,
    order: int = 2,
    start: str = "low order",
    corrector: bool = False,
    interpolation: str = "lambda",
    data_scale: float = DATA_SCALE,
    power: float = POWER,
    eps_share: float = EPS_SHARE,
    last_step: str = "denoised",
    cfg_pp: bool = False,
    time: TimeMap = VE,
) -> torch.Tensor:
    """RES multistep, order 1 to 4: one model call per step.

    Args:
        model, x, sigmas, extra_args, callback, disable: as in `loop.run`.
        order: 1 to 4; how many denoised outputs a step combines.
        start: how the first order - 1 steps are taken. "low order": with what history there is, at one
            call each. "single step": by RES-2S or RES-3S at two or three calls each, which third order
            needs to show; for order 2 and 3.
        corrector: redo every step with the output at its end as an additional node, at no extra call.
        interpolation: "lambda" (the paper's) or "alpha", see `interpolation.py`.
        data_scale: sigma at which alpha turns, 0.01 to 100. The standard deviation of Gaussian data, with power 2, makes
            them exact; a larger one is steadier at few steps under guidance.
        power: of alpha, 1 to 4, see `interpolation.InAlpha`.
        eps_share: how much of a step near the image interpolates eps instead of the denoised output, 0 to 1; only in alpha.
        last_step: the step to sigma = 0 when interpolating in lambda. "denoised": the last output.
            "extrapolated": the last two outputs, extrapolated to sigma = 0 in alpha.
        cfg_pp: sample with CFG++, for a model that returns (guided, unconditional); eps then has no share.
        time: the time map of the model; with CFG++ VE or FLOW.

    Returns:
        The latent at the last sigma, shaped like x.

    Raises:
        ValueError: an option out of its range or a grid that cannot be sampled on, before the first call.
    """
    check_multistep_options(order, start, interpolation, data_scale, power, eps_share, last_step)
    plan = multistep_plan(
        sigmas,
        order,
        time,
        start=_FULL_ORDER_START[order] if start == "single step" else RES_1,
        interpolation=InAlpha(data_scale, power) if interpolation == "alpha" else IN_LAMBDA,
        corrector=corrector,
        eps_share=eps_share if interpolation == "alpha" and not cfg_pp else 0.0,
        last_step=_LAST_STEP if last_step == "extrapolated" else None,
    )
    return run(with_cfg_pp(plan, sigmas) if cfg_pp else plan, model, x, sigmas, extra_args, callback, disable)


def check_multistep_options(
    order: int,
    start: str = "low order",
    interpolation: str = "lambda",
    data_scale: float = DATA_SCALE,
    power: float = POWER,
    eps_share: float = EPS_SHARE,
    last_step: str = "denoised",
) -> None:
    """Raise a ValueError that names the first option out of its range."""
    if order not in (1, 2, 3, 4):
        raise ValueError(f"order must be 1, 2, 3 or 4, got {order!r}.")
    for name, value, choices in (
        ("start", start, STARTS),
        ("interpolation", interpolation, INTERPOLATIONS),
        ("last_step", last_step, LAST_STEPS),
    ):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")
    if start == "single step" and order not in _FULL_ORDER_START:
        raise ValueError(f"start 'single step' has methods up to order 3, got order {order}; use 'low order'.")
    for name, number, low, high in (
        ("data_scale", data_scale, MIN_DATA_SCALE, MAX_DATA_SCALE),
        ("power", power, MIN_POWER, MAX_POWER),
        ("eps_share", eps_share, 0.0, 1.0),
    ):
        if not low <= number <= high:
            raise ValueError(f"{name} must be between {low:g} and {high:g}, got {number!r}.")


def _ode_sampler(name: str, text: str, planner: Planner) -> Callable[..., torch.Tensor]:
    """A deterministic sampler without options of its own."""

    def sample(
        model: Model,
        x: torch.Tensor,
        sigmas: Sigmas,
        extra_args: ExtraArgs = None,
        callback: Callback = None,
        disable: bool | None = None,
        *,
        on_shares: OnShares = None,
        time: TimeMap = VE,
    ) -> torch.Tensor:
        return run(planner(sigmas, time=time), model, x, sigmas, extra_args, callback, disable, on_shares=on_shares)

    sample.__name__ = sample.__qualname__ = f"sample_{name}"
    sample.__doc__ = f"""{text}

    Args:
        model, x, sigmas, extra_args, callback, disable, on_shares: as in `loop.run`.
        time: the time map of the model; with CFG++ VE or FLOW.

    Returns:
        The latent at the last sigma, shaped like x.

    Raises:
        ValueError: the grid cannot be sampled on, before the first call; with CFG++ the model returns no pair.
    """
    return sample


def _with_cfg_pp(planner: Planner) -> Planner:
    return lambda sigmas, **options: with_cfg_pp(planner(sigmas, **options), sigmas)


sample_exp_res = _ode_sampler(
    "exp_res",
    """The recommended sampler: weights by kriging, a choice of five rules in the run, and the free corrector; one call per step.

    RES-2M fits a line through outputs; this estimates them from how outputs vary along a path (`kriging.py`), and gives each item
    the rules that predicted its last step best (`choice.py`).""",
    SOLVERS["exp_res"],
)
sample_exp_res_2m = _ode_sampler(
    "exp_res_2m",
    "RES-2M: second order, one call per step. On VE models equal to the host's `res_multistep`.",
    SOLVERS["exp_res_2m"],
)
sample_exp_res_3m = _ode_sampler("exp_res_3m", "RES-3M: third order, one call per step, low-order start.", SOLVERS["exp_res_3m"])
sample_exp_res_2mc = _ode_sampler(
    "exp_res_2mc",
    "RES-2M with the free corrector: every step is redone with the output at its end, at no extra call.",
    SOLVERS["exp_res_2mc"],
)
sample_exp_res_3mc = _ode_sampler("exp_res_3mc", "RES-3M with the free corrector, at no extra call.", SOLVERS["exp_res_3mc"])
_exp_res_cfg_pp = _ode_sampler(
    "exp_res_cfg_pp",
    "The smoothest rule of exp_res, without its share of eps, with CFG++.",
    _with_cfg_pp(partial(rule_plan, rule=kriging_rule(1e-5))),
)


def sample_exp_res_2s(
    model: Denoiser,
    x: torch.Tensor,
    sigmas: Sigmas,
    extra_args: ExtraArgs = None,
    callback: Callback = None,
    disable: bool | None = None,
    *,
    c2: float = 0.5,
    cfg_pp: bool = False,
    time: TimeMap = VE,
) -> torch.Tensor:
    """RES-2S: second order, two calls per step. Equal to the host's `seeds_2` with phi_2, r = c2 and eta = 0.

    Args:
        model, x, sigmas, extra_args, callback, disable: as in `loop.run`.
        c2: where in the step, in lambda, the second call lies, 0.01 to 1.
        cfg_pp: sample with CFG++, for a model that returns (guided, unconditional).
        time: the time map of the model; with CFG++ VE or FLOW.

    Raises:
        ValueError: c2 is not between 0.01 and 1, or the grid cannot be sampled on, before the first call.
    """
    plan = single_step_plan(sigmas, res_2s(c2), time)
    return run(with_cfg_pp(plan, sigmas) if cfg_pp else plan, model, x, sigmas, extra_args, callback, disable)


def sample_exp_res_3s(
    model: Denoiser,
    x: torch.Tensor,
    sigmas: Sigmas,
    extra_args: ExtraArgs = None,
    callback: Callback = None,
    disable: bool | None = None,
    *,
    c2: float = 1 / 3,
    c3: float = 2 / 3,
    cfg_pp: bool = False,
    time: TimeMap = VE,
) -> torch.Tensor:
    """RES-3S: third order, three calls per step. At (1/3, 2/3) equal to the host's `seeds_3` with eta = 0.

    Args:
        model, x, sigmas, extra_args, callback, disable: as in `loop.run`.
        c2, c3: where in the step, in lambda, the second and third call lie, 0.01 to 1; see `tableaus.res_3s`.
        cfg_pp: sample with CFG++, for a model that returns (guided, unconditional).
        time: the time map of the model; with CFG++ VE or FLOW.

    Raises:
        ValueError: c2 or c3 out of range or singular, or the grid cannot be sampled on, before the first call.
    """
    plan = single_step_plan(sigmas, res_3s(c2, c3), time)
    return run(with_cfg_pp(plan, sigmas) if cfg_pp else plan, model, x, sigmas, extra_args, callback, disable)


def _sde_sampler(name: str, method: str, planner: Planner, guided: bool = False) -> Callable[..., torch.Tensor]:
    """A stochastic sampler: the planner's method for the reverse SDE; `guided`: with CFG++ unless asked otherwise."""

    def sample(
        model: Model,
        x: torch.Tensor,
        sigmas: Sigmas,
        extra_args: ExtraArgs = None,
        callback: Callback = None,
        disable: bool | None = None,
        *,
        eta: float = 1.0,
        s_noise: float = 1.0,
        noise: str = "independent",
        noise_sampler: NoiseSampler | None = None,
        cfg_pp: bool = guided,
        time: TimeMap = VE,
    ) -> torch.Tensor:
        if noise not in NOISES:
            raise ValueError(f"noise must be one of {', '.join(map(repr, NOISES))}, got {noise!r}.")
        plan = planner(sigmas, time=time, noise=_noise(eta, s_noise))
        plan = with_cfg_pp(plan, sigmas) if cfg_pp else plan
        if noise_sampler is None and plan.draws_noise:
            run_of = model, x, extra_args or {}, plan.stages[0].sigma
            brownian = noise == "brownian"
            noise_sampler = brownian_noise_sampler(*run_of, time, eta) if brownian else default_noise_sampler(*run_of)
        return run(plan, model, x, sigmas, extra_args, callback, disable, noise_sampler)

    sample.__name__ = sample.__qualname__ = f"sample_{name}"
    sample.__doc__ = f"""{method} for the reverse SDE; the noise of a step's stages is one Brownian path.

    Args:
        model, x, sigmas, extra_args, callback, disable: as in `loop.run`.
        eta: 0 is the deterministic sampler in the same time map, 1 the reverse SDE; eta = lambda^2 of gDDIM.
        s_noise: factor of the noise; 1 is right.
        noise: "independent": new for every segment. "brownian": one path an item, the same at every number of steps.
        noise_sampler: `noise_sampler(sigma, sigma_next) -> unit noise like x`, instead of `noise`.
        cfg_pp: sample with CFG++, for a model that returns (guided, unconditional).
        time: the time map of the model, VE or FLOW; FLOW_LOG_SIGMA is right for eta = 0 only.

    Raises:
        ValueError: eta, s_noise or noise out of range, or the grid cannot be sampled on, before the first call.
    """
    return sample


def _noise(eta: float, s_noise: float) -> Noise:
    for name, value in (("eta", eta), ("s_noise", s_noise)):
        if not 0.0 <= value <= MAX_STRENGTH:
            raise ValueError(f"{name} must be between 0 and {MAX_STRENGTH:g}, got {value!r}.")
    if 0.0 < eta < 1e-9:
        raise ValueError(f"eta must be 0, or large enough to matter, got {eta!r}. Set it to 0 for the deterministic sampler.")
    return Noise(eta, s_noise)


# not by kriging: with noise between the outputs its averages lag, and the moments of Gaussian data then miss theirs
_2mc_in_alpha = partial(multistep_plan, order=2, interpolation=InAlpha(DATA_SCALE, POWER), corrector=True)
_sde = _sde_sampler("exp_res_sde", "The recommended stochastic sampler, order 2 in alpha with the free corrector,", _2mc_in_alpha)
_sde_cfg_pp = _sde_sampler("exp_res_sde_cfg_pp", "exp_res_sde with CFG++", _2mc_in_alpha, guided=True)
_sde_2m = _sde_sampler("exp_res_2m_sde", "RES-2M", SOLVERS["exp_res_2m"])
_sde_2s = _sde_sampler("exp_res_2s_sde", "RES-2S", SOLVERS["exp_res_2s"])
_sde_3s = _sde_sampler("exp_res_3s_sde", "RES-3S", SOLVERS["exp_res_3s"])
_gddim_sde = _sde_sampler("exp_gddim_sde", "gDDIM of degree 0", partial(multistep_plan, order=1))


class Sampler(NamedTuple):
    """A sampler and what a host must know of it.

    Attributes:
        sample: the function.
        flow_time: the time map it takes on flow models: the one that measured better, or the one right for an SDE.
        stochastic: it adds noise and takes eta, s_noise, noise and noise_sampler.
        cfg_pp: its model returns (guided, unconditional).
        stages: model calls of a step; the last step, to sigma 0, is one call.
    """

    sample: Callable[..., Any]
    flow_time: TimeMap
    stochastic: bool = False
    cfg_pp: bool = False
    stages: int = 1


METHODS = {
    "exp_res": Sampler(sample_exp_res, FLOW),
    "exp_res_2m": Sampler(sample_exp_res_2m, FLOW),
    "exp_res_3m": Sampler(sample_exp_res_3m, FLOW),
    "exp_res_2mc": Sampler(sample_exp_res_2mc, FLOW),
    "exp_res_3mc": Sampler(sample_exp_res_3mc, FLOW),
    "exp_res_2s": Sampler(sample_exp_res_2s, FLOW_LOG_SIGMA, stages=2),
    "exp_res_3s": Sampler(sample_exp_res_3s, FLOW_LOG_SIGMA, stages=3),
    "exp_res_sde": Sampler(_sde, FLOW, stochastic=True),
    "exp_res_2m_sde": Sampler(_sde_2m, FLOW, stochastic=True),
    "exp_res_2s_sde": Sampler(_sde_2s, FLOW, stochastic=True, stages=2),
    "exp_res_3s_sde": Sampler(_sde_3s, FLOW, stochastic=True, stages=3),
    "exp_gddim": Sampler(sample_exp_gddim, FLOW),
    "exp_gddim_sde": Sampler(_gddim_sde, FLOW, stochastic=True),
    "exp_res_cfg_pp": Sampler(_exp_res_cfg_pp, FLOW, cfg_pp=True),
    "exp_res_sde_cfg_pp": Sampler(_sde_cfg_pp, FLOW, stochastic=True, cfg_pp=True),
}
_BY_NODE = {"exp_res_3m", "exp_res_2mc", "exp_res_3mc", "exp_res_2s_sde"}  # which RES Multistep and RES SDE give
SAMPLERS = {name: sampler for name, sampler in METHODS.items() if name not in _BY_NODE}
