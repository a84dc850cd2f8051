"""Names for what a result depends on: equal things have equal fingerprints, across sessions too.

Numbers, text and tensors count whole, a model's weights and what is patched onto them by shapes and a few of their values,
functions by their code, the files beside it, and what they close over, other objects by those, their class and attributes.
What cannot be followed, because it lies too deep, counts by its class. So a fingerprint may miss a change nobody makes; it
never depends on an address or on time.
"""

import collections
import functools
import hashlib
import re
import sys
import types
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

_DEPTH = 32  # a chain of a dozen ControlNets
_SAMPLED, _CHUNK = 4096, 2**22  # elements of a tensor
_VOLATILE = {"uuid", "patches_uuid"}  # drawn anew by every session
# What the host writes onto a model or a layer of it while it loads it.
_OF_LOADING = re.compile(r"_|training$|model_|lowvram_|current_|device|comfy_|weight_|bias_|prev_comfy")
# What counts of a host's ModelPatcher besides its weights; the rest is kept there while it loads and samples.
_OF_PATCHER = (
    "object_patches", "weight_wrapper_patches", "model_options", "wrappers", "callbacks", "injections", "additional_models",
    "attachments",
)  # fmt: skip

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)


def fingerprint(*things: object, whole: bool = True) -> str:
    """64 hexadecimal digits.

    Args:
        things: of any kind.
        whole: whether large tensors count whole, or by 4,096 of their values.
    """
    return _Reader(whole).read(things, 0).hex()


def model_fingerprint(patcher: Any) -> str:
    """Of a host's ModelPatcher: its weights as they were loaded, what is patched onto them, and every option of its sampling."""
    return fingerprint(_parts_of_patcher(patcher))


def weights_fingerprint(named_tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
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


@functools.lru_cache(maxsize=1024)
def _source_digest(path: str) -> str:
    """Of a Python file and those beside it, which it may call."""
    files = sorted(Path(path).parent.glob("*.py")) if path.endswith(".py") else []
    return fingerprint([_file_digest(str(file)) for file in files])


def _file_of(kind: type) -> str:
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or ""


def folder_digest(folder: Path) -> str:
    """Of the Python files in a folder and below it."""
    files = sorted(folder.rglob("*.py"))
    return fingerprint([(str(path.relative_to(folder).as_posix()), _file_digest(str(path))) for path in files])


def _values(tensor: torch.Tensor, count: int) -> bytes:
    """About `count` evenly spread values of a tensor, as bytes of float64."""
    flat = tensor.detach().reshape(-1)
    # an odd distance meets every column, of which there is mostly a power of two
    flat = flat[:: max(1, flat.numel() // count) | 1]
    return np.ascontiguousarray(flat.to("cpu").to(torch.float64).numpy()).tobytes()


class _Reader:
    """Digests; what occurs twice is read once, and a cycle ends where it began."""

    def __init__(self, whole: bool):
        self._whole = whole
        self._known: dict[int, tuple[object, bytes]] = {}  # with the things, so that their ids stay theirs

    def read(self, thing: object, depth: int) -> bytes:
        if isinstance(thing, _PLAIN):
            return hashlib.sha256(f"{_class(type(thing))} {thing!r}".encode()).digest()
        if id(thing) in self._known:
            return self._known[id(thing)][1]
        digest = hashlib.sha256(_class(type(thing)).encode())
        self._known[id(thing)] = thing, digest.digest()
        if isinstance(thing, torch.Tensor):
            self._add_tensor(digest, thing)
        elif isinstance(thing, np.ndarray) and thing.dtype != object:
            digest.update(f"{thing.shape} {thing.dtype}".encode() + np.ascontiguousarray(thing).tobytes())
        elif isinstance(thing, (set, frozenset)):
            for part in sorted(self.read(part, depth + 1) for part in thing):
                digest.update(part)
        elif depth < _DEPTH:
            for part in _parts(thing):
                digest.update(self.read(part, depth + 1))
        self._known[id(thing)] = thing, digest.digest()
        return digest.digest()

    def _add_tensor(self, digest: "hashlib._Hash", tensor: torch.Tensor) -> None:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype};".encode())
        if tensor.device.type == "meta" or not tensor.numel():
            return
        if not self._whole:
            digest.update(_values(tensor, _SAMPLED))
            return
        for part in tensor.detach().reshape(-1).split(_CHUNK):
            digest.update(_values(part, part.numel()) if type(part) is not torch.Tensor else _raw(part))


def _raw(part: torch.Tensor) -> bytes:
    return part.to("cpu").contiguous().view(torch.uint8).numpy().tobytes()


def _class(kind: type) -> str:
    """With its bases, as classes made in functions (the host's model_sampling) share a name."""
    return " ".join(f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__)


def _parts(thing: Any) -> list[Any]:
    """What a compound thing is made of, in an order of its own."""
    if isinstance(thing, (dict, types.MappingProxyType)):
        pairs = [(fingerprint(key), value) for key, value in thing.items() if not (isinstance(key, str) and key in _VOLATILE)]
        return [part for pair in sorted(pairs, key=lambda pair: pair[0]) for part in pair]
    if isinstance(thing, (list, tuple, range, collections.deque)):
        return list(thing)
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, types.FunctionType):
        return _parts_of_function(thing)
    if isinstance(thing, types.CodeType):
        return [
            thing.co_qualname if hasattr(thing, "co_qualname") else thing.co_name,
            thing.co_code,
            thing.co_consts,
            thing.co_names,
        ]
    if isinstance(thing, types.BuiltinFunctionType):
        return [thing.__qualname__]
    if isinstance(thing, types.ModuleType):
        return [thing.__name__]
    if isinstance(thing, type):
        return [_class(thing)]
    if isinstance(thing, PurePath):
        return [str(thing)]
    if isinstance(thing, torch.nn.Module):
        return _parts_of_module(thing)
    attributes = getattr(thing, "__dict__", {})
    if {"model", "patches", "backup", *_OF_PATCHER} <= attributes.keys():
        return _parts_of_patcher(thing)
    slots = {name: getattr(thing, name) for base in type(thing).__mro__ for name in _slots(base) if hasattr(thing, name)}
    attributes = {**slots, **attributes}
    code = _source_digest(_file_of(type(thing)))
    return [code, *((name, attributes[name]) for name in sorted(attributes) if name not in _VOLATILE)]


def _slots(kind: type) -> list[str]:
    names = vars(kind).get("__slots__", ())
    return [name for name in ([names] if isinstance(names, str) else names) if not name.startswith("__")]


def _parts_of_module(module: torch.nn.Module) -> list[Any]:
    """Its weights, and the settings beside them, such as the sigma_data of a model_sampling."""
    return [weights_fingerprint(module.state_dict().items()), _settings("", module), _settings_below(module)]


def _settings_below(module: torch.nn.Module) -> list[Any]:
    """Of a network's modules; of the host's and torch's own, the weights tell."""
    parts = module.named_modules()
    return [_settings(name, part) for name, part in parts if type(part).__module__.partition(".")[0] not in ("comfy", "torch")]


def _settings(name: str, module: torch.nn.Module) -> list[Any]:
    settings = {key: value for key, value in vars(module).items() if isinstance(value, (*_PLAIN, torch.Tensor))}
    return [name, {key: value for key, value in settings.items() if not _OF_LOADING.match(key)}]


def _parts_of_patcher(patcher: Any) -> list[Any]:
    backup = patcher.backup  # the originals of weights that patches have been merged into
    weights = patcher.model.state_dict().items()
    weights = weights_fingerprint((name, backup[name].weight if name in backup else tensor) for name, tensor in weights)
    kind = _class(type(patcher.model)), str(getattr(patcher.model, "model_type", None))
    settings = _settings_below(patcher.model) if isinstance(patcher.model, torch.nn.Module) else []
    return [
        kind,
        weights,
        settings,
        fingerprint(patcher.patches, whole=False),
        [getattr(patcher, name, None) for name in _OF_PATCHER],
    ]


def _parts_of_function(function: types.FunctionType) -> list[Any]:
    cells = [part for cell in function.__closure__ or () for part in _content(cell)]
    where = function.__qualname__, function.__code__.co_firstlineno, _source_digest(function.__code__.co_filename)
    return [where, function.__code__, function.__defaults__, function.__kwdefaults__, cells]


def _content(cell: types.CellType) -> list[Any]:
    """What a function closes over; nothing where that is yet to be assigned."""
    try:
        return [cell.cell_contents]
    except ValueError:
        return []
