"""The CLD network: its coordinates, its inputs and outputs, and its exactness before training."""

import numpy as np
import pytest
import torch
from process_examples import state

from embedded import cld_coordinates
from embedded.cld_network import CLDNetwork
from embedded.mixture import GaussianMixture
from embedded.process_mixture import ProcessMixture
from samplers.processes.cld import CLD

TIMES = np.linspace(1e-3**0.5, 1.0, 40) ** 2


def network(kind="R", channels=1) -> CLDNetwork:
    """An untrained network for data of mean 0.3 and standard deviation 0.6."""
    torch.manual_seed(0)
    result = CLDNetwork(channels, 8, 8, features=8).requires_grad_(False)
    result.coordinates.copy_(cld_coordinates.table(CLD(), kind))
    result.mean.fill_(0.3)
    result.std.fill_(0.6)
    return result


def awake() -> CLDNetwork:
    """A network whose correction is not zero."""
    result = network()
    torch.nn.init.normal_(result.unet.leave.weight)
    return result


def states(channels=1):
    return torch.randn(4, 2 * channels, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", ["R", "L"])
def test_coordinates_whiten_a_block_and_split_it(kind):
    """q and r of the table together are K^-1; all signal is along q and none along r."""
    sde = CLD()
    labels = torch.from_numpy(999 * TIMES).float()
    at = cld_coordinates.split(cld_coordinates.table(sde, kind), labels)
    turned = torch.stack([-at.direction[:, 1], at.direction[:, 0]], dim=1)
    inverse = at.direction[:, :, None] * at.image[:, None] + turned[:, :, None] * at.noise[:, None]
    signal = torch.from_numpy(sde.transition(TIMES, 0.0)[..., 0]).float()
    factor = torch.from_numpy(sde.factor(TIMES, kind)).float()
    torch.testing.assert_close(inverse @ factor, torch.eye(2).expand(len(TIMES), 2, 2), rtol=0, atol=3e-4)
    torch.testing.assert_close((at.image * signal).sum(1), at.half_log_snr.exp(), rtol=1e-4, atol=0)
    assert (at.noise * signal).sum(1).abs().max() < 1e-5


def test_coordinates_stay_where_the_process_ends():
    table = cld_coordinates.table(CLD(), "R")
    ends, outside = (cld_coordinates.split(table, torch.tensor(labels)) for labels in ([0.0, 999.0], [-5.0, 1200.0]))
    torch.testing.assert_close(outside, ends, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["R", "L"])
@pytest.mark.parametrize("t", [1e-3, 1e-2, 0.1, 0.4, 1.0])
def test_untrained_it_is_exact_on_a_gaussian(t, kind):
    gaussian = GaussianMixture(torch.full((1, 64), 0.3, dtype=torch.float64), 0.6)
    u = states()
    expected = ProcessMixture(CLD(), gaussian).eps(u.double(), t, kind)
    output = network(kind)(u, torch.full((4,), 999 * t))
    torch.testing.assert_close(output.double(), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_channels_are_all_of_x_and_then_all_of_v():
    """An untrained network treats every channel separately."""
    u, labels = states(channels=3), torch.full((4,), 300.0)
    together = network(channels=3)(u, labels)
    alone = [network()(u[:, [c, 3 + c]], labels) for c in range(3)]
    torch.testing.assert_close(together, torch.cat([torch.cat([one[:, i : i + 1] for one in alone], 1) for i in (0, 1)], 1))


def test_items_have_their_own_time():
    net, u, labels = awake(), states(), torch.tensor([1.0, 50.0, 400.0, 999.0])
    together = net(u, labels)
    for i in range(4):
        torch.testing.assert_close(together[i : i + 1], net(u[i : i + 1], labels[i : i + 1]), rtol=1e-4, atol=1e-4)


def test_context_counts_by_the_shares_of_its_sum():
    """No class is equal shares, in every form."""
    net, u, labels = awake(), states(), torch.full((4,), 30.0)
    no_class = net(u, labels)
    for context in (torch.zeros(4, 1, 10), torch.ones(4, 3, 10), torch.full((4, 1, 10), -1.0), torch.full((1, 1, 10), 0.3)):
        torch.testing.assert_close(net(u, labels, context), no_class)
    context = torch.zeros(4, 2, 10)
    context[:, 0, 3], context[:, 1, 5] = 2.0, 6.0
    shares = torch.zeros(4, 1, 10)
    shares[..., 3], shares[..., 5] = 0.25, 0.75
    output = net(u, labels, context)
    torch.testing.assert_close(output, net(u, labels, shares))
    assert not torch.allclose(output, no_class, atol=1e-3)


def test_refuses_other_shapes_by_name():
    net = network()
    with pytest.raises(ValueError, match=r"latent has items of shape \(1, 8, 8\).*\(2, 8, 8\)"):
        net(torch.zeros(4, 1, 8, 8), torch.ones(4))
    with pytest.raises(ValueError, match=r"latent has items of shape \(2, 3, 2\)"):
        net(state(CLD()), torch.ones(16))
    with pytest.raises(ValueError, match="conditioning has tokens of length 768"):
        net(states(), torch.ones(4), torch.zeros(4, 77, 768))
