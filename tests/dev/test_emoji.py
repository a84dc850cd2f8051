"""The script that makes the picture with the emoji, tried on a stand-in package with one emoji."""

import io
import sys
import tarfile

import pytest
from PIL import Image

from dev import emoji_sheet
from embedded.emoji import CLASSES, PER_CLASS


@pytest.fixture
def package(tmp_path):
    """A package with nothing but a half transparent red square for the first face."""
    data = io.BytesIO()
    Image.new("RGBA", (256, 256), (255, 0, 0, 128)).save(data, "webp", lossless=True)
    entry = tarfile.TarInfo("package/assets/1f600.webp")
    entry.size = len(data.getvalue())
    path = tmp_path / "package.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(entry, io.BytesIO(data.getvalue()))
    return path


def test_there_are_as_many_in_every_class_and_none_twice():
    rows = [emoji_sheet._ROWS[name].split() for name in CLASSES]
    assert {len(row) for row in rows} == {PER_CLASS}
    assert len({item for row in rows for item in row}) == PER_CLASS * len(CLASSES)


def test_what_is_transparent_becomes_white(package):
    with tarfile.open(package) as archive:
        image = emoji_sheet.picture(archive, "😀")
    assert image.size == (32, 32) and image.getpixel((16, 16)) == (255, 127, 127)


@pytest.mark.parametrize("argument, message", [("package.tgz", "has no 😁 (1f601.webp)"), ("none.tgz", "No such file")])
def test_another_package_is_refused_in_one_line(package, monkeypatch, capsys, argument, message):
    monkeypatch.setattr(sys, "argv", ["emoji", str(package.with_name(argument))])
    before = emoji_sheet.FILE.read_bytes()
    assert emoji_sheet.main() == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert emoji_sheet.FILE.read_bytes() == before
