"""Records what this process opens, creates, moves and runs, by Python's audit events, which do not cover code in Rust and C."""

import contextlib
import os
import sys
from pathlib import Path
from typing import NamedTuple

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
_RUNS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "pickle.find_class")
_records = []
# only once, because a hook cannot be removed
sys.addaudithook(lambda event, arguments: [record(event, arguments) for record in _records])


class Opened(NamedTuple):
    """Absolute paths, and what was run."""

    read: list[Path]
    written: list[Path]
    run: list[tuple]


@contextlib.contextmanager
def recorded():
    """An Opened that is filled in this context."""
    opened = Opened([], [], [])

    def record(event, arguments):
        if event == "open" and isinstance(arguments[0], str | bytes):
            mode, flags = arguments[1] or "", arguments[2] or 0
            writes = any(letter in mode for letter in "wax+") or flags & _WRITES
            (opened.written if writes else opened.read).append(_absolute(arguments[0]))
        elif event in _CHANGES:
            opened.written.extend(_absolute(path) for path in arguments[:2] if isinstance(path, str | bytes))
        elif event in _RUNS:
            opened.run.append((event, arguments))

    _records.append(record)
    try:
        yield opened
    finally:
        _records.remove(record)


def _absolute(path) -> Path:
    return Path(os.path.abspath(os.fsdecode(path)))
