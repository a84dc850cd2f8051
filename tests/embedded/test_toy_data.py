"""The data of the toy models."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from embedded import digits, emoji


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


@pytest.fixture(params=[emoji, digits], ids=["emoji", "digits"])
def elsewhere(request, tmp_path, monkeypatch):
    """A module of data, which is to look for its file in another folder."""
    module = request.param
    monkeypatch.setattr(module, "FILE", tmp_path / module.FILE.name)
    module.load.cache_clear()
    yield module
    module.load.cache_clear()


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "another file"])
def test_a_file_that_cannot_be_read_is_named_with_the_remedy(elsewhere, damage):
    whole = bytearray(Path(elsewhere.__file__).with_name(elsewhere.FILE.name).read_bytes())
    if damage == "cut":
        del whole[len(whole) // 2 :]
    if damage == "changed":
        whole[len(whole) // 2] ^= 255
    if damage == "another file":
        whole[:] = b"version https://git-lfs"
    if damage != "missing":
        elsewhere.FILE.write_bytes(whole)
    with pytest.raises(ValueError, match=rf"{elsewhere.FILE.name} cannot be read .*Install the node pack again"):
        elsewhere.load()


@pytest.mark.parametrize("elsewhere", [emoji], indirect=True)
def test_another_picture_is_refused(elsewhere):
    Image.new("RGB", (64, 32)).save(elsewhere.FILE)
    with pytest.raises(ValueError, match=r"64 x 32 pixels, not 2048 x 256\. Install"):
        elsewhere.load()
