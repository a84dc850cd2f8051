"""Fingerprints of everything that a result depends on; equal things have equal fingerprints, also in another session.

Numbers, text and tensors are included completely. A model's weights and the patches on them are included by shapes and a few of
their values. Functions are included by their code, the other files of their folder, the variables they close over, and the
module globals that they read; other objects by these, their class and their attributes. These globals are included: numbers,
text, tensors, and lists and dictionaries of them; functions of the same file and what they read; and numbers and text in
modules of other packs. Globals that are other objects, objects that are nested too deep, and compiled extensions are not
included; `unseen` names those that it can find. A fingerprint never depends on an address or on time.
"""

import collections
import contextlib
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
_VOLATILE = {"uuid", "patches_uuid"}  # new in every session
# Attributes that the host sets on a model or a layer while it loads it.
_LOADING_STATE = re.compile(r"_|training$|model_|lowvram_|current_|device|comfy_|weight_|bias_|prev_comfy")
# Attributes of a host's ModelPatcher that are included in addition to its weights; the others belong to loading and sampling.
_PATCHER_STATE = (
    "object_patches", "weight_wrapper_patches", "model_options", "wrappers", "callbacks", "injections", "additional_models",
    "attachments",
)  # fmt: skip

_PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device)
_DATA = 6  # levels of lists and dictionaries in a global
# Modules whose settings do not change after the import, and whose functions keep no state between runs.
_SETTLED = {*sys.stdlib_module_names, "torch", "numpy", "comfy", "comfy_extras", "comfy_api", "nodes", "einops", "torchvision"}


def fingerprint(*things: object, whole: bool = True) -> str:
    """64 hexadecimal digits for objects of any kind; without `whole`, large tensors are included by 4,096 of their values."""
    return _Reader(whole).read(things, 0).hex()


def model_fingerprint(patcher: Any) -> str:
    """The fingerprint of a host's ModelPatcher: its weights as loaded, the patches on them, and every option of its sampling."""
    return fingerprint(_parts_of_patcher(patcher))


def unseen(patcher: Any) -> list[str]:
    """Descriptions of what patches of a host's ModelPatcher read and `model_fingerprint` does not see; mostly none."""
    reader = _Reader(whole=False)
    for name in _PATCHER_STATE:
        reader.read(getattr(patcher, name, None), 0)
    return sorted(reader.unseen)


def weights_fingerprint(named_tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """The fingerprint of a model's weights, pairs (name, tensor): every name, shape and type, and a few of the values."""
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
    """The digest of a Python file and the files next to it, which it may call."""
    files = sorted(Path(path).parent.glob("*.py")) if path.endswith(".py") else []
    return fingerprint([_file_digest(str(file)) for file in files])


def folder_digest(folder: Path) -> str:
    """The digest of the Python files in a folder and below it."""
    files = sorted(folder.rglob("*.py"))
    return fingerprint([(path.relative_to(folder).as_posix(), _file_digest(str(path))) for path in files])


def _values(tensor: torch.Tensor, count: int) -> bytes:
    """About `count` evenly spread values of a tensor, as bytes of float64."""
    flat = tensor.detach().reshape(-1)
    # an odd distance meets every column, because the number of columns is mostly a power of two
    flat = flat[:: max(1, flat.numel() // count) | 1]
    return np.ascontiguousarray(flat.to("cpu").to(torch.float64).numpy()).tobytes()


class _Reader:
    """Digests of objects; an object that occurs twice is read once, and cycles are allowed."""

    def __init__(self, whole: bool):
        self._whole = whole
        self.unseen: set[str] = set()  # descriptions of what functions read and the digest does not include
        self._known: dict[int, tuple[object, bytes]] = {}  # keeps the things alive, so that no other thing gets their ids

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
            if isinstance(thing, types.FunctionType):
                self.unseen |= {f"{thing.__qualname__} reads {name}" for name in _globals(thing)[1]}
            for part in _parts(thing):
                digest.update(self.read(part, depth + 1))
        else:
            self.unseen.add(f"a {type(thing).__qualname__} lies too deep")
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
            plain = type(part) is torch.Tensor
            raw = part.to("cpu").contiguous().view(torch.uint8).numpy().tobytes() if plain else _values(part, part.numel())
            digest.update(raw)


def _class(kind: type) -> str:
    """The digest of a class with its bases, because classes made in functions (the host's model_sampling) share a name."""
    return " ".join(f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__)


def _parts(thing: Any) -> list[Any]:
    """The parts of a compound thing, in a fixed order."""
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
        return [getattr(thing, "co_qualname", thing.co_name), thing.co_code, thing.co_consts, thing.co_names]
    if isinstance(thing, types.BuiltinFunctionType):
        return [thing.__qualname__]
    if isinstance(thing, types.ModuleType):
        return [thing.__name__]
    if isinstance(thing, type):
        return [_class(thing)]
    if isinstance(thing, PurePath):
        return [str(thing)]
    if isinstance(thing, torch.nn.Module):
        return [weights_fingerprint(thing.state_dict().items()), _settings("", thing), _settings_below(thing)]
    attributes = getattr(thing, "__dict__", {})
    if {"model", "patches", "backup", *_PATCHER_STATE} <= attributes.keys():
        return _parts_of_patcher(thing)
    slots = {name: getattr(thing, name) for base in type(thing).__mro__ for name in _slots(base) if hasattr(thing, name)}
    attributes = {**slots, **attributes}
    call = type(thing).__call__ if callable(thing) else None
    file = getattr(sys.modules.get(type(thing).__module__), "__file__", None) or ""
    code = _source_digest(file), call if isinstance(call, types.FunctionType) else None
    return [code, *((name, attributes[name]) for name in sorted(attributes) if name not in _VOLATILE)]


def _slots(kind: type) -> list[str]:
    names = vars(kind).get("__slots__", ())
    return [name for name in ([names] if isinstance(names, str) else names) if not name.startswith("__")]


def _settings_below(module: torch.nn.Module) -> list[Any]:
    """The settings of a network's modules, except modules of the host and of torch, whose weights suffice."""
    parts = module.named_modules()
    return [_settings(name, part) for name, part in parts if type(part).__module__.partition(".")[0] not in ("comfy", "torch")]


def _settings(name: str, module: torch.nn.Module) -> list[Any]:
    """What a module holds apart from its weights, such as the sigma_data of a model_sampling."""
    settings = {key: value for key, value in vars(module).items() if isinstance(value, (*_PLAIN, torch.Tensor))}
    return [name, {key: value for key, value in settings.items() if not _LOADING_STATE.match(key)}]


def _parts_of_patcher(patcher: Any) -> list[Any]:
    backup = patcher.backup  # the originals of weights that patches have been merged into
    weights = patcher.model.state_dict().items()
    weights = weights_fingerprint((name, backup[name].weight if name in backup else tensor) for name, tensor in weights)
    kind = _class(type(patcher.model)), str(getattr(patcher.model, "model_type", None))
    settings = _settings_below(patcher.model) if isinstance(patcher.model, torch.nn.Module) else []
    state = [getattr(patcher, name, None) for name in _PATCHER_STATE]
    return [kind, weights, settings, fingerprint(patcher.patches, whole=False), state]


def _parts_of_function(function: types.FunctionType) -> list[Any]:
    cells = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # the cell is not assigned yet
            cells.append(cell.cell_contents)
    where = function.__qualname__, function.__code__.co_firstlineno, _source_digest(function.__code__.co_filename)
    return [where, function.__code__, function.__defaults__, function.__kwdefaults__, cells, _globals(function)[0]]


def _names(code: types.CodeType) -> set[str]:
    """The names of globals and attributes that a code object and those inside it use."""
    return set(code.co_names).union(*(_names(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)))


def _globals(function: types.FunctionType) -> tuple[dict[str, Any], list[str]]:
    """The globals that a function reads and the digest includes, and the names of those that it does not include.

    Included are data, functions of the same file, and numbers and text that it may read as module.NAME, but not what belongs to
    settled modules, which change only with their version.
    """
    included: dict[str, Any] = {}
    unseen = []
    names = set() if _settled(function.__module__) else _names(function.__code__)
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        if isinstance(value, types.ModuleType):
            if not _settled(value.__name__):
                parts = {inner: vars(value)[inner] for inner in sorted(names & vars(value).keys())}
                included |= {f"{name}.{inner}": part for inner, part in parts.items() if isinstance(part, _PLAIN)}
        elif isinstance(value, types.FunctionType):
            if value.__code__.co_filename == function.__code__.co_filename:
                included[name] = value
        elif _is_data(value, _DATA):
            included[name] = value
        elif not isinstance(value, type | types.BuiltinFunctionType):
            unseen.append(name)
    return included, unseen


def _settled(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _SETTLED


def _is_data(value: Any, levels: int) -> bool:
    if isinstance(value, (*_PLAIN, torch.Tensor, np.ndarray)):
        return True
    if levels and isinstance(value, dict):
        return all(isinstance(key, _PLAIN) and _is_data(item, levels - 1) for key, item in value.items())
    return bool(levels) and isinstance(value, (list, tuple, set, frozenset)) and all(_is_data(v, levels - 1) for v in value)
