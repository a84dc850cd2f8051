"""What a calibration loses away from home, as `benchmarks/calibrated_elsewhere.py` measured it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """What a calibration was made for, or is used with; None where it is not known.

    Attributes:
        cfg: the guidance scale.
        shape: of a latent's item, (channels, ...).
        shift: of a flow model's schedule.
    """

    cfg: float | None = None
    shape: tuple[int, ...] | None = None
    shift: float | None = None

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> "Setting":
        """What a file says it was made for; a value that is not of its kind counts as not known."""
        cfg, shift = (_number(provenance.get(name)) for name in ("cfg", "shift"))
        shape = provenance.get("resolution")
        if not isinstance(shape, list) or len(shape) < 2 or not all(type(size) is int for size in shape):
            return cls(cfg, None, shift)
        return cls(cfg, tuple(shape[1:]), shift)


# The calibrated error over the analytic plan's, least and most of the measured models; 1 is no gain and no loss. Larger changes
# of CFG were not measured.
CFG = {-2: (0.02, 1.0), -1: (0.02, 1.0), 1: (0.02, 1.0), 2: (0.02, 1.0)}
RESOLUTION = (0.05, 1.82)
_MOST = 1e6  # that a stranger's file may say
_PAGE = "docs/calibration.md"


def warnings(made_for: Setting, used: Setting) -> list[str]:
    """A sentence for everything that differs; what one of the two does not know is not compared."""
    found = []
    if made_for.cfg is not None and used.cfg is not None and abs(used.cfg - made_for.cfg) > 1e-6:
        found.append(f"CFG is {used.cfg:g} and the file was made for {made_for.cfg:g}. {_of_cfg(used.cfg - made_for.cfg)}")
    if made_for.shape is not None and used.shape is not None and used.shape != made_for.shape:
        found.append(
            f"The latent is {_size(used.shape)} and the file was made for {_size(made_for.shape)}. {_measured(RESOLUTION)}"
        )
    if made_for.shift is not None and used.shift is not None and abs(used.shift - made_for.shift) > 1e-6:
        found.append(
            f"The model's shift is {used.shift:g} and the file was made for {made_for.shift:g}. Its SIGMAS keep the shift that "
            "they were made with; calibrate again for SIGMAS with another one."
        )
    return found


def _of_cfg(change: float) -> str:
    bound = math.copysign(math.ceil(abs(change) - 1e-6), change)
    if bound not in CFG:
        return f"A change of {change:+g} was not measured, so the analytic samplers may be better."
    return _measured(CFG[int(bound)])


def _measured(ratios: tuple[float, float]) -> str:
    low, high = ratios
    return f"In measured changes of this kind the error was {low:g} to {high:g} of the analytic plan's ({_PAGE})."


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= _MOST:
        return None
    return float(value)


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
