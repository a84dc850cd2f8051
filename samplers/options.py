"""The options of samplers as data: a name, a default, limits and a sentence.

The signatures and docstrings of the functions, the checks of values, and the nodes' inputs and tooltips derive from these
options.
"""

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

from .gddim_rule import CORRECTOR, DEGREE, MAX_DEGREE
from .plan import MAX_STRENGTH
from .rule import CORRECTORS
from .tableaus import MIN_NODE
from .time_maps import VE

INTERPOLATIONS = ("lambda", "alpha")
BROWNIAN = "brownian"
NOISES = ("independent", BROWNIAN)


@dataclass(frozen=True)
class Option:
    """A keyword argument of a sampler, and what it does, in whole sentences."""

    name: str
    default: Any
    text: str
    low: float = -math.inf  # the limits of a number, both included
    high: float = math.inf
    choices: tuple[Any, ...] = ()  # the values that are allowed; () for a number or any object

    def check(self, value: Any) -> None:
        """Raise a ValueError that names the option when the value is not one of the choices or is outside the limits."""
        if self.choices and not any(type(value) is type(choice) and value == choice for choice in self.choices):
            raise ValueError(f"{self.name} must be one of {', '.join(map(repr, self.choices))}, got {value!r}.")
        if self.low > -math.inf and not (isinstance(value, Real) and self.low <= float(value) <= self.high):
            raise ValueError(f"{self.name} must be between {self.low:g} and {self.high:g}, got {value!r}.")

    @property
    def range(self) -> str:
        """The allowed values in words; "" if all values are allowed."""
        if self.choices:
            return f" One of {', '.join(map(repr, self.choices))}."
        return f" From {self.low:g} to {self.high:g}." if self.low > -math.inf else ""

    @property
    def annotation(self) -> Any:
        """The type for a signature."""
        return Any if self.default is None else type(self.default)


TIME = Option("time", VE, "The time map of the model: VE, FLOW or FLOW_LOG_SIGMA. CFG++ takes VE or FLOW.")
CFG_PP = Option("cfg_pp", False, "Sample with CFG++, for a model that returns (guided, unconditional).")
ON_SHARES = Option(
    "on_shares", None, "Called after every model call with the share of each rule in the step that follows, (batch, rules)."
)

_PLACE = (
    "Position of the {} call, as a fraction of the step in logSNR. The error of the default is within 10 % of the best value's "
    "over eps and flow models."
)
C2 = Option("c2", 0.5, _PLACE.format("second"), MIN_NODE, 1.0)
C3 = Option("c3", 2 / 3, _PLACE.format("third"), MIN_NODE, 1.0)
C2_OF_3S = replace(C2, default=1 / 3)

ORDER = Option("order", 2, "The number of denoised outputs that a step combines.", choices=(1, 2, 3, 4))
FREE_CORRECTOR = Option("corrector", False, "Redo every step with the output at its end as an additional node, at no extra call.")
INTERPOLATION = Option(
    "interpolation", "lambda", "The variable in which outputs are interpolated. 'lambda' is the paper's.", choices=INTERPOLATIONS
)
# The result hardly depends on the next two options near their defaults. A data_scale near the standard deviation of the data is
# unstable at few steps and high CFG.
DATA_SCALE = Option(
    "data_scale",
    6.0,
    "The sigma at which alpha bends. Near 1, the standard deviation of latents, the method follows smooth data closely; larger "
    "values are more stable at few steps and high CFG.",
    0.01,
    100.0,
)
POWER = Option(
    "power",
    1.5,
    "alpha = (1 + (sigma / data_scale)^power)^(-1 / power). 2 gives the alpha of variance-preserving models and 1 the alpha of "
    "flow models; a value in between has the least error on both.",
    1.0,
    4.0,
)
EPS_SHARE = Option(
    "eps_share",
    0.33,
    "Fraction of each step near the image that interpolates the noise (eps) instead of the denoised output. Above 0 the last "
    "step uses the noise almost entirely. 0.2 to 0.5 have similar errors, and 1 is unstable.",
    0.0,
    1.0,
)

ETA = Option(
    "eta",
    1.0,
    "Amount of noise that is exchanged. 0 is the deterministic sampler. 1 is the reverse SDE, which at first order is DDPM. "
    "Every value is correct in the limit of many steps; larger values need more steps. exp_res_sde exchanges less in long "
    "steps, unless the noise is brownian.",
    0.0,
    MAX_STRENGTH,
)
S_NOISE = Option(
    "s_noise",
    1.0,
    "Factor of the added noise. 1 is correct; larger values add detail and grain, smaller values smooth.",
    0.0,
    MAX_STRENGTH,
)
NOISE = Option(
    "noise",
    NOISES[0],
    "independent: new noise for every step. brownian: each item keeps one noise path per seed, so runs "
    "with more steps or another schedule converge to the same image; this is a little slower.",
    choices=NOISES,
)
NOISE_SAMPLER = Option(
    "noise_sampler", None, "noise_sampler(sigma, sigma_next) -> unit noise like x. None for noise that belongs to each item."
)

SOLVER = Option("solver", "exp_res", "The name of a deterministic sampler, or a planner that takes time and churn.")
S_CHURN = Option(
    "s_churn",
    0.0,
    "Total amount of noise that is added and removed again. 0 is the deterministic sampler. Before each step the "
    "noise level rises by the fraction s_churn / steps, at most 0.414.",
)
_COMPARED = " Compared with sigma, on flow models (Flux, SD3, Wan) with sigma / (1 - sigma)."
S_TMIN = Option("s_tmin", 0.0, "No noise is added below this noise level." + _COMPARED)
S_TMAX = Option("s_tmax", math.inf, "No noise is added above this noise level." + _COMPARED)
SIGMA_MAX = Option("sigma_max", math.inf, "The model's largest sigma, above which no step starts.")

GDDIM_DEGREE = Option(
    "degree",
    DEGREE,
    "Degree of the polynomial through the last degree + 1 eps values. 0 is DDIM without a corrector.",
    choices=tuple(range(MAX_DEGREE + 1)),
)
GDDIM_CORRECTOR = Option(
    "corrector",
    CORRECTOR,
    "PEC: repeat every step with the eps at its end, at no extra call. PECE: also call the model at the "
    "corrected point, which makes two calls per step, as in the paper.",
    choices=CORRECTORS,
)
