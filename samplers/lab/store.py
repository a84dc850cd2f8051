"""Results on disk, one file each, so that interrupted work continues where it stopped."""

import contextlib
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch

from .. import disk
from .fingerprint import fingerprint

FORMAT = "2"
_MAX_FACTS = 1_000_000  # characters
MOST_BYTES = 8 * 2**30


class Record(NamedTuple):
    """A result: numbers and text, and tensors."""

    facts: dict[str, Any]
    tensors: dict[str, torch.Tensor]


class Store:
    """A folder for records only, by key, which is created with the first record.

    Above `most_bytes` in all, the least recently used records are removed for new ones. The newest record is always kept.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES):
        self._folder, self._most_bytes = folder, most_bytes
        self.trouble: str | None = None  # why a record could not be kept

    def get(
        self,
        key: str,
        facts: Mapping[str, type] | None = None,
        tensors: Mapping[str, Sequence[int] | None] | None = None,
        finite: bool = False,
    ) -> Record | None:
        """The record of a key, as it was put; None if there is none, or only one that is damaged or of another version.

        It must contain values of the names and types in `facts`, with finite floats, and tensors of float32 or float64 of the
        names and shapes in `tensors`, where a shape of None is any; if `finite`, these hold neither NaN nor infinity.
        """
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            with safetensors.safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT or metadata.get("key") != key:
                    raise ValueError(f"it is of format {metadata.get('format')!r:.20}, not {FORMAT!r}")
                if len(metadata["facts"]) > _MAX_FACTS:
                    raise ValueError("it is too long")
                # copies, because Windows cannot replace a file that is mapped into memory
                stored = {name: file.get_tensor(name).clone() for name in file.keys()}
            if metadata.get("checksum") != fingerprint(key, metadata["facts"], stored):
                raise ValueError("it is damaged: its content has another checksum")
            record = Record(json.loads(metadata["facts"]), stored)
            _check(record, facts or {}, tensors or {}, finite)
            with contextlib.suppress(OSError):
                os.utime(path)
            return record
        except (OSError, ValueError, KeyError, RecursionError, safetensors.SafetensorError) as error:
            logging.getLogger(__name__).warning("%s is not used and is computed again: %s.", path, error)
            return None

    def put(self, key: str, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Keep a record, completely or not at all. If the disk refuses, `trouble` says so and work continues."""
        metadata, tensors = {"format": FORMAT, "key": key, "facts": json.dumps(dict(facts))}, dict(tensors)
        metadata["checksum"] = fingerprint(key, metadata["facts"], tensors)
        data = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)
        try:
            disk.write(self._path(key), data)
            self._make_room(self._path(key))
        except OSError as error:
            if self.trouble is None:
                logging.getLogger(__name__).warning("results cannot be kept in %s: %s.", self._folder, error)
            self.trouble = f"results could not be kept in {self._folder} ({error}); free space there, or they are computed again"

    def _make_room(self, newest: Path) -> None:
        """Remove the least recently used records until the limit holds; files that another process uses are skipped."""
        records = []
        for path in self._folder.glob("*.safetensors"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                records.append((stat.st_mtime_ns, stat.st_size, path))
        excess = sum(size for _, size, _ in records) - self._most_bytes
        for _, size, path in sorted(records):
            if excess > 0 and path != newest:
                with contextlib.suppress(OSError):
                    path.unlink()
                    excess -= size

    def _path(self, key: str) -> Path:
        if not (key.isalnum() and key.isascii()):
            raise ValueError(f"key must be of letters and digits, got {key!r}.")
        return self._folder / f"{key}.safetensors"


def _check(record: Record, facts: Mapping[str, type], tensors: Mapping[str, Sequence[int] | None], finite: bool) -> None:
    """Raise a ValueError if a record does not contain what it must."""
    if not isinstance(record.facts, dict):
        raise ValueError("its facts are no object")
    for name, kind in facts.items():
        if type(record.facts.get(name)) is not kind:
            raise ValueError(f"its {name!r} is no {kind.__name__}")
        if kind is float and not math.isfinite(record.facts[name]):
            raise ValueError(f"its {name!r} is not finite")
    for name, shape in tensors.items():
        tensor = record.tensors.get(name)
        if tensor is None or tensor.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"its {name!r} is no tensor of float32 or float64")
        if shape is not None and tensor.shape != torch.Size(shape):
            raise ValueError(f"its {name!r} has the shape {tuple(tensor.shape)}, not {tuple(shape)}")
        if finite and not tensor.isfinite().all():
            raise ValueError(f"its {name!r} holds NaN or infinity")
