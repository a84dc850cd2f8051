"""The node that computes the shift for a size."""

from comfy_api.v0_0_2 import io

from ..samplers.size_shift import SHIFT_AT_1024, shift_for
from .host import send_text
from .inputs import checked, float_input, schema
from .lab_progress import node_id


class RESShiftForSize(io.ComfyNode):
    """The shift of a flow model that fits a picture's size."""

    @classmethod
    def define_schema(cls):
        size = {"default": 1024, "min": 16, "max": 16384, "step": 8, "tooltip": "Size of the image in pixels."}
        return schema(
            node_id="RESShiftForSize",
            display_name="RES Shift for Size",
            category="RES/sigmas",
            description="The shift of a flow model that fits an image's size, for ModelSamplingSD3 or ModelSamplingAuraFlow. "
            "Larger images need a larger shift because their coarse parts are drawn at higher noise.",
            aliases="res, shift, resolution, flow, sd3, auraflow, timestep shift, size",
            is_output_node=True,
            inputs=[
                io.Int.Input("width", **size),
                io.Int.Input("height", **size),
                float_input("shift_at_1024", SHIFT_AT_1024, 0.01, 100.0, 0.1),
            ],
            outputs=[
                io.Float.Output("shift", tooltip="The shift. Connect it to ModelSamplingSD3 or ModelSamplingAuraFlow."),
                io.String.Output("text", tooltip="The result in words, as shown in the node."),
            ],
            hidden=[io.Hidden.unique_id],
            tooltips={
                "shift_at_1024": "The shift for 1024 x 1024. 6 was measured on FLUX.2's latents with the scheduler simple; the "
                "models' authors take 3 for SD3.5 and Z-Image and 3.1 for Qwen-Image."
            },
        )

    @classmethod
    @checked
    def execute(cls, width, height, shift_at_1024) -> io.NodeOutput:
        shift = shift_for(width, height, shift_at_1024)
        text = f"{width} x {height}: shift {shift:.3g}, where {shift_at_1024:g} fits 1024 x 1024"
        send_text(text, node_id(cls))
        return io.NodeOutput(shift, text)
