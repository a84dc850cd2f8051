"""Where the lab's nodes put files: tables into the host's output folder, finished work into its user folder."""

import csv
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import folder_paths

from ..samplers.lab.store import Store

MAX_PREFIX = 200  # bytes; file names may have 255
_IMPOSSIBLE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\ud800-\udfff]')  # in a name of a file, on one system or another


def store() -> Store:
    """Finished cells, in the host's user folder, where they outlive the session."""
    return Store(Path(folder_paths.get_user_directory()) / "res_lab")


def output_stem(filename_prefix: str) -> Path:
    """A new name in the host's output folder, to which an ending is to be added; folders are made.

    Raises:
        ValueError: a prefix that leads out of the output folder, or cannot be a file's name on every system.
    """
    folder = folder_paths.get_output_directory()
    if _IMPOSSIBLE.search(filename_prefix) or len(filename_prefix.encode()) > MAX_PREFIX:
        raise ValueError(
            f'filename_prefix must be a name of at most {MAX_PREFIX} bytes without <>:"|?* and control characters, got '
            f"{filename_prefix[:40]!r}."
        )
    if ".." in re.split(r"[/\\]", filename_prefix):
        raise ValueError(f"filename_prefix {filename_prefix!r} must not hold '..', which leads out of a folder.")
    try:
        found = folder_paths.get_save_image_path(filename_prefix, folder)
    except Exception:  # the host's own check, whose kind differs from version to version; it has the cause in the log
        raise ValueError(f"filename_prefix {filename_prefix!r} is no place in the output folder. Choose a name in it.") from None
    path = Path(found[0]) / f"{found[1]}_{found[2]:05}_"
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"filename_prefix {filename_prefix!r} leads out of the output folder.")
    return path


def write_csv(path: Path, rows: Sequence[dict]) -> None:
    """Rows with the keys of the first; where the disk refuses, a warning says so."""
    try:
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else [])
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        logging.warning("ComfyUI-RES: %s could not be written: %s.", path, error)


def write_text(path: Path, text: str) -> None:
    """Text; where the disk refuses, a warning says so."""
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        logging.warning("ComfyUI-RES: %s could not be written: %s.", path, error)
