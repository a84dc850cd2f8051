"""A calibrated plan as a small JSON file: its grid, its numbers, their provenance, and the conditions of their use."""

import contextlib
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch

from . import disk
from .grid import grid_steps, read_sigmas
from .loop import run
from .plan import Plan, Stage, step_count
from .signature import Callback, Denoiser, ExtraArgs, Sigmas
from .time_maps import FLOW, VE, TimeMap

FORMAT, VERSION = "res-calibration", 1
MAX_BYTES = 1_000_000  # a thousand calls with a history of six take a third of this
MAX_CALLS = 1000
MAX_PROVENANCE = 20_000  # characters of its JSON; a twentieth is enough
_MAX_NUMBER = 1e6  # weights and scales are of order 1, rarely 100
_MAX_SIGMA = 3e38  # the largest float32
_SAME_SIGMA = 1e-5
# The numbers of a step: scale, ((call, weight of its output), ...), ((call, weight of its state), ...).
_Numbers = tuple[float, tuple[tuple[int, float], ...], tuple[tuple[int, float], ...]]
_TIMES = {VE.name: VE, FLOW.name: FLOW}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}")


@dataclass(frozen=True)
class CalibrationFile:
    """The content of a file."""

    time: str  # "ve" or "flow"
    sigmas: tuple[float, ...]  # the grid that it was made for
    stages: tuple[_Numbers, ...]  # the numbers of every step that moves
    provenance: dict[str, Any] = field(default_factory=dict)  # JSON values for people, and "model", the hash of the model

    @classmethod
    def of(cls, plan: Plan, sigmas: Sigmas, provenance: dict[str, Any]) -> "CalibrationFile":
        """The file of a plan made for a grid. Whether it fits the format is checked when it is written."""
        stages = tuple((stage.scale, stage.weights, stage.states) for stage in plan.stages)
        return cls(plan.time.name, tuple(read_sigmas(sigmas)), stages, provenance)

    @property
    def plan(self) -> Plan:
        """The plan for the loop."""
        time = _TIMES[self.time]
        stages = tuple(
            Stage(step.index, step.sigma, step.h(time), scale, outputs, True, states=states)
            for step, (scale, outputs, states) in zip(grid_steps(list(self.sigmas), time), self.stages)
        )
        base = self.provenance.get("base", "a plan")
        return Plan(f"{base}, calibrated", time, step_count(self.sigmas), stages)

    def to_json(self) -> str:
        """The file's text."""
        stages = [{"scale": scale, "outputs": outputs, "states": states} for scale, outputs, states in self.stages]
        data = {"format": FORMAT, "version": VERSION, "time": self.time, "sigmas": self.sigmas, "stages": stages}
        data |= {"provenance": self.provenance}
        return json.dumps({**data, "checksum": checksum(data)}, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "CalibrationFile":
        """The exact inverse of `to_json`; a ValueError that says why if the text is no calibration."""
        if len(text) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES} bytes.")
        try:
            data = json.loads(text, parse_constant=_refuse)
            parsed = _parsed(data)
            damaged = data.get("checksum") != checksum(data)
        except RecursionError:
            raise ValueError("it is nested too deeply.") from None
        except json.JSONDecodeError as error:
            raise ValueError(f"it is not JSON ({error}).") from None
        if damaged:
            raise ValueError(
                "it is damaged or was changed by hand: its content has another checksum. Copy it again, or calibrate."
            )
        return parsed

    def sample(
        self,
        model: Denoiser,
        x: torch.Tensor,
        sigmas: Sigmas,
        extra_args: ExtraArgs = None,
        callback: Callback = None,
        disable: bool | None = None,
        *,
        time: TimeMap = VE,
    ) -> torch.Tensor:
        """Sample by the plan, with k-diffusion's signature.

        Raises:
            ValueError: the model is of another kind, or the SIGMAS are not those of the file; before the first call.
        """
        if time.process != _TIMES[self.time].process:
            raise ValueError(
                f"the calibration was made for a {self.time} model and this is a {time.process} one. Calibrate on this model."
            )
        check_same_grid(read_sigmas(sigmas), self.sigmas)
        return run(self.plan, model, x, sigmas, extra_args, callback, disable)


def checksum(data: Mapping[str, Any]) -> str:
    """64 hexadecimal digits for a file's JSON values without the checksum."""
    values = {name: value for name, value in data.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def check_same_grid(sigmas: Sequence[float], made_for: Sequence[float]) -> None:
    """Raise a ValueError if two grids differ by more than rounding."""
    first = next((i for i, (a, b) in enumerate(zip(sigmas, made_for)) if not abs(a - b) <= _SAME_SIGMA * b), None)
    if first is not None:
        where = f"sigmas[{first}] is {sigmas[first]:g}, not {made_for[first]:g}"
    elif len(sigmas) != len(made_for):
        where = f"{len(sigmas)} sigmas for {len(made_for)}"
    else:
        return
    raise ValueError(
        f"sigmas are not those the sampler was calibrated on ({where}); its numbers mean nothing elsewhere. Connect the SIGMAS "
        "output of the node that gave the SAMPLER."
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}; every number must be finite.")


def _parsed(data: object) -> CalibrationFile:
    """The checked content of a file; what passes can be sampled with."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f'it is no calibration: "format" must be "{FORMAT}".')
    if data.get("version") != VERSION:
        raise ValueError(
            f'its "version" is {data.get("version")!r:.40} and this pack reads {VERSION}. Calibrate again, or update the pack.'
        )
    if data.get("time") not in list(_TIMES):  # a list, because JSON has values that cannot be looked up in a dictionary
        raise ValueError(f'"time" must be one of {", ".join(_TIMES)}, got {data.get("time")!r:.40}.')
    time = _TIMES[data["time"]]
    sigmas = tuple(_number(value, f"sigmas[{i}]", _MAX_SIGMA) for i, value in enumerate(_list(data, "sigmas", 2, MAX_CALLS + 1)))
    steps = grid_steps(list(sigmas), time, rising=False)
    stages = _list(data, "stages", 1, MAX_CALLS)
    if len(stages) != len(steps):
        raise ValueError(f'"stages" must have one entry for every step of its sigmas, {len(steps)}, got {len(stages)}.')
    stages = tuple(_stage(stage, call) for call, stage in enumerate(stages))
    return CalibrationFile(data["time"], sigmas, stages, _provenance(data.get("provenance")))


def _provenance(provenance: object) -> dict[str, Any]:
    """The checked provenance. It is shown as text, so it must be short, and writing it again must not change it."""
    if not isinstance(provenance, dict):
        raise ValueError('"provenance" is missing.')
    try:
        length = len(json.dumps(provenance, allow_nan=False))
    except RecursionError:
        raise ValueError('"provenance" is nested too deeply.') from None
    except ValueError:  # JSON has 1e999
        raise ValueError('"provenance" holds a number that is not finite.') from None
    if length > MAX_PROVENANCE:
        raise ValueError(f'"provenance" must have at most {MAX_PROVENANCE} characters, got {length}.')
    return provenance


def _stage(stage: object, call: int) -> _Numbers:
    where = f"stages[{call}]"
    if not isinstance(stage, dict):
        raise ValueError(f"{where} must be an object, got {stage!r:.40}.")
    scale = _number(stage.get("scale"), f"{where}.scale")
    return scale, _pairs(stage, "outputs", where, call + 1), _pairs(stage, "states", where, call)


def _pairs(stage: dict[str, Any], name: str, where: str, calls: int) -> tuple[tuple[int, float], ...]:
    """(call, weight) over earlier calls, each at most once."""
    pairs = _list(stage, name, 0, calls, f"{where}.")
    weights = {}
    for i, pair in enumerate(pairs):
        place = f"{where}.{name}[{i}]"
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(f"{place} must be a pair of call and weight, got {pair!r:.40}.")
        call = pair[0]
        if type(call) is not int or not 0 <= call < calls or call in weights:
            raise ValueError(f"{place} names call {call!r:.20}; it must be a call made by then, from 0, and each once.")
        weights[call] = _number(pair[1], place)
    return tuple(weights.items())


def _list(data: dict[str, Any], name: str, least: int, most: int, where: str = "") -> Sequence[Any]:
    values = data.get(name)
    if not isinstance(values, list | tuple) or not least <= len(values) <= most:
        size = len(values) if isinstance(values, list | tuple) else f"{values!r:.20}"
        raise ValueError(f'"{where}{name}" must be a list of {least} to {most} entries, got {size}.')
    return values


def _number(value: Any, name: str, most: float = _MAX_NUMBER) -> float:
    if type(value) not in (int, float) or not abs(value) <= most:
        raise ValueError(f"{name} must be a number between -{most:g} and {most:g}, got {value!r:.40}.")
    return float(value)


def check_name(name: str) -> str:
    """The name, if it is a legal file name on every system and does not lead to another folder; a ValueError otherwise."""
    if not _NAME.fullmatch(name) or disk.fault_of_name(name):
        raise ValueError(
            f"name must be 1 to 80 letters, digits, spaces, dots, dashes and underscores, begin with a letter or digit, not end "
            f"with a space or dot, and not be a device name, got {name!r:.100}."
        )
    return name


def read(path: str | os.PathLike[str]) -> CalibrationFile:
    """A file's calibration; a ValueError that names the file and the reason if it holds none."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
        return CalibrationFile.from_json(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{path.name}: it is not UTF-8 text.") from None
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def write(calibration: CalibrationFile, folder: str | os.PathLike[str], name: str) -> Path:
    """Write a new file of this name into a folder, numbered so that no file is overwritten.

    Raises:
        ValueError: the name is not legal, see `check_name`, or the calibration does not fit the format.
        OSError: it cannot be written.
    """
    check_name(name)
    text = calibration.to_json()
    CalibrationFile.from_json(text)  # checks that the file can be read again
    for count in range(1, 100000):
        path = Path(folder) / f"{name}_{count:05d}.json"
        if not os.path.lexists(path):
            with contextlib.suppress(FileExistsError):  # another process was faster
                disk.write_new(path, text.encode())
                return path
    raise OSError(f"{folder} holds 99999 calibrations named {name}. Choose another name.")


class Setting(NamedTuple):
    """What a calibration was made for, or is used with; None for what is not known."""

    cfg: float | None = None
    shape: tuple[int, ...] | None = None  # of an item of the latent, (channels, ...)
    shift: float | None = None  # of a flow model

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> "Setting":
        """The setting that a file was made for; a value of another type counts as not known."""
        cfg, shift = (number_or_none(provenance.get(name)) for name in ("cfg", "shift"))
        shape = provenance.get("resolution")
        if not isinstance(shape, list) or len(shape) < 2 or not all(type(size) is int for size in shape):
            return cls(cfg, None, shift)
        return cls(cfg, tuple(shape[1:]), shift)


# Smallest and largest ratio of the calibrated error to the analytic plan's error over the measured models; 1 is no gain. Larger
# changes of CFG were not measured.
CFG = {-2: (0.02, 1.0), -1: (0.02, 1.0), 1: (0.02, 1.0), 2: (0.02, 1.0)}
RESOLUTION = (0.05, 1.48)
_PAGE = "docs/calibration.md"


def warnings(made_for: Setting, used: Setting) -> list[str]:
    """A sentence for everything that differs; what is unknown in one of the two is not compared."""
    differences = []
    if made_for.cfg is not None and used.cfg is not None and abs(used.cfg - made_for.cfg) > 1e-6:
        differences.append(f"CFG is {used.cfg:g} and the file was made for {made_for.cfg:g}. {_by_cfg(used.cfg - made_for.cfg)}")
    if made_for.shape is not None and used.shape is not None and used.shape != made_for.shape:
        differences.append(
            f"The latent is {_size(used.shape)} and the file was made for {_size(made_for.shape)}. {_measured(RESOLUTION)}"
        )
    if made_for.shift is not None and used.shift is not None and abs(used.shift - made_for.shift) > 1e-6:
        differences.append(
            f"The model's shift is {used.shift:g} and the file was made for {made_for.shift:g}. The error is the same (1 times), "
            "because the file's SIGMAS keep their shift; for SIGMAS with another shift calibrate again."
        )
    return differences


def _by_cfg(change: float) -> str:
    bound = math.copysign(math.ceil(abs(change) - 1e-6), change)
    if bound not in CFG:
        return f"A change of {change:+g} was not measured, so the analytic samplers may be better."
    return _measured(CFG[int(bound)])


def _measured(ratios: tuple[float, float]) -> str:
    low, high = ratios
    return f"In measured changes of this kind the error was {low:g} to {high:g} times the analytic plan's ({_PAGE})."


def number_or_none(value: object) -> float | None:
    """The number in a file's value; None for a value of another type."""
    try:
        return _number(value, "")
    except ValueError:
        return None


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
