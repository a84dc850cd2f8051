"""The data of the colour model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from embedded import emoji


def test_classes_are_of_equal_size_and_all_images_differ():
    images, labels = emoji.load()
    assert images.shape == (512, 32, 32, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(labels), [emoji.PER_CLASS] * len(emoji.CLASSES))
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_every_image_is_visible_on_white():
    images, _ = emoji.load()
    assert (255.0 - images).mean(axis=(1, 2, 3)).min() > 15.0


def test_means_are_the_images_channels_first():
    images, labels = emoji.load()
    mixture = emoji.emoji(0.1, torch.float64)
    means = mixture.means.reshape(-1, *emoji.SHAPE)
    np.testing.assert_allclose(means[7, 2].numpy(), images[7, :, :, 2] / 127.5 - 1.0)
    assert mixture.means.min() == -1.0 and mixture.means.max() == 1.0
    assert mixture.labels.tolist() == labels.tolist()


def test_the_file_is_small():
    assert emoji.FILE.stat().st_size < 1.3e6


@pytest.fixture
def another_file(tmp_path, monkeypatch):
    path = tmp_path / "emoji.png"
    monkeypatch.setattr(emoji, "FILE", path)
    emoji.load.cache_clear()
    yield path
    emoji.load.cache_clear()


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "no picture"])
def test_a_file_that_cannot_be_read_is_named_with_the_remedy(another_file, damage):
    whole = bytearray(Path(emoji.__file__).with_name("emoji.png").read_bytes())
    if damage == "cut":
        del whole[len(whole) // 2 :]
    if damage == "changed":
        whole[len(whole) // 2] ^= 255
    if damage == "no picture":
        whole[:] = b"version https://git-lfs"
    if damage != "missing":
        another_file.write_bytes(whole)
    with pytest.raises(ValueError, match=r"emoji\.png cannot be read .*Install the node pack again"):
        emoji.load()


def test_another_picture_is_refused(another_file):
    Image.new("RGB", (64, 32)).save(another_file)
    with pytest.raises(ValueError, match="64 x 32 pixels, not 2048 x 256. Install"):
        emoji.load()
