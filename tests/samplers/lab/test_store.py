"""Records on the disk: whole, or not there."""

import errno
import os

import pytest
import torch

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


@pytest.mark.parametrize("key", ["../abc", "a/b", "a.b", "", "a\0", "é"])
def test_keys_are_no_paths(tmp_path, key):
    with pytest.raises(ValueError, match="key must be"):
        Store(tmp_path).get(key)


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


def test_a_full_disk_is_told_and_work_goes_on(tmp_path, monkeypatch):
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
