"""The emoji networks of the repository: they are small, have the noise levels of their names, and draw the requested class."""

import pytest
import torch

from embedded.emoji import CLASSES, emoji
from training import networks
from training.networks import NETWORKS
from training.samples import NAMES, sample

PER_CLASS = 4
# share of pictures whose nearest emoji has the class asked for
EXPECTED = {"emoji_sd": 0.7, "emoji_ddpm": 0.65, "emoji_flow": 0.8}  # measured: 0.81, 0.78, 0.94


def test_files_are_small():
    assert sum(NETWORKS[name].file.stat().st_size for name in NAMES) < 8_000_000


@pytest.mark.parametrize(
    "name, smallest, largest",
    [("emoji_sd", 0.0292, 14.61), ("emoji_ddpm", 0.01, 157.4), ("emoji_ddpm_early", 0.01, 157.4), ("emoji_flow", 0.001, 1.0)],
)
def test_noise_levels(pack, name, smallest, largest):
    sampling = networks.load(name).get_model_object("model_sampling")
    assert float(sampling.sigma_min) == pytest.approx(smallest, rel=1e-2)
    assert float(sampling.sigma_max) == pytest.approx(largest, rel=1e-3)


def test_pictures_fold_into_latents_and_back():
    network, pictures = NETWORKS["emoji_sd"], emoji().means.reshape(-1, 3, 32, 32)
    latents = networks.to_latent(emoji().means, network)
    assert latents.shape[1:] == network.shape == (12, 16, 16)
    assert torch.equal(networks.to_pictures(latents, network), pictures)


def right(pictures, classes):
    """Share of the pictures whose nearest emoji has the class asked for."""
    data = emoji()
    return float((data.labels[torch.cdist(pictures.flatten(1), data.means).argmin(dim=1)] == classes).float().mean())


@pytest.mark.parametrize("name", EXPECTED)
def test_networks_draw_the_class_they_are_asked_for(pack, name):
    """By chance one in eight would be of the class."""
    classes = torch.arange(len(CLASSES)).repeat_interleave(PER_CLASS)
    assert right(sample(name, classes), classes) > EXPECTED[name]


def test_guidance_is_real(pack):
    """Without a class, a network rarely draws the class; guidance brings it nearer to the class (measured: 0.19, 0.81)."""
    classes = torch.arange(len(CLASSES)).repeat_interleave(PER_CLASS)
    none = sample("emoji_sd", torch.full_like(classes, NETWORKS["emoji_sd"].no_class), cfg=1.0)
    assert right(none, classes) + 0.4 < right(sample("emoji_sd", classes), classes)
