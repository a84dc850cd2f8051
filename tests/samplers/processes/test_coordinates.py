"""Latents become states of a process, and states become latents."""

import numpy as np
import pytest
import torch
from process_examples import PROCESSES, applied, state

from samplers.processes.coordinates import Coordinates, DenoisedData
from samplers.processes.process_times import time_grid

on_every_process = pytest.mark.parametrize("sde", PROCESSES.values(), ids=PROCESSES)


def _data(batch):
    return torch.randn(batch, 2, 3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@on_every_process
def test_there_and_back(sde):
    data = _data(3)
    coordinates = Coordinates(sde, data)
    torch.testing.assert_close(coordinates.to_seen(coordinates.to_state(data)), data)
    assert float(coordinates.to_state(data).norm()) == pytest.approx(float(data.norm()))


@pytest.mark.parametrize("t", [0.05, 0.9])
@on_every_process
def test_a_state_is_the_data_under_the_process(sde, t):
    """Its mean is Psi (data, 0) and its covariance Sigma_t; channels are independent."""
    data = _data(1).expand(20000, -1, -1, -1)
    coordinates = Coordinates(sde, data)
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(data.shape, generator=generator, dtype=torch.float64)
    rest = torch.randn(len(data), 2 * sde.size, 3, 2, generator=generator, dtype=torch.float64)
    u = coordinates.started(t, coordinates.noised(t, data, noise), data, rest)
    assert u.shape == (len(data), 2 * sde.size, 3, 2)
    blocks = u.reshape(len(u), sde.size, 2, 3, 2)
    clean = torch.cat([coordinates.to_state(data[:1]), torch.zeros(1, 2 * sde.size - 2, 3, 2)], dim=1)
    assert (u.mean(dim=0) - applied(sde, sde.transition(t, 0.0), clean)).abs().max() < 0.05
    covariance = np.broadcast_to(sde.covariance(t), (3, 2, sde.size, sde.size))
    for row, column in np.ndindex(3, 2):
        result = torch.cov(blocks[:, :, 1, row, column].T).reshape(sde.size, sde.size)
        np.testing.assert_allclose(result, covariance[row, column], atol=0.03)


@pytest.mark.parametrize("kind", ["R", "L"])
@on_every_process
def test_previews_are_the_mean_of_the_data(sde, kind):
    """The data part of Psi(0, t) (u - K eps) removes exact noise."""
    t, data = 0.2, _data(5)
    coordinates, eps = Coordinates(sde, data), torch.cat([state(sde, 5), state(sde, 5, seed=1)], dim=1)
    clean = torch.cat([coordinates.to_state(data)] + [torch.zeros_like(data)] * (sde.size - 1), dim=1)
    u = applied(sde, sde.transition(t, 0.0), clean) + applied(sde, sde.factor(t, kind), eps)
    previews = DenoisedData(sde, kind, coordinates, [0.9, t], u)
    torch.testing.assert_close(previews.at(1, u, eps), data, rtol=1e-6, atol=1e-6)


@on_every_process
@pytest.mark.parametrize("power", [1.0, 2.0, 3.5])
def test_times(sde, power):
    times = time_grid(sde, 9, power)
    assert len(times) == 10 and times[0] == sde.t_max and times[-1] == 0.0
    gaps = np.diff(np.array(times[:-1]) ** (1.0 / power))
    np.testing.assert_allclose(gaps, gaps[0])
    assert times[-2] == pytest.approx(sde.t_min)
    assert time_grid(sde, 1) == [sde.t_max, 0.0]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"power": 0.0}, "power must be above 0, got 0"),
        ({"power": float("nan")}, "power must be above 0, got nan"),
        ({"last": 0.0}, "t_min must be above 0 and below 1, where sampling starts; got 0"),
        ({"last": 1.5}, "t_min must be above 0 and below 1, where sampling starts; got 1.5"),
    ],
)
def test_times_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        time_grid(PROCESSES["CLD"], **{"steps": 5, **arguments})
