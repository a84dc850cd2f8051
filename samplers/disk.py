"""Files that are either complete or absent, and file names that are legal on every system.

A file is written under another name in the same folder, is forced onto the disk, and is then renamed. A full disk, an interrupt
or a power failure leaves the old file or none, and never a part of one.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = ".part"
_SIGNS = re.compile(r'[\x00-\x1f\x7f<>:"|?*/\\\ud800-\udfff]')  # one system or another forbids these in names
# Windows keeps these names for devices, with any ending.
_DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$", *(f"{port}{n}" for port in ("com", "lpt") for n in "123456789¹²³")}


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file and replace an older one, which an OSError leaves as it was; missing folders are created."""
    with _temporary_file(Path(path), data) as unfinished:
        os.replace(unfinished, path)


def write_new(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a new file; missing folders are created. A FileExistsError says that there is one, which is unchanged."""
    with _temporary_file(Path(path), data) as unfinished:
        try:
            os.link(unfinished, path)
        except FileExistsError:
            raise
        except OSError:  # the file system has no links
            if os.path.lexists(path):
                raise FileExistsError(f"{path} exists.") from None
            os.rename(unfinished, path)


def check_writable(folder: str | os.PathLike[str], size: int) -> None:
    """Write `size` bytes into a folder and remove them; an OSError shows a full or read-only disk before long work."""
    data = secrets.token_bytes(size)  # a disk that compresses has room for any number of zeros
    with _temporary_file(Path(folder) / "probe", data):
        pass


@contextlib.contextmanager
def _temporary_file(path: Path, data: bytes) -> Iterator[Path]:
    """A file of another name in the folder of `path`, forced onto the disk; it is removed at the end unless it was renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{secrets.token_hex(8)}{UNFINISHED}")
    try:
        with open(unfinished, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield unfinished
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    with contextlib.suppress(OSError):  # systems that cannot open a folder keep its entries by themselves
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def fault_of_name(name: str) -> str | None:
    """Why the name of one file or folder is not legal on every system; None if it is."""
    if not name.strip():
        return "is empty"
    if _SIGNS.search(name):
        return 'holds one of <>:"|?*/\\ or a control character'
    if name[-1] in " .":
        return "ends with a space or dot"
    if name.partition(".")[0].strip().lower() in _DEVICES:
        return "is the name of a device on Windows"
    return None
