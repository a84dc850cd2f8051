"""Files of the lab's nodes: tables in the host's output folder, and results in its user folder.

Destinations are tested before the work. A later failure becomes a warning, and the node still gives its outputs.
"""

import csv
import io
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.v0_0_2 import ui

from ..samplers import disk
from ..samplers.lab.store import Store

_ROOM = 2**20  # bytes; most tables and calibrations have a tenth
MAX_PREFIX = 200  # bytes; file names may have 255


def store() -> Store:
    """The store of finished results in the host's user folder."""
    return Store(Path(folder_paths.get_user_directory()) / "res_lab")


def output_stem(filename_prefix: str) -> Path:
    """A new file name without its ending in the host's output folder; folders are created.

    Raises:
        ValueError: the prefix leads out of the output folder, or is not a legal file name on every system.
    """
    folder = folder_paths.get_output_directory()
    if len(filename_prefix.encode(errors="replace")) > MAX_PREFIX:
        raise ValueError(f"filename_prefix must have at most {MAX_PREFIX} bytes, got {filename_prefix[:40]!r} and more.")
    for part in filter(None, re.split(r"[/\\]", filename_prefix)):  # the name, and every folder before it
        if fault := disk.fault_of_name(part):
            raise ValueError(f"filename_prefix {filename_prefix!r}: {part!r} {fault}. Choose a name that every system allows.")
    try:
        place = folder_paths.get_save_image_path(filename_prefix, folder)
    except OSError as error:  # the folder is a file, or may not be read or created
        raise ValueError(
            f"filename_prefix {filename_prefix!r}: its folder in the output folder cannot be used ({_cause(error)}). Choose "
            "another one, or make it a folder that ComfyUI may write to."
        ) from None
    except Exception:  # the host's own check, whose type differs between versions; its cause is in the log
        raise ValueError(f"filename_prefix {filename_prefix!r} is not a name in the output folder. Choose another one.") from None
    path = Path(place[0]) / f"{place[1]}_{place[2]:05}_"
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"filename_prefix {filename_prefix!r} leads out of the output folder.")
    return path


def check_writable(folder: Path, name: str) -> None:
    """Raise a ValueError, before the work, if the folder of its results, called `name`, is full, read-only or not a folder."""
    try:
        disk.check_writable(folder, _ROOM)
    except OSError as error:
        raise ValueError(
            f"{name} cannot be written to ({_cause(error)}), so the results would be lost. Free space on its disk, and make it a "
            "folder that ComfyUI may write to."
        ) from None


class Saving:
    """Saves results after the work of a node. A failure becomes a warning, also in the log, and costs no output."""

    def __init__(self, node: str):
        self._node = node
        self.warnings: list[str] = []  # sentences, one for each failure

    def __call__(self, what: str, write: Callable[..., Any], *args, default=None) -> Any:
        """The result of write(*args), which saves `what`; `default` if the disk refuses or the result does not fit the format."""
        try:
            return write(*args)
        except OSError as error:
            cause = _cause(error)
        except ValueError as error:
            cause = str(error).rstrip(".")
        self.warn(f"{what} could not be written ({cause}). The node's outputs do not need it.")
        return default

    def warn(self, text: str) -> None:
        """Add a warning."""
        self.warnings.append(f"Warning: {text}")
        logging.warning("%s: %s", self._node, self.warnings[-1])

    def preview(self, image, node) -> dict:
        """The `ui` entry that shows an IMAGE, which ComfyUI writes into its temp folder."""
        return self("the preview in the temp folder", lambda: ui.PreviewImage(image, cls=node).as_dict(), default={})

    def shown(self, *lines: str) -> dict:
        """The `ui` entry that shows lines and warnings in the node (web/node_text.js); empty if there are none."""
        lines = [*lines, *self.warnings]
        return {"res_text": lines} if lines else {}


def write_csv(path: Path, rows: Sequence[dict]) -> Path:
    """Write rows with the keys of the first row; an OSError if the disk refuses."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(rows)
    disk.write(path, text.getvalue().encode())
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text and a line break; an OSError if the disk refuses."""
    disk.write(path, f"{text}\n".encode())
    return path


def _cause(error: OSError) -> str:
    """The system's message without the path."""
    return error.strerror or type(error).__name__
