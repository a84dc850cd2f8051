"""The networks of galaxies denoise galaxies."""

import numpy as np
import pytest
import torch

from benchmarks.worlds.solve import solve
from samplers.time_maps import VE
from studies import galaxies


def arrays(side):
    """Random weights in the order of the files."""
    rng, channels, hidden, patches = np.random.default_rng(0), 8, 16, (side // 4) ** 2
    mixer = [shape for wide in (patches, channels) for shape in ((hidden, wide), (hidden,), (wide, hidden), (wide,))]
    norms = [(channels, patches)] * 2 + [(patches, channels)] * 2
    shapes = [(channels, 2, 4, 4), (channels, 1, 1), (1, channels, 4, 4), (1, 1, 1), *(mixer + norms) * 4, *norms[:2]]
    return [0.1 * rng.standard_normal(shape, dtype=np.float32) for shape in shapes] + [np.array(10.0)]


def test_an_image_without_noise_stays_as_it_is(pack):
    network = galaxies.Galaxies(arrays(16), 16)
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(network(x, 1e-6), x, rtol=1e-5, atol=1e-5)
    sampling = network.patcher.get_model_object("model_sampling")
    assert (round(float(sampling.sigma_min), 3), round(float(sampling.sigma_max), 1)) == (0.1, 148.4)


@pytest.mark.long
@pytest.mark.parametrize("name", galaxies.NETWORKS)
def test_it_removes_most_of_the_noise(pack, name):
    """From its own samples, whose brightness stands far above the noise that is added."""
    network, generator = galaxies.load(name), torch.Generator().manual_seed(0)
    sigmas = torch.tensor(np.geomspace(148.0, 0.1, 40))
    drawn = solve(network, 148.0 * torch.randn(4, *network.shape, generator=generator), sigmas, VE)
    noise = torch.randn(drawn.shape, generator=generator)
    left = network(drawn + noise, 1.0) - drawn
    assert (left.flatten(1).norm(dim=1) < 0.5 * noise.flatten(1).norm(dim=1)).all()
