"""A second device, as strict as Apple's: it has no float64, and its tensors do not mix with CPU tensors.

Its tensors say that they are on "mps" and hold their numbers on the CPU. It refuses what PyTorch refuses on such a device. It
cannot find missing or wrong kernels, so it records the names of the operations.
"""

import contextlib
import functools
from pathlib import Path

import torch
import torchgen
import yaml
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("mps")
_READS = {getattr(torch.Tensor, name) for name in ("cpu", "tolist", "item", "__float__", "__int__", "__bool__", "__index__")}
_WIDE = (torch.float64, torch.complex128)


class _There(torch.Tensor):
    """A tensor of the device that wraps a CPU tensor with its numbers; PyTorch treats it as a "meta" tensor."""

    device = DEVICE

    @staticmethod
    def __new__(cls, numbers):
        layout = {"strides": numbers.stride(), "storage_offset": numbers.storage_offset()}
        return torch.Tensor._make_wrapper_subclass(cls, numbers.shape, dtype=numbers.dtype, device="meta", **layout)

    def __init__(self, numbers):
        self.numbers = numbers

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise RuntimeError(f"{func} on a tensor of the device after `second_device`")


class _Operations(TorchDispatchMode):
    """Computes the device's operations on the CPU."""

    def __init__(self):
        super().__init__()
        self.names: set[str] = set()
        self.makes = False  # whether an operation makes a new tensor of the device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        there = [tensor for tensor in given if isinstance(tensor, _There)]
        target = kwargs.get("device")
        here = not there and (target is None or torch.device(target).type != "meta")  # new_full and the like name their tensor's
        if self.makes or not here:
            self.names.add(func.name())
        if here:
            return func(*args, **kwargs)
        if func is not torch.ops.aten.copy_.default and any(t.ndim for t in given if not isinstance(t, _There)):
            raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found cpu and {DEVICE}")
        if target is not None:
            kwargs = {**kwargs, "device": "cpu"}
        result = func(*(tree_map_only(_There, lambda tensor: tensor.numbers, part) for part in args), **kwargs)
        if func is torch.ops.aten.copy_.default:
            return args[0]
        given = {id(tensor.numbers): tensor for tensor in there}  # an operation in place returns its input
        return tree_map_only(torch.Tensor, lambda n: given[id(n)] if id(n) in given else _there(n, func), result)


def _there(numbers, func):
    if numbers.dtype in _WIDE:
        raise TypeError(f"{func}: cannot convert a tensor of {DEVICE} to {numbers.dtype}, which the device does not support")
    return _There(numbers)


class _Transfers(TorchFunctionMode):
    """Moves tensors to the device and back, because PyTorch would look for a real device before any operation."""

    def __init__(self, operations: _Operations):
        super().__init__()
        self._operations = operations

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _READS:
            return func(self._moved(args[0], "cpu"))
        if func is torch.Tensor.to:
            return self._moved(args[0], *args[1:], **kwargs)
        if func is torch.as_tensor and isinstance(args[0], torch.Tensor):
            return self._moved(*args, **kwargs)
        if kwargs.get("device") is not None and torch.device(kwargs["device"]) == DEVICE:
            self._operations.makes = True
            made = func(*args, **{**kwargs, "device": "cpu"})
            self._operations.makes = False
            return _there(made, func)
        return func(*args, **kwargs)

    def _moved(self, tensor, *args, copy=False, **kwargs):
        if args and isinstance(args[0], torch.Tensor):
            args = args[0].device, args[0].dtype, *args[1:]
        device, dtype, *_ = torch._C._nn._parse_to(*args, **kwargs)
        there, numbers = isinstance(tensor, _There), getattr(tensor, "numbers", tensor)
        if device is None or device.type == tensor.device.type:
            if dtype in (None, tensor.dtype) and not copy:
                return tensor
            device = tensor.device
        if there and dtype in _WIDE:
            raise TypeError(f"cannot convert a tensor of {DEVICE} to {dtype}, not even on its way to the CPU")
        with torch.utils._python_dispatch._disable_current_modes():
            numbers = numbers.to(dtype=dtype or tensor.dtype, copy=True)
        return _there(numbers, "to") if device.type == DEVICE.type else numbers


@contextlib.contextmanager
def second_device():
    """In this context DEVICE exists; gives the names of the operations that have run on it."""
    with _Operations() as operations, _Transfers(operations):
        yield operations.names


@functools.cache
def _declared() -> dict[str, dict]:
    """PyTorch's own list of its operations, by name."""
    path = Path(torchgen.__file__).with_name("packaged") / "ATen" / "native" / "native_functions.yaml"
    entries = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {"aten::" + entry["func"].partition("(")[0]: entry for entry in entries}


def lacks_kernel(name: str) -> bool:
    """Whether PyTorch has no implementation of an operation for DEVICE, nor one composed of other operations."""
    entry = _declared()[name]
    if delegate := entry.get("structured_delegate"):
        return lacks_kernel(f"aten::{delegate}")
    backends = " ".join(entry.get("dispatch", {"Composite": ""}))
    if DEVICE.type.upper() not in backends and "Composite" not in backends:
        return True
    into = f"{name}.out"
    return "." not in name and into in _declared() and lacks_kernel(into)
