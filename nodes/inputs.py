"""Inputs that several nodes have, and the check of the values that arrive in inputs.

The host checks values of widgets, but not values that come from another node.
"""

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import torch
from comfy_api.v0_0_2 import io

from ..samplers.options import S_NOISE, Option

_MOST_LISTED = 100  # choices in an error
_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # types that can be computed with


def schema(*, inputs: list[io.Input], aliases: str, tooltips: Mapping[str, str] | None = None, **words) -> io.Schema:
    """The schema of a node, with search aliases between commas, and tooltips by the names of the inputs that have none."""
    for item in _with_those_in_options(inputs):
        item.tooltip = item.tooltip or (tooltips or {}).get(item.id)
    return io.Schema(inputs=inputs, search_aliases=aliases.split(", "), **words)


def _with_those_in_options(inputs: Sequence[io.Input]) -> Iterator[io.Input]:
    for item in inputs:
        yield item
        if isinstance(item, io.DynamicCombo.Input):
            for option in item.options:
                yield from _with_those_in_options(option.inputs)


def float_input(name: str, default: float, low: float, high: float, step: float, tooltip: str | None = None, **more) -> io.Input:
    """A Float that the editor does not round to its step."""
    return io.Float.Input(name, default=default, min=low, max=high, step=step, round=False, tooltip=tooltip, **more)


def choice_input(name: str, options: Iterable[str], **more) -> io.Combo.Input:
    """A Combo whose default is the first option."""
    options = list(options)
    return io.Combo.Input(name, options=options, default=options[0], **more)


def dynamic_input(name: str, options: Mapping[str, list[io.Input]], **more) -> io.DynamicCombo.Input:
    """A DynamicCombo of options with their inputs."""
    return io.DynamicCombo.Input(name, options=[io.DynamicCombo.Option(*option) for option in options.items()], **more)


def option_input(option: Option, step: float = 0.01, high: float | None = None, more: str = "", **rest) -> io.Input:
    """The input for an option of a sampler, with a lower maximum `high` and `more` text in the tooltip."""
    rest |= {"default": option.default, "tooltip": option.text + more}
    if option.choices:
        return io.Combo.Input(option.name, options=list(option.choices), **rest)
    if isinstance(option.default, bool):
        return io.Boolean.Input(option.name, **rest)
    return float_input(option.name, low=option.low, high=option.high if high is None else high, step=step, **rest)


def steps_input(most: int = 10000, **more) -> io.Int.Input:
    """The input for the number of steps."""
    return io.Int.Input("steps", default=20, min=1, max=most, **more)


def denoise_input() -> io.Float.Input:
    """The input for the part of a grid that is kept."""
    tooltip = (
        "Below 1 the schedule keeps only the last steps of a schedule with steps / denoise steps, to start from a given latent, "
        "as in BasicScheduler."
    )
    return io.Float.Input("denoise", default=1.0, min=0.0, max=1.0, step=0.01, tooltip=tooltip)


def seed_input(name: str, tooltip: str, change: bool) -> io.Int.Input:
    """The input for a seed; `change` says whether the editor offers to change it after every run."""
    most = 0xFFFFFFFFFFFFFFFF
    return io.Int.Input(name, default=0, min=0, max=most, control_after_generate=change, tooltip=tooltip)


def s_noise_input() -> io.Float.Input:
    """The input for the factor of the added noise."""
    return option_input(S_NOISE, high=10.0, advanced=True)


def cfg_pp_input(more: str = "") -> io.Boolean.Input:
    """The input for CFG++, which prompts saved before it existed lack; `more` is the end of the tooltip."""
    tooltip = (
        "Use CFG++ for guidance. CFG is then 0.5 to 1.5 instead of 3 to 10, and a negative conditioning must be connected." + more
    )
    return io.Boolean.Input("cfg_pp", default=False, optional=True, tooltip=tooltip, advanced=True)


def shown(value) -> str:
    """A short form of a value for an error message."""
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to print very long ones
    return f"{value!r:.40}" if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"


def check_choice(name: str, value, choices: Collection[str]) -> str:
    """The value; a ValueError that names the input if it is none of the choices."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(choices) if len(choices) <= _MOST_LISTED else f"the {len(choices)} choices of its widget"
        raise ValueError(f"{name} must be one of {listed}; got {shown(value)}.")
    return value


def check_number(name: str, value, low: float, high: float, whole: bool = False):
    """The value; a ValueError that names the input if it is no number, or outside the limits."""
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
        limits = f"whole number from {low} to {high}" if whole else f"number from {low:g} to {high:g}"
        raise ValueError(f"{name} must be a {limits}, got {shown(value)}.")
    return value


def checked(execute: Callable) -> Callable:
    """Decorate the `execute` of a node, which then gets its values from `read_inputs`, by name or in the order of the inputs."""

    @functools.wraps(execute)
    def checked_execute(cls, *args, **kwargs):
        declared = cls.define_schema().inputs
        return execute(cls, **read_inputs(declared, {**{item.id: value for item, value in zip(declared, args)}, **kwargs}))

    return checked_execute


def read_inputs(declared: Sequence[io.Input], values: Mapping[str, object], prefix: str = "") -> dict:
    """The values of the inputs in a node's schema, by name, after a check of types and limits; the prefix is for errors.

    Missing values have defaults, and None is no value of an input with a default.
    """
    result = dict(values)
    for item in declared:
        if isinstance(item, io.DynamicCombo.Input) and not item.optional and item.id not in values:
            choices = ", ".join(option.key for option in item.options)  # the host leaves out a choice that it does not know
            raise ValueError(f"{prefix}{item.id} must be one of {choices}; it is missing, or none of them.")
        absent = result.get(item.id) is None and item.optional and getattr(item, "default", None) is None
        if item.id in result and not absent:
            result[item.id] = _READERS.get(type(item), _read_object)(prefix + item.id, result[item.id], item)
    return result


def _read_dynamic(name: str, value, item: io.DynamicCombo.Input) -> dict:
    values = value if isinstance(value, Mapping) else {item.id: value}
    options = {option.key: option.inputs for option in item.options}
    choice = _read_choice(name, values.get(item.id), options)
    defaults = {inner.id: inner.default for inner in options[choice]}
    return {**read_inputs(options[choice], {**defaults, **values}, f"{name}."), item.id: choice}


def _read_object(name: str, value, item: io.Input):
    kinds = [_KINDS[kind] for kind in item.get_io_type().split(",")]
    if not any(is_one(value) for is_one, _ in kinds):
        raise ValueError(f"{name} must be {' or '.join(words for _, words in kinds)}, got {shown(value)}.")
    return value


def _read_choice(name: str, value, choices: Collection[str]) -> str:
    """A choice; a whole number from another node stands for the choice with the same digits."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64 and str(value) in choices:
        return str(value)
    return check_choice(name, value, choices)


# class of an input -> the function of its name, value and input that reads it; the other inputs are objects
_READERS: dict[type, Callable] = {
    io.DynamicCombo.Input: _read_dynamic,
    io.Combo.Input: lambda name, value, item: _read_choice(name, value, item.options),
    io.Int.Input: lambda name, value, item: check_number(name, value, item.min, item.max, whole=True),
    io.Float.Input: lambda name, value, item: check_number(name, value, item.min, item.max),
}


def _has(*names: str) -> Callable[[object], bool]:
    return lambda value: all(hasattr(value, name) for name in names) and not isinstance(value, type)


def _is_numbers(value, least_axes: int) -> bool:
    """Whether a value is a tensor of real numbers in memory, with at least this number of axes."""
    stored = isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type != "meta"
    return stored and value.dtype in _REAL and value.ndim >= least_axes


def _is_latent(value) -> bool:
    samples = value.get("samples") if isinstance(value, dict) else None
    parts = samples.unbind() if getattr(samples, "is_nested", False) else [samples]
    if not all(_is_numbers(part, 3) and part.numel() > 0 for part in parts):
        return False
    mask, positions = value.get("noise_mask"), value.get("batch_index")
    if not (mask is None or getattr(mask, "is_nested", False) or _is_numbers(mask, 2)):
        return False
    return positions is None or (isinstance(positions, (list, tuple)) and all(isinstance(i, int) and i >= 0 for i in positions))


def _is_conditioning(value) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[1], dict)
        and (pair[0] is None or _is_numbers(pair[0], 2))
        for pair in value
    )  # fmt: skip


# type of the host -> what is one, and the words for it
_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "STRING": (lambda value: isinstance(value, str), "text"),
    "BOOLEAN": (lambda value: isinstance(value, bool), "true or false"),
    "SIGMAS": (lambda value: _is_numbers(value, 1) and value.ndim == 1, "SIGMAS, a row of numbers as a scheduler node gives"),
    "LATENT": (_is_latent, "a LATENT with one picture or more"),
    "CONDITIONING": (_is_conditioning, "a CONDITIONING"),
    "MODEL": (_has("get_model_object", "model"), "a MODEL"),
    "GUIDER": (_has("sample", "model_patcher"), "a GUIDER"),
    "SAMPLER": (_has("sample"), "a SAMPLER"),
    "NOISE": (_has("generate_noise", "seed"), "a NOISE"),
    "VAE": (_has("decode"), "a VAE"),
}
