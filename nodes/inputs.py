"""Inputs that several nodes have, so that they are called, limited and explained alike."""

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
