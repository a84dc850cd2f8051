"""Files are complete or absent, even if the disk fails; names are legal on every system."""

import errno
import os
import stat
import zlib

import pytest

from samplers import disk


def fail(code):
    """A function of the system that fails."""

    def failing(*_, **__):
        raise OSError(code, os.strerror(code))

    return failing


@pytest.mark.parametrize("write", [disk.write, disk.write_new])
def test_a_file_is_written_whole_with_the_rights_of_any_new_file(tmp_path, write):
    write(tmp_path / "new" / "a", b"content")
    (tmp_path / "plain").touch()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]
    assert (tmp_path / "new" / "a").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "new" / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_where_the_disk_refuses_the_old_file_stays_and_no_part_of_the_new_one(tmp_path, monkeypatch, step, code):
    disk.write(tmp_path / "a", b"old")
    monkeypatch.setattr(disk.os, step, fail(code))
    with pytest.raises(OSError, match=os.strerror(code)):
        disk.write(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_a_file_is_on_the_disk_before_its_name_is(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(disk.os, name, lambda *args, name=name, real=real: calls.append(name) or real(*args))
    disk.write(tmp_path / "a", b"content")
    assert calls[:2] == ["fsync", "replace"]


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_is_never_written_over_another(tmp_path, monkeypatch, links):
    """This holds also on file systems without links."""
    if not links:
        monkeypatch.setattr(disk.os, "link", fail(errno.EPERM))
    disk.write_new(tmp_path / "a", b"first")
    with pytest.raises(FileExistsError):
        disk.write_new(tmp_path / "a", b"second")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_bytes() == b"first"


def test_a_folder_is_tried_before_the_work(tmp_path, monkeypatch):
    disk.check_writable(tmp_path / "new", 1000)
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        disk.check_writable(tmp_path / "file", 1)
    with pytest.raises(OSError):
        disk.check_writable(tmp_path / "file" / "below", 1)
    seen = []
    monkeypatch.setattr(disk.os, "fsync", lambda _: seen.extend(path.read_bytes() for path in tmp_path.glob("*.*")))
    disk.check_writable(tmp_path, 1000)
    assert len(zlib.compress(seen[0])) >= 1000, "a disk that compresses is tried too"
    monkeypatch.setattr(disk.os, "fsync", fail(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        disk.check_writable(tmp_path, 1000)
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == []


@pytest.mark.parametrize(
    "name, fault",
    [
        *((name, None) for name in ("a", "a.b", "ä", "console", "con_1", "com10", "a b", ".hidden", "x.con", "a con", "%year%")),
        *((name, "empty") for name in ("", " ")),
        *((name, "ends with") for name in ("x ", "x.", ".", "..", "x. .")),
        *((name, "device") for name in ("con", "CON.txt", "nul.tar.gz", "Com1", "lpt9.csv", "aux .txt", "COM¹", "CONIN$")),
        *((name, "holds one of") for name in ("a/b", "a\\b", "a\0", "a\n", "a:b", "a?", "\ud800")),
    ],
)
def test_names_that_one_system_or_another_cannot_give(name, fault):
    result = disk.fault_of_name(name)
    assert result is None if fault is None else fault in result
