"""Reads what to measure: names and patterns of samplers and schedulers, and the connected SAMPLERs and SIGMAS."""

import difflib
import fnmatch
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import comfy.samplers
import torch

import nodes

from ..samplers.grid import grid_steps, read_sigmas
from ..samplers.lab.measure import MAX_BUDGET, Entry, Schedule
from ..samplers.reshaping import resample
from ..samplers.time_maps import TimeMap
from .lab_progress import Title

MAX_TEXT = 10_000  # characters
MAX_NAME = 200  # characters; matching a pattern can take the square of this
BY_HAND = "by hand"


class Preset(NamedTuple):
    """Values that a preset gives to the inputs of RES Lab: Measure."""

    budgets: str
    tolerance: float
    items: int  # the smallest batch; a smaller latent is repeated


PRESETS = {
    "quick look": Preset("6, 10, 20", 5e-3, 4),
    "careful": Preset("6, 8, 10, 15, 20, 30", 1e-3, 16),
}


def with_preset(name: str, latent: dict, budgets: str, tolerance: float) -> tuple[dict, str, float]:
    """The LATENT, budgets and tolerance of a preset; the given ones for BY_HAND."""
    if name == BY_HAND:
        return latent, budgets, tolerance
    preset, samples = PRESETS[name], latent["samples"]
    if not getattr(samples, "is_nested", False) and len(samples) < preset.items:
        [latent] = nodes.RepeatLatentBatch().repeat(latent, math.ceil(preset.items / len(samples)))
    return latent, preset.budgets, preset.tolerance


def sampler_entries(text: str, wired: Mapping[str, object], titles: Mapping[str, Title] | None = None) -> list[Entry]:
    """Samplers by name, then connected samplers.

    Args:
        text: names and patterns (dpmpp_*), separated by commas or line breaks.
        wired: connected SAMPLERs by the name of their input.
        titles: titles of the connected nodes, by input. A title that the user has written is the name. Otherwise it is the
            sampler's name, or the node's usual title if the sampler has none.

    Raises:
        ValueError: a name is unknown, a pattern matches nothing, or a sampler has CFG++, which follows another ODE.
    """
    names = _chosen("samplers", text, comfy.samplers.SAMPLER_NAMES, leave_out=_has_cfg_pp)
    kinds = {name: _kind(sampler) for name, sampler in wired.items() if sampler is not None}
    others = [f"samplers has {name}" for name in names if _has_cfg_pp(name)]
    others += [f"{name} is {kind}" for name, kind in kinds.items() if _has_cfg_pp(kind)]
    if others:
        raise ValueError(
            f"{others[0]}: CFG++ follows another ODE than CFG, so its result cannot be compared with the reference. Remove it."
        )
    named = [Entry(name, comfy.samplers.sampler_object(name)) for name in names]
    known = {name: kind if kind in comfy.samplers.SAMPLER_NAMES else "" for name, kind in kinds.items()}
    titles = {name: Title(kind, False) for name, kind in kinds.items()} | dict(titles or {})
    usual = [name for name in kinds if not getattr(wired[name], "extra_options", None)]
    shown = _shown(known, titles, names, comfy.samplers.SAMPLER_NAMES, usual)
    return named + [Entry(shown[name], wired[name]) for name in kinds]


def _has_cfg_pp(name: str) -> bool:
    """Whether a sampler of this name, such as euler_cfg_pp and cfgpp_ud10_ab, has CFG++."""
    return "cfgpp" in name.replace("_", "")


def _shown(
    known: Mapping[str, str], titles: Mapping[str, Title], listed: Sequence[str], every: Sequence[str], usual: Collection[str]
) -> dict[str, str]:
    """Names of connected inputs; one that occurs twice, or means something else, is followed by the input's name.

    Args:
        known: the name in ComfyUI's lists by input, "" if there is none.
        titles: the titles of the inputs.
        listed: what is measured by name.
        every: all names in ComfyUI's list.
        usual: the inputs that have no options of their own, so that they are what their known name means.
    """
    known = {name: titles[name].chosen or of for name, of in known.items()}
    names = {name: titles[name].text if titles[name].own else of or titles[name].text for name, of in known.items()}
    taken = [*names.values(), *listed]
    misleading = [name for name, text in names.items() if text in every and (text != known[name] or name not in usual)]
    return {name: f"{text} ({name})" if taken.count(text) > 1 or name in misleading else text for name, text in names.items()}


def _kind(sampler) -> str:
    function = getattr(sampler, "sampler_function", sampler)
    return getattr(function, "__name__", type(function).__name__).removeprefix("sample_")


def schedules(
    text: str, wired: Mapping[str, torch.Tensor], sampling, time: TimeMap, titles: Mapping[str, Title] | None = None
) -> list[Schedule]:
    """Schedulers by name, then connected SIGMAS, resampled to other numbers of steps.

    Args:
        text: as in `sampler_entries`.
        wired: connected SIGMAS by the name of their input.
        sampling: the host's model_sampling.
        time: the model's time map.
        titles: as in `sampler_entries`.

    Raises:
        ValueError: a name is unknown, or SIGMAS do not fall to 0.
    """
    by_name = [_named(name, sampling, time) for name in _chosen("schedulers", text, comfy.samplers.SCHEDULER_NAMES)]
    given = {name: sigmas for name, sigmas in wired.items() if sigmas is not None}
    titles = {name: Title(name, False) for name in given} | dict(titles or {})
    listed = [schedule.name for schedule in by_name]
    shown = _shown(dict.fromkeys(given, ""), titles, listed, comfy.samplers.SCHEDULER_NAMES, given)
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
        raise ValueError(f"{name} ends at sigma {values[-1]:g}, but the lab compares results at 0. Connect SIGMAS that end at 0.")


def budgets(text: str) -> list[int]:
    """Numbers of model calls, rising, each once; a ValueError if there is none, or one is not a whole number of 1 or more."""
    words = _words("budgets", text)
    for word in words:
        if not re.fullmatch(r"[0-9]{1,9}", word) or not 1 <= int(word) <= MAX_BUDGET:
            raise ValueError(f"budgets must be whole numbers from 1 to {MAX_BUDGET} between commas, got {word[:40]!r}.")
    if not words:
        raise ValueError("budgets is empty; write numbers of model calls, such as 6, 10, 20.")
    return sorted(set(map(int, words)))


def best_at(calls: int, budgets: Sequence[int]) -> int:
    """The budget within which the best pair is chosen, the largest for 0; a ValueError if no budget is so small."""
    if not calls:
        return budgets[-1]
    if calls < budgets[0]:
        raise ValueError(
            f"best_at is {calls}, but the smallest of budgets is {budgets[0]}, so no pair is measured within {calls} calls. Add "
            f"{calls} to budgets, or set best_at to one of {', '.join(map(str, budgets))}, or to 0 for the largest."
        )
    return calls


def baseline_pair(text: str, entries: Sequence[Entry], schedules: Sequence[Schedule]) -> str:
    """The pair that the best pair is compared with, as named in cells; "" if there is nothing to measure.

    Args:
        text: "", a sampler, or "sampler + schedule"; missing names mean the first.
        entries, schedules: the measured ones.

    Raises:
        ValueError: a name is not among them.
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


def _chosen(label: str, text: str, names: Sequence[str], leave_out: Callable[[str], bool] = lambda name: False) -> list[str]:
    """Names, and the matches of patterns without those to leave out, each once."""
    chosen: dict[str, None] = {}
    for word in _words(label, text):
        if len(word) > MAX_NAME:
            raise ValueError(f"{label} has a name of {len(word)} characters, {word[:40]!r}; {MAX_NAME} are the most.")
        if any(sign in word for sign in "*?["):
            matches = [name for name in fnmatch.filter(names, word) if not leave_out(name)]
        else:
            matches = [word] if word in names else []
        if not matches:
            near = difflib.get_close_matches(word, names, 3, 0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise ValueError(f"{label} has {word[:60]!r}, which is not a known name.{hint}")
        chosen.update(dict.fromkeys(matches))
    return list(chosen)
