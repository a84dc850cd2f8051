"""What to measure, as users write it: names and patterns of samplers and schedulers, and what is wired to the node."""

import difflib
import fnmatch
import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import comfy.samplers
import torch

import nodes

from ..samplers.grid import grid_steps, read_sigmas
from ..samplers.lab.measure import MAX_BUDGET, Entry, Schedule
from ..samplers.reshaping import resample
from ..samplers.time_maps import TimeMap

_CFG_PP = "_cfg_pp"
MAX_TEXT = 10_000  # characters
MAX_NAME = 200  # characters; a pattern can take the square of it
BY_HAND = "by hand"


class Preset(NamedTuple):
    """Values that a preset gives to the inputs of RES Lab: Measure.

    Attributes:
        budgets: the input of this name.
        tolerance: the input of this name.
        items: the least batch; a smaller latent is repeated.
    """

    budgets: str
    tolerance: float
    items: int


PRESETS = {
    "quick look": Preset("6, 10, 20", 5e-3, 4),
    "careful": Preset("6, 8, 10, 15, 20, 30", 1e-3, 16),
}


def with_preset(name: str, latent: dict, budgets: str, tolerance: float) -> tuple[dict, str, float]:
    """The LATENT, budgets and tolerance that a preset stands for; those that are given where the preset is BY_HAND."""
    if name == BY_HAND:
        return latent, budgets, tolerance
    preset, samples = PRESETS[name], latent["samples"]
    if not getattr(samples, "is_nested", False) and len(samples) < preset.items:
        [latent] = nodes.RepeatLatentBatch().repeat(latent, math.ceil(preset.items / len(samples)))
    return latent, preset.budgets, preset.tolerance


def sampler_entries(text: str, wired: Mapping[str, object], titles: Mapping[str, str] | None = None) -> list[Entry]:
    """Samplers by name, then those that are wired.

    Args:
        text: names and patterns (dpmpp_*), between commas or line breaks.
        wired: SAMPLERs by the name of their input.
        titles: of the nodes that are wired, by input; a title that is another sampler's name gets the input's name too.

    Raises:
        ValueError: an unknown name, a pattern that nothing matches, or a sampler with CFG++, which follows an ODE of its own.
    """
    names = _chosen("samplers", text, comfy.samplers.SAMPLER_NAMES, leave_out=_CFG_PP)
    kinds = {name: _kind(sampler) for name, sampler in wired.items() if sampler is not None}
    others = [f"samplers has {name}" for name in names if name.endswith(_CFG_PP)]
    others += [f"{name} is {kind}" for name, kind in kinds.items() if kind.endswith(_CFG_PP)]
    if others:
        raise ValueError(
            f"{others[0]}: CFG++ guides in another way than CFG and follows an ODE of its own, to which this one's "
            "solution is no reference. Take it out."
        )
    named = [Entry(name, comfy.samplers.sampler_object(name)) for name in names]
    shown = _distinct({name: (titles or {}).get(name, kind) for name, kind in kinds.items()}, comfy.samplers.SAMPLER_NAMES)
    return named + [Entry(shown[name], wired[name]) for name in kinds]


def _distinct(titles: Mapping[str, str], taken: Sequence[str]) -> dict[str, str]:
    """Titles of inputs; one that is taken or occurs twice is followed by its input's name."""
    every = [*titles.values(), *taken]
    return {name: f"{title} ({name})" if every.count(title) > 1 else title for name, title in titles.items()}


def _kind(sampler) -> str:
    function = getattr(sampler, "sampler_function", sampler)
    return getattr(function, "__name__", type(function).__name__).removeprefix("sample_")


def schedules(
    text: str, wired: Mapping[str, torch.Tensor], sampling, time: TimeMap, titles: Mapping[str, str] | None = None
) -> list[Schedule]:
    """Schedulers by name, then SIGMAS that are wired, resampled to other numbers of steps.

    Args:
        text: as of `sampler_entries`.
        wired: SIGMAS by the name of their input.
        sampling: the host's model_sampling.
        time: the model's time map.
        titles: as of `sampler_entries`.

    Raises:
        ValueError: an unknown name, or SIGMAS that do not fall to 0.
    """
    by_name = [_named(name, sampling, time) for name in _chosen("schedulers", text, comfy.samplers.SCHEDULER_NAMES)]
    given = {name: sigmas for name, sigmas in wired.items() if sigmas is not None}
    shown = _distinct({name: (titles or {}).get(name, name) for name in given}, comfy.samplers.SCHEDULER_NAMES)
    return by_name + [_wired(name, shown[name], sigmas, time) for name, sigmas in given.items()]


def _named(name: str, sampling, time: TimeMap) -> Schedule:
    def grid(steps):
        sigmas = comfy.samplers.calculate_sigmas(sampling, name, steps)
        _check(name, sigmas, time)
        return sigmas

    return Schedule(name, grid)


def _wired(name: str, title: str, sigmas: torch.Tensor, time: TimeMap) -> Schedule:
    _check(name, sigmas, time)

    def grid(steps):
        return sigmas if steps == len(sigmas) - 1 else resample(sigmas, steps, time)

    return Schedule(title, grid)


def _check(name: str, sigmas: torch.Tensor, time: TimeMap) -> None:
    values = read_sigmas(sigmas)
    if len(values) < 2:
        raise ValueError(f"{name} gives {len(values)} sigmas, which make no step.")
    try:
        grid_steps(values, time, rising=False)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if values[-1] != 0.0:
        raise ValueError(f"{name} ends at sigma {values[-1]:g}; the lab compares results at 0. Connect SIGMAS that end there.")


def budgets(text: str) -> list[int]:
    """Numbers of model calls, rising, each once.

    Raises:
        ValueError: none, or one that is no whole number from 1 on.
    """
    words = _words("budgets", text)
    for word in words:
        if not re.fullmatch(r"[0-9]{1,9}", word) or not 1 <= int(word) <= MAX_BUDGET:
            raise ValueError(f"budgets must be whole numbers from 1 to {MAX_BUDGET} between commas, got {word[:40]!r}.")
    if not words:
        raise ValueError("budgets is empty; write numbers of model calls, such as 6, 10, 20.")
    return sorted(set(map(int, words)))


def best_at(calls: int, budgets: Sequence[int]) -> int:
    """Model calls within which the best pair is chosen; 0 is the largest budget.

    Raises:
        ValueError: no budget is so small.
    """
    if not calls:
        return budgets[-1]
    if calls < budgets[0]:
        raise ValueError(
            f"best_at is {calls}, but the smallest of budgets is {budgets[0]}, so no pair is measured within {calls} calls. Add "
            f"{calls} to budgets, or set best_at to one of {', '.join(map(str, budgets))}, or to 0 for the largest."
        )
    return calls


def baseline_pair(text: str, entries: Sequence[Entry], schedules: Sequence[Schedule]) -> str:
    """The pair that the best one is compared with, as cells name it; "" where there is nothing to measure.

    Args:
        text: "", a sampler, or a sampler and a schedule between them "+"; what is not named is the first.
        entries, schedules: that are measured.

    Raises:
        ValueError: a name that is not among them.
    """
    names = [entry.name for entry in entries], [schedule.name for schedule in schedules]
    if not all(names):
        return ""
    known = {f"{sampler} + {schedule}": f"{sampler} + {schedule}" for sampler in names[0] for schedule in names[1]}
    known |= {sampler: f"{sampler} + {names[1][0]}" for sampler in names[0]} | {"": f"{names[0][0]} + {names[1][0]}"}
    wanted = " + ".join(part.strip() for part in text.split("+")) if text not in known else text
    if wanted not in known:
        raise ValueError(
            f"baseline is {text[:MAX_NAME]!r}, which is not measured. Name one of the samplers, or a pair such as "
            f"{names[0][0]} + {names[1][0]}."
        )
    return known[wanted]


def _words(name: str, text: str) -> list[str]:
    if len(text) > MAX_TEXT:
        raise ValueError(f"{name} has {len(text)} characters; {MAX_TEXT} are the most.")
    return [word.strip() for word in re.split(r"[,;\n]", text) if word.strip()]


def _chosen(label: str, text: str, names: Sequence[str], leave_out: str = "\0") -> list[str]:
    """Names, and what patterns match of those that do not end in `leave_out`; each once."""
    chosen: dict[str, None] = {}
    for word in _words(label, text):
        if len(word) > MAX_NAME:
            raise ValueError(f"{label} has a name of {len(word)} characters, {word[:40]!r}; {MAX_NAME} are the most.")
        if any(sign in word for sign in "*?["):
            matches = [name for name in fnmatch.filter(names, word) if not name.endswith(leave_out)]
        else:
            matches = [word] if word in names else []
        if not matches:
            near = difflib.get_close_matches(word, names, 3, 0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise ValueError(f"{label} has {word[:60]!r}, and there is none of that name.{hint}")
        chosen.update(dict.fromkeys(matches))
    return list(chosen)
