"""The networks of galaxies denoise galaxies."""

import numpy as np
import pytest
import torch

from benchmarks.worlds.solve import solve
from samplers.time_maps import VE
from studies import galaxies


def test_an_image_without_noise_stays_as_it_is(pack):
    """The weights are random, in the order of the files, for 16 patches of 4 x 4 pixels and 8 channels."""
    mixer = [shape for wide in (16, 8) for shape in ((16, wide), (16,), (wide, 16), (wide,))]
    norms = [(8, 16)] * 2 + [(16, 8)] * 2
    shapes = [(8, 2, 4, 4), (8, 1, 1), (1, 8, 4, 4), (1, 1, 1), *(mixer + norms) * 4, *norms[:2]]
    rng = np.random.default_rng(0)
    arrays = [0.1 * rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    network = galaxies.Galaxies([*arrays, np.array(10.0)], 16)
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
