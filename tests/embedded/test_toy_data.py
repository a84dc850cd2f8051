"""The data of the toy models, and what happens if a file of the pack cannot be read."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from embedded import cld_checkpoint, digits, emoji
from samplers.processes.cld import CLD


def test_classes_are_of_equal_size_and_all_images_differ_and_are_visible_on_white():
    images, labels = emoji.load()
    assert images.shape == (512, 32, 32, 3) and images.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(labels), [emoji.PER_CLASS] * len(emoji.CLASSES))
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)
    assert (255.0 - images).mean(axis=(1, 2, 3)).min() > 15.0


def test_means_are_the_images_channels_first():
    images, labels = emoji.load()
    mixture = emoji.emoji(0.1, torch.float64)
    means = mixture.means.reshape(-1, *emoji.SHAPE)
    np.testing.assert_allclose(means[7, 2].numpy(), images[7, :, :, 2] / 127.5 - 1.0)
    assert mixture.means.min() == -1.0 and mixture.means.max() == 1.0
    assert mixture.labels.tolist() == labels.tolist()


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "another file"])
@pytest.mark.parametrize(
    "module, name, load",
    [
        (emoji, "FILE", emoji.load.__wrapped__),
        (digits, "FILE", digits.load.__wrapped__),
        (cld_checkpoint, "DIGITS_CLD", partial(cld_checkpoint.embedded, CLD)),
    ],
    ids=["emoji", "digits", "digits_cld"],
)
def test_a_file_that_cannot_be_read_is_named_with_the_remedy(tmp_path, monkeypatch, module, name, load, damage):
    whole = getattr(module, name)
    content, file = bytearray(whole.read_bytes()), tmp_path / whole.name
    monkeypatch.setattr(module, name, file)
    if damage == "cut":
        del content[len(content) // 2 :]
    if damage == "changed":
        content[len(content) // 2] ^= 255
    if damage == "another file":
        content[:] = b"version https://git-lfs"
    if damage != "missing":
        file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{file.name} cannot be read \(.*\)\. Install the node pack again") as caught:
        load()
    assert "training/" not in str(caught.value)


def test_another_picture_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(emoji, "FILE", tmp_path / "emoji.png")
    Image.new("RGB", (64, 32)).save(emoji.FILE)
    with pytest.raises(ValueError, match=r"64 x 32 pixels, not 2048 x 256\. Install"):
        emoji.load.__wrapped__()
