"""Records on disk are complete or absent."""

import errno
import json
import os
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from samplers.lab import store as module
from samplers.lab.store import Store

_TENSORS = {"distances": torch.tensor([0.1, float("nan")], dtype=torch.float64), "first": torch.zeros(1, 2, 2)}


def test_round_trip(tmp_path):
    store = Store(tmp_path / "new" / "folder")
    assert store.get("abc") is None
    store.put("abc", {"calls": 3, "name": "ä"}, _TENSORS)
    facts, tensors = Store(tmp_path / "new" / "folder").get("abc")
    assert facts == {"calls": 3, "name": "ä"} and store.trouble is None
    assert all(torch.equal(tensors[name].nan_to_num(), tensor.nan_to_num()) for name, tensor in _TENSORS.items())
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["abc.safetensors"]
    assert not any(tensor.untyped_storage().filename for tensor in tensors.values()), "nothing keeps the file open"


def test_files_of_other_versions_and_broken_ones_are_left_and_not_used(tmp_path, monkeypatch, caplog):
    store = Store(tmp_path)
    monkeypatch.setattr(module, "FORMAT", "0")
    store.put("old", {}, _TENSORS)
    monkeypatch.undo()
    store.put("moved", {}, _TENSORS)
    os.rename(tmp_path / "moved.safetensors", tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "other.safetensors").read_bytes()[:-3])
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "text.safetensors").write_text("hello " * 100)
    for key in ("old", "other", "cut", "empty", "text"):
        before = (tmp_path / f"{key}.safetensors").read_bytes()
        assert store.get(key) is None
        assert (tmp_path / f"{key}.safetensors").read_bytes() == before
        assert f"{key}.safetensors is not used" in caplog.text
    store.put("old", {"calls": 1}, _TENSORS)
    assert store.get("old").facts == {"calls": 1}


def test_a_full_disk_is_reported_and_work_continues(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.put("first", {}, _TENSORS)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "replace", full)
    store.put("second", {}, _TENSORS)
    assert "No space left" in store.trouble
    monkeypatch.undo()
    assert store.get("first") is not None and store.get("second") is None
    assert [path.name for path in tmp_path.iterdir()] == ["first.safetensors"]


def test_what_was_used_longest_ago_makes_room(tmp_path):
    record = {"distances": torch.zeros(1000)}
    store = Store(tmp_path, most_bytes=3 * 4500)
    for age, key in enumerate(("a", "b", "c")):
        store.put(key, {}, record)
        os.utime(tmp_path / f"{key}.safetensors", (1000 + age, 1000 + age))
    assert store.get("a") is not None  # this makes it the most recently used
    store.put("d", {}, record)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "c", "d"] and store.trouble is None


def test_the_newest_is_kept_whatever_its_size(tmp_path):
    (tmp_path / "in_use.safetensors").mkdir()  # a file that cannot be removed is skipped
    store = Store(tmp_path, most_bytes=100)
    for key in ("first", "second"):
        store.put(key, {}, _TENSORS)
    assert store.get("first") is None and store.get("second") is not None and store.trouble is None


_WANTED = {"calls": int, "seconds": float}
_NONE = {"x": torch.zeros(2)}


@pytest.mark.parametrize(
    "facts, tensors, what",
    [
        ([], _NONE, "facts are no object"),
        ({}, _NONE, "'calls' is no int"),
        ({"calls": "3", "seconds": 1.0}, _NONE, "'calls' is no int"),
        ({"calls": True, "seconds": 1.0}, _NONE, "'calls' is no int"),
        ({"calls": 3, "seconds": {}}, _NONE, "'seconds' is no float"),
        ({"calls": 3, "seconds": float("nan")}, _NONE, "'seconds' is not finite"),
        ({"calls": 3, "seconds": 1.0}, {}, "'x' is no tensor of float32 or float64"),
        *(
            ({"calls": 3, "seconds": 1.0}, {"x": torch.zeros(2).to(dtype)}, "'x' is no tensor of float32 or float64")
            for dtype in (torch.int64, torch.bool, torch.float16, torch.float8_e4m3fn)
        ),
        ({"calls": 3, "seconds": 1.0}, {"x": torch.zeros(3)}, "'x' has the shape .3,., not .2,."),
        ({"calls": 3, "seconds": 1.0}, {"x": torch.zeros(1, 2)}, "'x' has the shape .1, 2., not .2,."),
        ({"calls": 3, "seconds": 1.0}, {"x": torch.tensor([0.0, float("nan")])}, "'x' holds NaN or infinity"),
        ({"calls": 3, "seconds": 1.0}, {"x": torch.tensor([0.0, float("inf")])}, "'x' holds NaN or infinity"),
    ],
    ids=str,
)
def test_records_that_lack_what_they_must_hold_are_not_used_even_if_undamaged(tmp_path, caplog, facts, tensors, what):
    text = json.dumps(facts)
    metadata = {"format": module.FORMAT, "key": "abc", "facts": text, "checksum": module.fingerprint("abc", text, tensors)}
    save_file(tensors, tmp_path / "abc.safetensors", metadata)
    assert Store(tmp_path).get("abc", _WANTED, {"x": (2,)}, finite=True) is None
    assert re.search(f"abc.safetensors is not used and is computed again: its {what}", caplog.text)


@settings(max_examples=100)
@given(key=st.text(max_size=20) | st.text(st.sampled_from("aZ0./\\:\0 é٣"), max_size=6))
def test_whatever_the_key_it_is_a_file_of_the_folder_or_refused(tmp_path, key):
    folder = tmp_path / "inner"
    try:
        Store(folder).put(key, {}, _TENSORS)
    except ValueError as error:
        assert "key must be of letters and digits" in str(error)
    else:
        assert Store(folder).get(key) is not None
    assert {path.name for path in tmp_path.iterdir()} <= {"inner"}


def test_a_record_with_one_bit_changed_is_used_as_it_was_or_not_at_all(tmp_path):
    """Every bit of the numbers is checked, also against zeros."""
    store, path = Store(tmp_path), tmp_path / "abc.safetensors"
    store.put("abc", {"calls": 3, "seconds": 1.0}, _TENSORS)
    content = path.read_bytes()

    def used(changed):
        path.write_bytes(changed)
        record = store.get("abc", _WANTED, {"distances": (2,), "first": (1, 2, 2)})
        if record is not None:
            assert record.facts == {"calls": 3, "seconds": 1.0} and record.tensors.keys() == _TENSORS.keys()
            assert all(record.tensors[name].numpy().tobytes() == tensor.numpy().tobytes() for name, tensor in _TENSORS.items())
        return record is not None

    numbers = sum(tensor.nbytes for tensor in _TENSORS.values())
    for place in range(len(content)):
        for bit in range(8) if place >= len(content) - numbers else (0, 5):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            assert not used(changed) or place < len(content) - numbers
    assert not used(content[:-8] + bytes(8).replace(b"\0", b"\1"))
    assert used(content)
