"""Paths of the repository and of the ComfyUI that it is tested with."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOST = ROOT / ".host"
OUTPUT = ROOT / "output"  # files that commands make; git ignores the folder
TREE = Path(os.environ.get("COMFYUI_RES_TREE") or os.environ.get("COMFYUI_PATH") or HOST / "ComfyUI")
