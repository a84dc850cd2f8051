"""Runs the examples that need no checkpoint, and keeps their pictures as the thumbnails of the template browser.

.host/venv/bin/python -m dev.thumbnails [NAME ...]   # example_workflows/*.jpg
"""

import json
import sys
from pathlib import Path

from PIL import Image

from .server import Client, server
from .setup import ROOT, ensure_host
from .workflow import to_prompt

# Per example, the nodes whose pictures stand beside each other.
PICTURES = {
    "emoji_calibrate_and_use": [7],
    "emoji_compare_schedules": [16, 17, 18],
    "emoji_edit_by_inversion": [16, 18],
    "emoji_exp_gddim": [9],
    "emoji_flow_stochastic": [9],
    "emoji_inpainting": [13, 15],
    "emoji_ksampler": [7],
    "emoji_res_3s": [9],
    "emoji_which_sampler_is_best": [7],
    "digits_gddim_blurring": [8],
    "digits_gddim_cld": [9],
}
_LONGEST, _GAP = 640, 16


def pictures(client: Client, name: str) -> list[Image.Image]:
    """What the example's nodes show after a run."""
    workflow = json.loads((ROOT / "example_workflows" / f"{name}.json").read_text("utf-8"))
    outputs = client.run(to_prompt(workflow))
    files = [outputs[str(node)]["images"][0] for node in PICTURES[name]]
    return [Image.open(client.base / file["type"] / file["subfolder"] / file["filename"]).convert("RGB") for file in files]


def beside(images: list[Image.Image]) -> Image.Image:
    """One row, at most _LONGEST pixels long."""
    width = sum(image.width + _GAP for image in images) - _GAP
    row = Image.new("RGB", (width, max(image.height for image in images)), "white")
    for index, image in enumerate(images):
        row.paste(image, (sum(other.width + _GAP for other in images[:index]), 0))
    row.thumbnail((_LONGEST, _LONGEST), Image.Resampling.LANCZOS)
    return row


def main() -> None:
    """Write the thumbnails of all examples, or of those named."""
    with server(ensure_host()) as client:
        for name in sys.argv[1:] or PICTURES:
            path = Path(ROOT / "example_workflows" / f"{name}.jpg")
            beside(pictures(client, name)).save(path, quality=88, optimize=True)
            print(path)


if __name__ == "__main__":
    main()
