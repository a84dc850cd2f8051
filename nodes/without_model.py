"""The kinds of models for which SIGMAS can be built without a connected model."""

from comfy_api.v0_0_2 import io

from ..samplers.model_kinds import edm, flow, stable_diffusion
from ..samplers.schedules import SigmaRange
from ..samplers.time_maps import FLOW, VE, TimeMap
from .inputs import check_choice, dynamic_input, float_input

NONE, SD, EDM, FLOWS = "none", "SD, SDXL", "EDM", "flow"
_KINDS = {
    SD: lambda: (VE, stable_diffusion()),
    EDM: lambda sigma_min, sigma_max: (VE, edm(sigma_min, sigma_max)),
    FLOWS: lambda shift: (FLOW, flow(shift)),
}


def without_model_input() -> io.DynamicCombo.Input:
    """The input for the kind of model if `model` is not connected."""
    largest = "Largest sigma of the model: 80 for EDM, 120 for Playground 2.5, 700 for SVD."
    shift = "Shift: 1 for none (Flux schnell); 3 for SD3.5, Qwen-Image, Z-Image; 5 to 8 for Wan."
    edm_inputs = [
        float_input("sigma_min", 0.002, 1e-5, 1.0, 0.001, "The model's smallest sigma."),
        float_input("sigma_max", 80.0, 1.1, 1e4, 1.0, largest),
    ]
    return dynamic_input(
        "without_model",
        {NONE: [], SD: [], EDM: edm_inputs, FLOWS: [float_input("shift", 3.0, 0.01, 100.0, 0.01, shift)]},
        optional=True,
        tooltip="The kind of model to use if no model is connected; a connected model takes precedence. SD, SDXL: eps and v "
        "models. flow: Flux, SD3, Qwen-Image, Wan and most models since 2024.",
    )


def kind_and_range(without_model: dict | None) -> tuple[TimeMap, SigmaRange]:
    """Kind and range for a choice in `without_model`, with its parameters; a ValueError if no kind is chosen."""
    given = dict(without_model or {"without_model": NONE})
    name = given.pop("without_model")
    if name == NONE:
        raise ValueError(
            "model is not connected; connect the model that the SIGMAS are for, or choose its kind in without_model."
        )
    return _KINDS[check_choice("without_model", name, _KINDS)](**given)
