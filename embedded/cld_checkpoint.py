"""Checkpoints of CLD networks: safetensors files whose metadata describe the process that the weights were trained for.

A network of eps is useless without its process and K, so a file that does not describe both is refused.
"""

import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch

from .cld_coordinates import LABEL_SCALE, T_MAX, table
from .cld_network import CLDNetwork

if TYPE_CHECKING:
    from samplers.processes.cld import CLD  # noqa: TID251 (for the type checker)

DIGITS_CLD = Path(__file__).with_name("digits_cld.safetensors")  # the network of the digits
KINDS = ("R", "L")
_CONSTANTS = ("beta", "mass", "velocity_share", "jitter")
_SIZES = ("channels", "height", "width", "features", "classes")
_LARGEST = 65536
MAX_HEADER = 10_000_000  # bytes; the headers of the largest models have a tenth of it
_TYPES = ("F16", "BF16", "F32")  # types of weights, as safetensors names them
_RETRAIN = "Train or convert it with training/cld_training.py of the pack's repository."


class Checkpoint(NamedTuple):
    """The content of a file: the process, "R" or "L" for the K of eps = -K^T score, and the network in float32."""

    sde: "CLD"
    kind: str
    network: CLDNetwork


def to_bytes(network: CLDNetwork, sde: "CLD", kind: str) -> bytes:
    """The content of a file: weights in half precision, and constants and statistics in float32."""
    metadata = {name: repr(float(getattr(sde, name))) for name in (*_CONSTANTS, "friction", "t_max")}
    metadata |= {name: str(getattr(network, name)) for name in _SIZES}
    metadata |= {"process": "CLD", "kind": kind, "label_scale": repr(LABEL_SCALE)}
    learnt = dict(network.named_parameters())
    tensors = {
        name: (tensor.half() if name in learnt else tensor.float()).contiguous() for name, tensor in network.state_dict().items()
    }
    return safetensors.torch.save(tensors, metadata | {"checksum": _checksum(metadata, tensors)})


def load(path: str | os.PathLike[str], process: Callable[..., "CLD"]) -> Checkpoint:
    """Read a checkpoint; `process` makes the process from its constants: `samplers.processes.cld.CLD`.

    Raises:
        ValueError: the file is not a safetensors file, its metadata are missing or do not describe a critically-damped CLD, its
            weights do not fit, or they were trained for other constants; the message names the fault, the value and the remedy.
    """
    name = Path(path).name
    with open(path, "rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > MAX_HEADER:
        raise ValueError(
            f"{name} is not a safetensors file of a network: its header would have {header} bytes, more than {MAX_HEADER}. "
            f"{_RETRAIN}"
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return _checkpoint(file, process)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{name} is not a safetensors file: {error}. {_RETRAIN}") from error
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def embedded(process: Callable[..., "CLD"]) -> Checkpoint:
    """The network of the digits in the pack, `process` as in `load`; a ValueError if its file is missing or damaged."""
    try:
        return load(DIGITS_CLD, process)
    except (OSError, ValueError) as error:
        fault = str(error).removesuffix(_RETRAIN).strip()
        raise ValueError(f"The network in {DIGITS_CLD} cannot be read ({fault}). Install the node pack again.") from error


def _checkpoint(file: safetensors.safe_open, process: Callable[..., Any]) -> Checkpoint:
    """The checkpoint in an open file."""
    metadata = file.metadata()
    if not metadata:
        raise ValueError(f"it has no metadata, so its process is unknown. {_RETRAIN}")
    constants = _constants(metadata)
    network, sde = _network(metadata, file), process(**constants)
    _check_coordinates(network, sde, metadata["kind"], constants)
    if _text(metadata, "checksum") != _checksum(metadata, network.state_dict()):
        raise ValueError("it is damaged: its content has another checksum. Copy or download it again.")
    return Checkpoint(sde, metadata["kind"], network)


def _checksum(metadata: dict[str, str], tensors: dict[str, torch.Tensor]) -> str:
    """64 hexadecimal digits for the weights and for the metadata without the checksum."""
    digest = hashlib.sha256(repr(sorted((key, text) for key, text in metadata.items() if key != "checksum")).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check_coordinates(network: CLDNetwork, sde: "CLD", kind: str, constants: dict[str, float]) -> None:
    """Raise a ValueError where the coordinates among the weights are not those of the process in the metadata."""
    with np.errstate(all="ignore"):
        try:
            expected = table(sde, kind)
        except (ArithmeticError, np.linalg.LinAlgError):
            expected = torch.full_like(network.coordinates, torch.nan)
    if not torch.allclose(network.coordinates, expected, rtol=1e-3, atol=1e-3):
        said = ", ".join(f"'{key}' {value:g}" for key, value in constants.items())
        raise ValueError(
            f"metadata {said} and 'kind' {kind!r} are not those of the weights, which were trained for another process. "
            f"{_RETRAIN}"
        )


def _constants(metadata: dict[str, str]) -> dict[str, float]:
    process, kind = _text(metadata, "process"), _text(metadata, "kind")
    if process != "CLD":
        raise ValueError(f"metadata 'process' is {process!r:.40}, but only 'CLD' can be sampled. Choose a CLD checkpoint.")
    if kind not in KINDS:
        raise ValueError(f"metadata 'kind' is {kind!r:.40}, but must be 'R' or 'L', the K of eps = -K^T score. {_RETRAIN}")
    constants = {key: _number(metadata, key) for key in _CONSTANTS}
    friction, mass = _number(metadata, "friction"), constants["mass"]
    if not math.isclose(friction, 2.0 * math.sqrt(mass), rel_tol=1e-6):
        raise ValueError(
            f"metadata 'friction' is {friction:g}, but critical damping of 'mass' {mass:g} needs {2.0 * math.sqrt(mass):g}. "
            "Choose a checkpoint of critically-damped Langevin diffusion."
        )
    for key, expected, meaning in (
        ("label_scale", LABEL_SCALE, "timesteps are labels 999 t"),
        ("t_max", T_MAX, "sampling starts at t = 1"),
    ):
        if _number(metadata, key) != expected:
            raise ValueError(f"metadata {key!r} is {metadata[key]:.40}, but must be {expected:g}: {meaning}. {_RETRAIN}")
    return constants


def _network(metadata: dict[str, str], file: safetensors.safe_open) -> CLDNetwork:
    """The network of the sizes in the metadata with the weights of an open file. No weight is read before all of them fit."""
    sizes = {key: _whole(metadata, key) for key in _SIZES}
    for key, divisor in (("height", 4), ("width", 4), ("features", 8)):
        if sizes[key] % divisor:
            raise ValueError(f"metadata {key!r} is {sizes[key]}, but must be a multiple of {divisor}. {_RETRAIN}")
    with torch.device("meta"):  # no memory is allocated before the sizes that a file claims are checked
        network = CLDNetwork(**sizes)
    expected = network.state_dict()
    present = set(file.keys())
    for key in sorted(expected.keys() | present):
        if key not in present or key not in expected:
            what = "is missing" if key not in present else "is none of the network's"
            raise ValueError(f"tensor {key!r:.80} {what}. {_RETRAIN}")
        stored, shape = file.get_slice(key), tuple(expected[key].shape)
        if tuple(stored.get_shape()) != shape:
            shapes = f"{tuple(stored.get_shape())!s:.80}, but the metadata ask for {shape}"
            raise ValueError(f"tensor {key!r} has the shape {shapes}. {_RETRAIN}")
        if stored.get_dtype() not in _TYPES:
            raise ValueError(f"tensor {key!r} is of type {stored.get_dtype()}, not {', '.join(_TYPES)}. {_RETRAIN}")
    tensors = {key: file.get_tensor(key).float() for key in expected}
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ValueError(f"tensor {key!r} holds NaN or infinity. {_RETRAIN}")
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def _text(metadata: dict[str, str], key: str) -> str:
    if key not in metadata:
        raise ValueError(f"metadata {key!r} is missing. {_RETRAIN}")
    return metadata[key]


def _number(metadata: dict[str, str], key: str) -> float:
    text = _text(metadata, key)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"metadata {key!r} is {text!r:.40}, but must be a finite number above 0. {_RETRAIN}")
    return value


def _whole(metadata: dict[str, str], key: str) -> int:
    value = _number(metadata, key)
    if value != int(value) or value > _LARGEST:
        raise ValueError(f"metadata {key!r} is {metadata[key]!r:.40}, but must be a whole number up to {_LARGEST}. {_RETRAIN}")
    return int(value)
