"""The real ComfyUI in this process, with the pack loaded into it."""

import asyncio
import logging
import sys

from .paths import ROOT, TREE


def load(cpu: bool = True) -> None:
    """Import comfy and load the pack as the server does; once.

    Args:
        cpu: whether ComfyUI is to use the CPU even where there is a GPU.

    Raises:
        SystemExit: there is no ComfyUI; the message says how to get one.
    """
    if loaded("registry"):
        return
    if not (TREE / "main.py").is_file():
        raise SystemExit(f"no ComfyUI at {TREE}; run ./demo once, or set COMFYUI_PATH.")
    if str(TREE) not in sys.path:
        sys.path.insert(0, str(TREE))
    import comfy.cli_args

    comfy.cli_args.args.cpu = cpu
    logging.getLogger().setLevel(logging.WARNING)
    import nodes

    asyncio.run(nodes.load_custom_node(str(ROOT)))


def loaded(module: str):
    """A module of the pack's `nodes` as ComfyUI knows it, None where the pack is not loaded."""
    return next((result for name, result in sys.modules.items() if name.endswith(f".nodes.{module}")), None)
