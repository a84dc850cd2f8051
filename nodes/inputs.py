"""Inputs that several nodes have, and choices, so that they are called, limited, explained and refused alike."""

from collections.abc import Collection, Mapping

from comfy_api.v0_0_2 import io


def number(name: str, default: float, low: float, high: float, step: float, tooltip: str, **more) -> io.Float.Input:
    """A Float that the editor does not round to its step."""
    return io.Float.Input(name, default=default, min=low, max=high, step=step, round=False, tooltip=tooltip, **more)


def steps_input(tooltip: str) -> io.Int.Input:
    """Steps of SIGMAS to build."""
    return io.Int.Input("steps", default=20, min=1, max=10000, tooltip=tooltip)


def denoise_input() -> io.Float.Input:
    """How much of a grid is kept."""
    return io.Float.Input(
        "denoise",
        default=1.0,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="Below 1 only the last steps of a grid of steps / denoise are kept, to start from a given latent, as in "
        "BasicScheduler.",
    )


def s_noise_input() -> io.Float.Input:
    """How strong the noise is that a sampler adds."""
    tooltip = "Factor of the added noise. 1 is right; above adds detail and grain, below smooths."
    return number("s_noise", 1.0, 0.0, 10.0, 0.01, tooltip, advanced=True)


def cfg_pp_input(more: str = "") -> io.Boolean.Input:
    """Guidance by CFG++; `more`: the end of the tooltip."""
    return io.Boolean.Input(
        "cfg_pp",
        default=False,
        optional=True,  # prompts saved before it existed stay valid
        tooltip="Guide by CFG++. CFG is then 0.5 to 1.5 instead of 3 to 10, and a negative conditioning must be connected."
        f"{more}",
        advanced=True,
    )


def shown(value) -> str:
    """A value from outside in an error, short."""
    return f"{value!r:.40}" if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"


def check_choice(name: str, value, choices: Collection[str]) -> None:
    """The host checks what is chosen in a widget, but not what another node gives to it.

    Raises:
        ValueError: the value of the input is none of the choices.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {shown(value)}.")


def one_of(name: str, value, choices: Mapping[str, object]):
    """What a choice stands for.

    Raises:
        ValueError: the value of the input is none of the choices.
    """
    check_choice(name, value, choices)
    return choices[value]
