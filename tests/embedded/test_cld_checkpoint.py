"""Checkpoints of CLD networks: what is written is read, and what does not fit is refused by name."""

import re
import time

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embedded import cld_checkpoint, cld_coordinates
from embedded.cld_network import CLDNetwork
from samplers.processes.cld import CLD

SDE = CLD(beta=3.0, mass=0.5, velocity_share=0.1, jitter=1e-5)
CONSTANTS = ("beta", "mass", "friction", "velocity_share", "jitter", "t_max", "label_scale")
SIZES = ("channels", "height", "width", "features", "classes")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    result = CLDNetwork(2, 8, 4, features=8, classes=3).requires_grad_(False)
    for tensor in result.parameters():
        tensor.copy_(tensor.half())  # what a file holds exactly
    result.coordinates.copy_(cld_coordinates.table(SDE, "L"))
    result.mean.normal_()
    result.std.uniform_(0.1, 1.0)
    return result


@pytest.fixture
def file(network, tmp_path):
    path = tmp_path / "tiny.safetensors"
    path.write_bytes(cld_checkpoint.to_bytes(network, SDE, "L"))
    return path


def rewrite(path, metadata, tensors=()):
    """The file with other entries; None takes one away. `tensors` may be functions of those that are there."""
    with safetensors.safe_open(path, framework="pt") as opened:
        entries = {**opened.metadata(), **metadata}
    weights = safetensors.torch.load_file(path)
    for name, value in dict(tensors).items():
        weights[name] = value(weights[name]) if callable(value) else value
    entries, weights = ({key: value for key, value in part.items() if value is not None} for part in (entries, weights))
    safetensors.torch.save_file(weights, path, entries)


def test_round_trip(network, file):
    sde, kind, loaded = cld_checkpoint.load(file, CLD)
    assert sde == SDE and kind == "L"
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    torch.testing.assert_close(loaded.state_dict(), network.state_dict(), rtol=0, atol=0)
    u, labels, context = torch.randn(2, 4, 8, 4), torch.tensor([3.0, 700.0]), torch.rand(2, 1, 3)
    torch.testing.assert_close(loaded(u, labels, context), network(u, labels, context), rtol=0, atol=0)


def _damaged():
    """(metadata, tensors, message): contents of a file that do not fit, and the error that they give."""
    train, choose = ".*training/cld_training.py", ".*Choose"
    for key in ("process", "kind", *CONSTANTS, *SIZES, "checksum"):
        yield {key: None}, {}, f"metadata '{key}' is missing{train}"
    for key in (*CONSTANTS, *SIZES):
        for text in ("", "four", "nan", "inf", "-1", "0"):
            yield {key: text}, {}, f"metadata '{key}' is '{text}', but must be a finite number above 0{train}"
    yield {"process": "VP"}, {}, f"metadata 'process' is 'VP', but only 'CLD'{choose} a CLD checkpoint"
    yield {"kind": "eps"}, {}, f"metadata 'kind' is 'eps', but must be 'R' or 'L'{train}"
    yield {"friction": "1.0"}, {}, f"metadata 'friction' is 1, but critical damping of 'mass' 0.5 needs 1.41421{choose}"
    yield {"friction": "1e200"}, {}, f"metadata 'friction' is 1e\\+200, but critical damping of 'mass' 0.5 needs 1.41421{choose}"
    yield {"mass": "0.25"}, {}, f"metadata 'friction' is 1.41421, but critical damping of 'mass' 0.25 needs 1{choose}"
    yield {"label_scale": "1000"}, {}, f"metadata 'label_scale' is 1000, but must be 999{train}"
    yield {"t_max": "0.9"}, {}, f"metadata 't_max' is 0.9, but must be 1: sampling starts{train}"
    yield {"channels": "1.5"}, {}, f"metadata 'channels' is '1.5', but must be a whole number{train}"
    yield {"width": "1e300"}, {}, f"metadata 'width' is '1e300', but must be a whole number up to 65536{train}"
    yield {"height": "6"}, {}, f"metadata 'height' is 6, but must be a multiple of 4{train}"
    yield {"features": "12"}, {}, f"metadata 'features' is 12, but must be a multiple of 8{train}"
    # the rest of the file is right, and the pictures would be noise
    for entry in ({"kind": "R"}, {"beta": "3.1"}, {"velocity_share": "1"}, {"jitter": "0.01"}, {"beta": "1e300"}):
        yield entry, {}, "metadata .* are not those of the weights, which were trained for another process"
    name = "unet.label.weight"
    yield {}, {name: None}, f"tensor '{name}' is missing{train}"
    yield {}, {"unet.extra": torch.zeros(1)}, f"tensor 'unet.extra' is none of the network's{train}"
    yield {}, {name: torch.zeros(16, 4)}, rf"tensor '{name}' has the shape \(16, 4\), but .* \(16, 3\){train}"
    yield {"classes": "7"}, {}, rf"tensor '{name}' has the shape \(16, 3\), but .* \(16, 7\){train}"
    # the memory it would take is not asked for
    yield {"features": "64000"}, {}, f"tensor 'unet.coarse.conv_1.bias' has the shape{train}"
    name = "unet.enter.weight"
    for dtype in (torch.int32, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.float64):
        yield {}, {name: torch.ones(8, 2, 3, 3).to(dtype)}, f"tensor '{name}' is of type .*, not F16, BF16, F32{train}"
    for name in ("unet.enter.bias", "mean", "coordinates"):
        for value in (float("nan"), float("inf")):
            yield {}, {name: lambda old, value=value: _with_last(old, value)}, f"tensor '{name}' holds NaN or infinity"
    for name in ("unet.enter.weight", "mean", "std"):  # they would be as good a network, with other pictures
        yield {}, {name: _with_one_bit_changed}, "it is damaged: its content has another checksum"


def _with_last(tensor, value):
    tensor.view(-1)[-1] = value
    return tensor


def _with_one_bit_changed(tensor):
    tensor.view(torch.uint8).view(-1)[0] ^= 1
    return tensor


@pytest.mark.parametrize(
    "metadata, tensors, message", list(_damaged()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_refuses_what_does_not_fit(file, metadata, tensors, message):
    rewrite(file, metadata, tensors)
    with pytest.raises(ValueError, match=f"tiny.safetensors: {message}"):
        cld_checkpoint.load(file, CLD)


def _check_same_or_refused(file, network):
    try:
        loaded = cld_checkpoint.load(file, CLD)
    except ValueError as error:
        assert re.match(rf"{file.name}( is not a safetensors file)?: ", str(error)) and len(str(error)) < 600
    else:
        assert (loaded.sde, loaded.kind) == (SDE, "L")
        torch.testing.assert_close(loaded.network.state_dict(), network.state_dict(), rtol=0, atol=0)


def test_a_file_with_any_byte_changed_is_the_same_network_or_refused(network, file):
    content = file.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 300)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        _check_same_or_refused(file, network)


def _headed(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is not a safetensors file.*training/cld_training.py"),
        (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00idq\x00.", "is not a safetensors file"),
        ((2**30).to_bytes(8, "little") + b"{}", "header would have 1073741824 bytes"),
        ((2**63).to_bytes(8, "little") + b"{}", "header would have"),
        (_headed(b"[" * 100_000), "is not a safetensors file"),
        (_headed(b"{}"), "it has no metadata.*training/cld_training.py"),
        (_headed(b'{"__metadata__": {"process": "' + b"x" * 1_000_000 + b'"}}'), "metadata 'kind' is missing"),
        (_headed(b'{"__metadata__": {"kind": "R", "process": "' + b"x" * 1_000_000 + b'"}}'), "metadata 'process' is 'xxx"),
    ],
    ids=["empty", "pickle", "1 GB of header", "2^63", "nested", "no metadata", "lengthy", "lengthy process"],
)
def test_headers_of_strangers_cost_little(tmp_path, content, message):
    """They cost neither memory, nor time, nor a screen full of their text."""
    path = tmp_path / "stranger.safetensors"
    path.write_bytes(content)
    begun = time.monotonic()
    with pytest.raises(ValueError, match=f"stranger.safetensors.*{message}") as caught:
        cld_checkpoint.load(path, CLD)
    assert time.monotonic() - begun < 2.0 and len(str(caught.value)) < 500


texts = st.text(max_size=12) | st.floats().map(repr) | st.integers().map(str) | st.sampled_from(["1e-300", "1e300", "x" * 90_000])
texts |= st.sampled_from(["65536", "8", "16", "CLD", "R", "L", "1_0", "٣"])
keys = st.sampled_from(["process", "kind", *CONSTANTS, *SIZES])


@settings(max_examples=150)
@given(entries=st.dictionaries(keys, texts, max_size=3))
def test_whatever_the_metadata_say_the_network_fits_them_or_is_refused(network, tmp_path_factory, entries):
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    path.write_bytes(cld_checkpoint.to_bytes(network, SDE, "L"))
    rewrite(path, entries)
    _check_same_or_refused(path, network)
