"""The CLD network that comes with the pack, compared with the exact eps of the digits it was trained on."""

import zlib

import pytest
import torch

from embedded import cld_checkpoint, cld_coordinates
from embedded.digits import digits
from samplers.processes.cld import CLD
from samplers.processes.process_planner import gddim_on
from samplers.processes.process_sampler import run_on
from training import cld_training


@pytest.fixture(scope="module")
def checkpoint():
    return cld_checkpoint.embedded(CLD)


def test_it_is_small():
    """On the disk, and in the archive of the pack."""
    content = cld_checkpoint.DIGITS_CLD.read_bytes()
    assert len(content) < 1.5e6 and len(zlib.compress(content, 9)) < 0.65e6


def test_it_is_of_the_process_of_the_papers(checkpoint):
    assert checkpoint.sde == CLD() and checkpoint.kind == "R"
    torch.testing.assert_close(checkpoint.network.coordinates, cld_coordinates.table(CLD(), "R"), rtol=1e-5, atol=1e-5)


# measured: 0.019, 0.098, 0.31, 0.28, 0.088, 0.024, 0.005, 0.0006; worst where noise has just begun to hide which image it is
@pytest.mark.parametrize(
    "t, bound", [(1e-3, 0.03), (0.01, 0.13), (0.03, 0.37), (0.1, 0.34), (0.2, 0.12), (0.3, 0.04), (0.5, 0.01), (1.0, 0.002)]
)
def test_it_is_near_the_exact_eps(checkpoint, t, bound):
    loss, best, distance = cld_training.compare(checkpoint.network, "R", t, batch=256)
    assert distance < bound
    assert best - 0.01 < loss < best + 0.1


def test_it_knows_the_class(checkpoint):
    """With a wrong class or no class, eps is worse at the times at which the image is decided."""
    network = checkpoint.network
    right = cld_training.compare(network, "R", 0.2)[0]
    wrong = cld_training.compare(lambda u, labels, context: network(u, labels, context.roll(1, dims=2)), "R", 0.2)[0]
    unlabelled = cld_training.compare(lambda u, labels, context: network(u, labels), "R", 0.2)[0]
    assert right < unlabelled < wrong


def test_it_samples_the_digit_it_is_asked_for(checkpoint):
    asked = torch.arange(10).repeat(4)
    context = torch.nn.functional.one_hot(asked, 10).float()[:, None]
    u = torch.randn(40, 2, 8, 8, generator=torch.Generator().manual_seed(7))
    u[:, 1] *= 0.5
    grid = torch.cat([torch.linspace(1.0, 1e-3**0.5, 20, dtype=torch.float64).square(), torch.zeros(1, dtype=torch.float64)])
    end = run_on(gddim_on(CLD(), grid), lambda u, t: checkpoint.network(u, 999 * t, context), u, grid, disable=True)
    mixture = digits()
    nearest = torch.cdist(end[:, 0].flatten(1), mixture.means).argmin(dim=1)
    assert float((mixture.labels[nearest] == asked).float().mean()) >= 0.9
