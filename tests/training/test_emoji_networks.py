"""The emoji networks of the repository: they are small, have the noise levels of their names."""

import pytest
import torch

from embedded.emoji import emoji
from training import networks
from training.networks import NETWORKS
from training.samples import NAMES


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
