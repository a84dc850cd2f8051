"""Reference trajectories and their grids."""

import pytest
import torch
from calibration_data import TIMES, Gaussian, grid_of

from samplers.lab.calibration.fitting import fine_grid, joined, recorded
from samplers.multistep import multistep_plan
from samplers.time_maps import VE


def trajectory(time, steps, wanted=None, seed=0):
    """A trajectory of Gaussian data, and where it started."""
    model, sigmas = Gaussian(time), grid_of(time)
    fine = torch.tensor(fine_grid(sigmas.tolist(), time, 1e-3, steps))
    x = model.start(float(sigmas[0]), seed)
    return recorded(multistep_plan(fine, 3, time, corrector=True), model, x, fine, None, wanted), x


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
@pytest.mark.parametrize("steps", [1, 7, 64, 500])
def test_fine_grids_hold_every_sigma(time, steps):
    """They fall, and have no more points than announced."""
    sigmas = grid_of(time).tolist()
    fine = fine_grid(sigmas, time, 1e-3, steps)
    assert set(sigmas) <= set(fine) and all(a > b for a, b in zip(fine, fine[1:]))
    assert len(fine) - 1 <= steps + len(sigmas) and fine == torch.tensor(fine).tolist()


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
def test_the_reference_is_the_solution(time):
    """This holds at every sigma of the grid, and between them for the cubic."""
    result, x = trajectory(time, 300)
    model, sigmas = Gaussian(time), grid_of(time).tolist()
    between = [0.3 * a + 0.7 * b for a, b in zip(sigmas, sigmas[1:-1])]
    for sigma in (*sigmas[:-1], *between):
        torch.testing.assert_close(result.at(sigma).double(), model.solution(x, sigmas[0], sigma), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.at(0.0).double(), model.solution(x, sigmas[0], 0.0), rtol=1e-3, atol=1e-3)


def test_only_what_is_asked_for_is_kept_and_joined_in_order():
    sigmas = grid_of(VE)
    result, _ = trajectory(VE, 64, sigmas)
    assert result.sigmas == sigmas.tolist()[:-1]
    with pytest.raises(ValueError, match="not on the trajectory"):
        result.at(2.0 * float(sigmas[0]))
    parts = [trajectory(VE, 32, seed=seed)[0] for seed in (0, 1)]
    whole = joined(parts)
    for index, sigma in enumerate(whole.sigmas):
        assert torch.equal(whole.x[index], torch.cat([p.at(sigma) for p in parts]))
    assert len(whole.end) == sum(len(p.end) for p in parts)
