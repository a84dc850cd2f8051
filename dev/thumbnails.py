"""Thumbnails of the template browser: pictures of examples that were run, and cards for those that want a checkpoint."""

import io
import json

from matplotlib.figure import Figure
from PIL import Image

from testbed.paths import ROOT

from .art import CHALK, COLOURS, NIGHT, draw_paths
from .server import Client
from .workflow import to_prompt

EXAMPLES = ROOT / "example_workflows"
# The nodes of an example whose pictures stand next to each other.
PICTURES = {
    "01_start_here-exp_res_in_KSampler": [7],
    "02_which_sampler_is_best": [6],
    "03_compare_schedules": [16, 17, 18],
    "04_calibrate_a_solver": [7],
    "05_RES-3S_by_nodes": [9],
    "06_stochastic_sampling": [9],
    "07_inpainting": [13, 15],
    "08_edit_by_inversion": [16, 18],
    "09_gDDIM": [9],
    "15_Langevin_diffusion": [9],
    "16_blurring_diffusion": [8],
}
# The model that an example wants, what the example does with it, its steps, and the colours of its paths.
CARDS = {
    "10_SDXL": ("SDXL", "15 steps of exp_res", 15, COLOURS),
    "11_Flux_dev": ("Flux.1 dev", "12 steps of exp_res", 12, ("#f72585", "#b79cff", "#4895ef")),
    "12_Qwen_Image": ("Qwen-Image", "20 steps of exp_res", 20, ("#f9c74f", "#90be6d", "#2ec4b6")),
    "13_Z-Image": ("Z-Image", "15 steps of exp_res", 15, ("#ffbe0b", "#fb7607", "#ff4d8d")),
    "14_Wan22_two_models": ("Wan 2.2", "one schedule, two models", 16, ("#b185ff", "#00bbf9", "#00f5d4")),
}
_LONGEST, _GAP = 640, 16


def workflow(name: str) -> dict:
    """An example as the editor saved it."""
    return json.loads((EXAMPLES / f"{name}.json").read_text("utf-8"))


def card(name: str) -> Image.Image:
    """The model's name, what is done with it, and the first file that the example wants, over paths from noise to picture."""
    title, words, steps, colours = CARDS[name]
    values = [value for node in workflow(name)["nodes"] for value in node.get("widgets_values") or []]
    file = next(value for value in values if str(value).endswith(".safetensors"))
    figure = Figure(figsize=(6.4, 4.0), dpi=100, facecolor=NIGHT)
    draw_paths(figure.add_axes((0.0, 0.5, 1.0, 0.47)), 31, steps + 1, 1.6, 14.0, colours)
    figure.text(0.06, 0.34, title, size=38, va="center", color=CHALK, weight="bold")
    figure.text(0.06, 0.19, words, size=21, va="center", color=CHALK)
    figure.text(0.06, 0.08, f"wants {file}", size=12, va="center", color="#9aa3b8")
    drawn = io.BytesIO()
    figure.savefig(drawn)
    return Image.open(drawn).convert("RGB")


def pictures(client: Client, name: str) -> Image.Image:
    """What the example's nodes show after a run, in a row of at most _LONGEST pixels."""
    outputs = client.run(to_prompt(workflow(name)), timeout=600)  # a comparison takes long on a busy machine
    files = [outputs[str(node)]["images"][0] for node in PICTURES[name]]
    images = [Image.open(client.base / file["type"] / file["subfolder"] / file["filename"]).convert("RGB") for file in files]
    width = sum(image.width + _GAP for image in images) - _GAP
    row = Image.new("RGB", (width, max(image.height for image in images)), "white")
    for index, image in enumerate(images):
        row.paste(image, (sum(other.width + _GAP for other in images[:index]), 0))
    row.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
    return row
