"""Checkpoints of CLD networks: what is written is read, and what does not fit is refused by name."""

import dataclasses
import time

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedded import cld_checkpoint, cld_coordinates
from embedded.cld_network import CLDNetwork
from samplers.processes.cld import CLD

SDE = CLD(beta=3.0, mass=0.5, velocity_share=0.1, jitter=1e-5)


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


def rewrite(path, metadata=(), without=(), tensors=(), dropped=()):
    """The file with other entries."""
    with safetensors.safe_open(path, framework="pt") as opened:
        entries = {**opened.metadata(), **dict(metadata)}
    weights = {**safetensors.torch.load_file(path), **dict(tensors)}
    weights = {key: value for key, value in weights.items() if key not in dropped}
    safetensors.torch.save_file(weights, path, {key: value for key, value in entries.items() if key not in without} or None)


def test_round_trip(network, file):
    sde, kind, loaded = cld_checkpoint.load(file, CLD)
    assert sde == SDE and kind == "L"
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    for (name, one), (other_name, other) in zip(network.state_dict().items(), loaded.state_dict().items()):
        assert name == other_name and other.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    u, labels, context = torch.randn(2, 4, 8, 4), torch.tensor([3.0, 700.0]), torch.rand(2, 1, 3)
    torch.testing.assert_close(loaded(u, labels, context), network(u, labels, context), rtol=0, atol=0)


def test_metadata_are_those_of_the_process(file):
    with safetensors.safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    assert {key: float(metadata[key]) for key in ("beta", "mass", "friction", "velocity_share", "jitter", "t_max")} == {
        **{field.name: getattr(SDE, field.name) for field in dataclasses.fields(SDE) if field.name != "position_variance"},
        "friction": SDE.friction,
        "t_max": SDE.t_max,
    }
    assert (metadata["process"], metadata["kind"], float(metadata["label_scale"])) == ("CLD", "L", 999.0)
    assert metadata["channels"] == "2"


def test_refuses_a_file_without_metadata(network, tmp_path):
    path = tmp_path / "bare.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    with pytest.raises(ValueError, match="bare.safetensors: it has no metadata.*training/cld_training.py"):
        cld_checkpoint.load(path, CLD)


def test_refuses_another_format(tmp_path):
    path = tmp_path / "weights.safetensors"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="weights.safetensors is not a safetensors file.*training/cld_training.py"):
        cld_checkpoint.load(path, CLD)


KEYS = ("process", "kind", "beta", "mass", "friction", "velocity_share", "jitter", "t_max", "label_scale")
SIZES = ("channels", "height", "width", "features", "classes")


@pytest.mark.parametrize("key", (*KEYS, *SIZES, "checksum"))
def test_refuses_a_missing_key(file, key):
    rewrite(file, without=[key])
    with pytest.raises(ValueError, match=f"tiny.safetensors: metadata '{key}' is missing.*training/cld_training.py"):
        cld_checkpoint.load(file, CLD)


@pytest.mark.parametrize("text", ["", "four", "nan", "inf", "-1", "0"])
@pytest.mark.parametrize("key", (*KEYS[2:], *SIZES))
def test_refuses_what_is_no_number_above_zero(file, key, text):
    rewrite(file, {key: text})
    with pytest.raises(
        ValueError, match=f"metadata '{key}' is '{text}', but must be a finite number above 0.*training/cld_training.py"
    ):
        cld_checkpoint.load(file, CLD)


@pytest.mark.parametrize(
    "entries, message",
    [
        ({"process": "VP"}, "metadata 'process' is 'VP', but only 'CLD'.*Choose a CLD checkpoint"),
        ({"kind": "eps"}, "metadata 'kind' is 'eps', but must be 'R' or 'L'.*training/cld_training.py"),
        ({"friction": "1.0"}, "metadata 'friction' is 1, but critical damping of 'mass' 0.5 needs 1.41421.*Choose"),
        ({"mass": "0.25"}, "metadata 'friction' is 1.41421, but critical damping of 'mass' 0.25 needs 1.*Choose"),
        ({"label_scale": "1000"}, "metadata 'label_scale' is 1000, but must be 999.*training/cld_training.py"),
        ({"t_max": "0.9"}, "metadata 't_max' is 0.9, but must be 1: sampling starts.*training/cld_training.py"),
        ({"channels": "1.5"}, "metadata 'channels' is '1.5', but must be a whole number.*training/cld_training.py"),
        ({"width": "1e300"}, "metadata 'width' is '1e300', but must be a whole number up to 65536.*training/cld_training.py"),
        ({"height": "6"}, "metadata 'height' is 6, but must be a multiple of 4.*training/cld_training.py"),
        ({"features": "12"}, "metadata 'features' is 12, but must be a multiple of 8.*training/cld_training.py"),
    ],
    ids=str,
)
def test_refuses_another_process(file, entries, message):
    rewrite(file, entries)
    with pytest.raises(ValueError, match=message):
        cld_checkpoint.load(file, CLD)


def test_refuses_weights_that_do_not_fit(file):
    original = file.read_bytes()
    name = "unet.label.weight"
    for change, message in (
        ({"dropped": [name]}, f"tensor '{name}' is missing"),
        ({"tensors": {"unet.extra": torch.zeros(1)}}, "tensor 'unet.extra' is none of the network's"),
        ({"tensors": {name: torch.zeros(16, 4)}}, rf"tensor '{name}' has the shape \(16, 4\), but .* \(16, 3\)"),
        ({"metadata": {"classes": "7"}}, rf"tensor '{name}' has the shape \(16, 3\), but .* \(16, 7\)"),
        # the memory it would take is not asked for
        ({"metadata": {"features": "64000"}}, "tensor 'unet.coarse.conv_1.bias' has the shape"),
    ):
        file.write_bytes(original)
        rewrite(file, **change)
        with pytest.raises(ValueError, match=f"tiny.safetensors: {message}.*training/cld_training.py"):
            cld_checkpoint.load(file, CLD)


@pytest.mark.parametrize(
    "entries", [{"kind": "R"}, {"beta": "3.1"}, {"velocity_share": "1"}, {"jitter": "0.01"}, {"beta": "1e300"}], ids=str
)
def test_refuses_constants_that_the_weights_were_not_trained_for(file, entries):
    """The rest of the file is right, and the pictures would be noise."""
    rewrite(file, entries)
    with pytest.raises(ValueError, match="are not those of the weights, which were trained for another process"):
        cld_checkpoint.load(file, CLD)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.float64], ids=str)
def test_refuses_weights_of_other_types(file, dtype):
    """Nothing is converted silently."""
    name = "unet.enter.weight"
    rewrite(file, tensors={name: torch.ones(8, 2, 3, 3).to(dtype)})
    with pytest.raises(
        ValueError, match=f"tiny.safetensors: tensor '{name}' is of type .*, not F16, BF16, F32.*training/cld_training.py"
    ):
        cld_checkpoint.load(file, CLD)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["unet.enter.bias", "mean", "coordinates"])
def test_refuses_weights_that_are_not_finite(file, name, value):
    bad = safetensors.torch.load_file(file)[name]
    bad.view(-1)[-1] = value
    rewrite(file, tensors={name: bad})
    with pytest.raises(ValueError, match=f"tiny.safetensors: tensor '{name}' holds NaN or infinity"):
        cld_checkpoint.load(file, CLD)


@pytest.mark.parametrize("name", ["unet.enter.weight", "mean", "std"])
def test_refuses_weights_with_one_bit_changed(file, name):
    """They would be as good a network, with other pictures."""
    changed = safetensors.torch.load_file(file)[name]
    changed.view(torch.uint8).view(-1)[0] ^= 1
    rewrite(file, tensors={name: changed})
    with pytest.raises(ValueError, match="tiny.safetensors: it is damaged: its content has another checksum"):
        cld_checkpoint.load(file, CLD)


def test_a_file_with_any_byte_changed_is_the_same_network_or_refused(network, file):
    content, expected = file.read_bytes(), network.state_dict()
    for place in range(0, len(content), max(1, len(content) // 300)):
        file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            loaded = cld_checkpoint.load(file, CLD)
        except ValueError:
            continue
        assert (loaded.sde, loaded.kind) == (SDE, "L")
        assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.network.state_dict().items())


def _headed(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is not a safetensors file"),
        (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00idq\x00.", "is not a safetensors file"),
        ((2**30).to_bytes(8, "little") + b"{}", "header would have 1073741824 bytes"),
        ((2**63).to_bytes(8, "little") + b"{}", "header would have"),
        (_headed(b"[" * 100_000), "is not a safetensors file"),
        (_headed(b'{"__metadata__": {"process": "' + b"x" * 1_000_000 + b'"}}'), "metadata 'kind' is missing"),
        (_headed(b'{"__metadata__": {"kind": "R", "process": "' + b"x" * 1_000_000 + b'"}}'), "metadata 'process' is 'xxx"),
    ],
    ids=["empty", "pickle", "1 GB of header", "2^63", "nested", "lengthy", "lengthy process"],
)
def test_headers_of_strangers_cost_little(tmp_path, content, message):
    """Neither memory, nor time, nor a screen full of their text."""
    path = tmp_path / "stranger.safetensors"
    path.write_bytes(content)
    begun = time.monotonic()
    with pytest.raises(ValueError, match=f"stranger.safetensors.*{message}") as caught:
        cld_checkpoint.load(path, CLD)
    assert time.monotonic() - begun < 2.0 and len(str(caught.value)) < 500


texts = st.text(max_size=12) | st.floats().map(repr) | st.integers().map(str) | st.sampled_from(["1e-300", "1e300", "x" * 90_000])
texts |= st.sampled_from(["65536", "8", "16", "CLD", "R", "L", "1_0", "٣"])


@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(entries=st.dictionaries(st.sampled_from([*KEYS, *SIZES]), texts, max_size=3))
def test_whatever_the_metadata_say_the_network_fits_them_or_is_refused(network, tmp_path_factory, entries):
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    path.write_bytes(cld_checkpoint.to_bytes(network, SDE, "L"))
    rewrite(path, entries)
    try:
        loaded = cld_checkpoint.load(path, CLD)
    except ValueError as error:
        assert str(error).startswith("fuzzed.safetensors: ") and len(str(error)) < 600
    else:
        assert loaded.kind == "L" and loaded.sde == SDE
        assert loaded.network.width == 4
