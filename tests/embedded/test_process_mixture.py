"""The exact eps of a mixture under a process agrees with automatic differentiation of its density."""

import numpy as np
import pytest
import torch
from process_examples import PROCESSES, WIDTH, applied, data, state
from torch.distributions import MultivariateNormal

from embedded.process_mixture import ProcessMixture
from samplers.processes.linear_sde import transposed


@pytest.mark.parametrize("kind", ["R", "L"])
@pytest.mark.parametrize("t", [1e-2, 0.3, 0.95])
@pytest.mark.parametrize("name", PROCESSES)
def test_eps_is_minus_k_times_the_score(name, t, kind):
    """The density is a sum of N(u; Psi(t, 0) (mean_k, 0), covariance) over k."""
    sde, mixture = PROCESSES[name], data()
    u = state(sde).requires_grad_(True)
    blocks = u.reshape(len(u), sde.size, -1).transpose(1, 2)
    signal = torch.from_numpy(np.ascontiguousarray(sde.transition(t, 0.0)[..., :1].reshape(-1, sde.size, 1)))
    noise = torch.from_numpy(np.ascontiguousarray(sde.covariance(t).reshape(-1, sde.size, sde.size)))
    normal = MultivariateNormal(torch.zeros(sde.size, dtype=u.dtype), noise + WIDTH**2 * signal @ signal.mT)
    centres = mixture.means[:, None, :, None] * signal[..., 0]
    log_density = normal.log_prob(blocks - centres).sum(dim=2).logsumexp(dim=0)
    score = torch.autograd.grad(log_density.sum(), u)[0]
    result = ProcessMixture(sde, mixture).eps(u.detach(), t, kind)
    torch.testing.assert_close(result, -applied(sde, transposed(sde.factor(t, kind)), score), rtol=1e-8, atol=1e-9)


def test_channels_share_the_frequencies():
    """Two channels with equal states and equal data have the eps of one channel twice."""
    sde, mixture = PROCESSES["blurring"], data(components=1)
    both = type(mixture)(torch.cat([mixture.means, mixture.means], dim=1), mixture.std)
    u = state(sde)
    one = ProcessMixture(sde, mixture).eps(u, 0.4)
    two = ProcessMixture(sde, both).eps(torch.cat([u, u], dim=1), 0.4)
    torch.testing.assert_close(two, torch.cat([one, one], dim=1))


def test_class_weights_choose_components():
    sde = PROCESSES["CLD"]
    mixture = type(data())(data().means, WIDTH, torch.arange(5))
    weights = torch.zeros(16, 5)
    weights[:, 3] = 1.0
    alone = type(mixture)(mixture.means[3:4], WIDTH)
    result = ProcessMixture(sde, mixture).eps(state(sde), 0.3, class_weights=weights)
    torch.testing.assert_close(result, ProcessMixture(sde, alone).eps(state(sde), 0.3))
