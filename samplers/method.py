"""A sampler as an entry of the catalogue, and the function that samples with it."""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from .brownian import BrownianNoise
from .cfg_pp import cfg_pp as with_cfg_pp
from .loop import run
from .noise import ItemNoise, run_keys
from .options import BROWNIAN, CFG_PP, EPS_SHARE, NOISE, TIME, Option
from .plan import Plan
from .signature import Sigmas
from .time_maps import FLOW, TimeMap

Planner = Callable[..., Plan]  # (sigmas, *, time, **options) -> Plan
Sample = Callable[..., torch.Tensor]  # with the arguments of k-diffusion's samplers, see `signature.py`, and the options


@dataclass(frozen=True)
class Method:
    """A sampler: its name, its planner and what a host must know about it."""

    name: str  # the registered name, or the name that the documentation uses
    summary: str  # one sentence on what the sampler is
    planner: Planner | None = None  # None for a sampler that is not a fixed plan
    options: tuple[Option, ...] = ()  # the keyword arguments of the function, to which `time` is added
    calls_per_step: int = 1  # the last step, to sigma = 0, is one call
    flow_time: TimeMap = FLOW  # the time map on flow models with the smaller measured error, or the only correct one for an SDE
    stochastic: bool = False  # whether noise is added during the run
    cfg_pp: bool = False  # whether the model must return (guided, unconditional)
    function: Callable[..., Any] | None = None  # the function, if there is no planner

    def plan(self, sigmas: Sigmas, **options: Any) -> Plan:
        """The plan on a grid, with the method's options that a plan depends on, and `time`; print it to see the method.

        Raises:
            ValueError: an option is out of its range, or the grid cannot be sampled on.
        """
        assert self.planner is not None
        for option in self.options:
            option.check(options.setdefault(option.name, option.default))
        options = {name: value for name, value in options.items() if name not in _IN_THE_RUN}
        cfg_pp = options.pop(CFG_PP.name, self.cfg_pp)
        if cfg_pp and EPS_SHARE in self.options:
            options[EPS_SHARE.name] = 0.0  # the form in eps takes earlier states, which guidance has moved
        plan = self.planner(sigmas, **options)
        return with_cfg_pp(plan, sigmas) if cfg_pp else plan

    @cached_property
    def sample(self) -> Sample:
        """The function that samples, with k-diffusion's signature and the method's options."""
        return self.function or _function(self)


_IN_THE_RUN = ("noise_sampler", "on_shares")  # options that no plan depends on
_HEADER = list(inspect.signature(run).parameters.values())[1:7]  # model to disable


def _function(method: Method) -> Sample:
    keywords = (*method.options, TIME)
    signature = inspect.Signature(
        [*_HEADER, *(inspect.Parameter(o.name, inspect.Parameter.KEYWORD_ONLY, default=o.default, annotation=o.annotation)
                     for o in keywords)],
        return_annotation=torch.Tensor,
    )  # fmt: skip

    def sample(*args: Any, **given: Any) -> torch.Tensor:
        call = signature.bind(*args, **given)
        call.apply_defaults()
        options = {option.name: call.arguments[option.name] for option in keywords}
        noise_sampler, on_shares = (options.get(name) for name in _IN_THE_RUN)
        model, x, sigmas, extra_args, callback, disable = (call.arguments[parameter.name] for parameter in _HEADER)
        plan = method.plan(sigmas, **options)
        if noise_sampler is None and plan.draws_noise:
            keys = run_keys(model, x, extra_args or {}, plan.stages[0].sigma)
            brownian = options.get(NOISE.name) == BROWNIAN
            noise_sampler = BrownianNoise(keys, x, options["time"], options["eta"]) if brownian else ItemNoise(keys, x)
        return run(plan, model, x, sigmas, extra_args, callback, disable, noise_sampler, on_shares)

    sample.__name__ = sample.__qualname__ = f"sample_{method.name}"
    sample.__doc__ = _docstring(method.summary, keywords)
    sample.__signature__ = signature  # type: ignore[attr-defined]
    return sample


def _docstring(summary: str, options: tuple[Option, ...]) -> str:
    lines = [f"{option.name}: {option.text}{option.range}" for option in options]
    arguments = [textwrap.fill(line, 120, initial_indent=" " * 4, subsequent_indent=" " * 8) for line in lines]
    return "\n".join([
        summary, "",
        "Args:", "    model, x, sigmas, extra_args, callback, disable: As in `samplers.loop.run`.", *arguments, "",
        "Returns:", "    The latent at the last sigma, shaped like x.", "",
        "Raises:", "    ValueError: An option is out of its range or the grid cannot be sampled on, before the first model call.",
    ])  # fmt: skip
