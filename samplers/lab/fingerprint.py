"""Names for what a result depends on: equal things have equal fingerprints, across sessions too.

Numbers, text and small tensors count whole, large tensors by their shape and 4,096 of their values, functions by their code,
the file it is in, and what they close over, other objects by their class and attributes. What cannot be followed, because it
lies too deep, counts by its class. So a fingerprint may miss a change nobody makes; it never depends on an address or on time.
"""

import functools
import hashlib
import inspect
import types
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

_DEPTH = 12
_WHOLE, _SAMPLED = 65_536, 4096  # elements of a tensor
_VOLATILE = {"uuid", "patches_uuid"}  # drawn anew by every session


def fingerprint(*things) -> str:
    """64 hexadecimal digits."""
    digest = hashlib.sha256()
    _add(digest, things, 0, set())
    return digest.hexdigest()


def weights_fingerprint(named_tensors) -> str:
    """Of a model's weights: every tensor by name, shape, type and a few of its values.

    Args:
        named_tensors: pairs (name, tensor), on any device.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(named_tensors, key=lambda pair: pair[0]):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        if tensor.device.type != "meta":
            digest.update(_values(tensor, 64))
    return digest.hexdigest()


@functools.lru_cache(maxsize=256)
def _file_digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""


def folder_digest(folder: Path) -> str:
    """Of the Python files in a folder and below it."""
    files = sorted(folder.rglob("*.py"))
    return fingerprint([(str(path.relative_to(folder).as_posix()), _file_digest(str(path))) for path in files])


def _values(tensor: torch.Tensor, count: int) -> bytes:
    """About `count` evenly spread values of a tensor, as bytes of float64."""
    flat = tensor.detach().reshape(-1)
    flat = flat[:: max(1, flat.numel() // count)]
    return np.ascontiguousarray(flat.to("cpu").to(torch.float64).numpy()).tobytes()


def _add(digest, thing, depth: int, seen: set[int]) -> None:
    kind = type(thing)
    digest.update(f"<{kind.__module__}.{kind.__qualname__}".encode())
    if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes, torch.dtype, torch.device)):
        digest.update(repr(thing).encode())
    elif isinstance(thing, torch.Tensor):
        whole = thing.numel() <= _WHOLE
        digest.update(f"{tuple(thing.shape)} {thing.dtype}".encode())
        digest.update(_values(thing, thing.numel() if whole else _SAMPLED) if thing.numel() else b"")
    elif isinstance(thing, np.ndarray):
        digest.update(f"{thing.shape} {thing.dtype}".encode() + np.ascontiguousarray(thing).tobytes())
    elif depth >= _DEPTH or id(thing) in seen:
        pass
    else:
        seen = seen | {id(thing)}  # cycles end, but a thing that occurs twice counts twice
        for part in _parts(thing):
            _add(digest, part, depth + 1, seen)
    digest.update(b">")


def _parts(thing) -> list:
    """What a compound thing is made of, in an order of its own."""
    if isinstance(thing, Mapping):
        pairs = [(str(key), value) for key, value in thing.items() if key not in _VOLATILE]
        return [part for pair in sorted(pairs, key=lambda pair: pair[0]) for part in pair]
    if isinstance(thing, (set, frozenset)):
        return sorted(map(fingerprint, thing))
    if isinstance(thing, (list, tuple)):
        return list(thing)
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, types.FunctionType):
        return _parts_of_function(thing)
    if isinstance(thing, type):
        return [f"{thing.__module__}.{thing.__qualname__}"]
    if isinstance(thing, torch.nn.Module):
        return [weights_fingerprint(thing.state_dict().items())]
    attributes = getattr(thing, "__dict__", {})
    return [(name, attributes[name]) for name in sorted(attributes) if name not in _VOLATILE]


def _parts_of_function(function) -> list:
    cells = [part for cell in function.__closure__ or () for part in _content(cell)]
    try:
        file = _file_digest(inspect.getsourcefile(function) or "")
    except TypeError:
        file = ""
    code = function.__code__
    return [function.__qualname__, code.co_code, code.co_firstlineno, file, function.__defaults__, function.__kwdefaults__, cells]


def _content(cell) -> list:
    """What a function closes over; nothing where that is yet to be assigned."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []
