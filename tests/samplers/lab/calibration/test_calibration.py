"""A whole calibration, on exact mixtures: seeds, cost, choices, errors."""

import math

import pytest
import torch
from calibration_data import TIMES, Gaussian, grid_of

from embedded.mixture import ring
from samplers.lab.calibration.budget import Settings, cost, split_seeds
from samplers.lab.calibration.calibration import Calibration, Errors, bases, clearly_less, distances, function_of
from samplers.lab.calibration.report import picture, report
from samplers.lab.calibration.search import TRIALS, GridCurve, search
from samplers.lab.reference import NotConverged
from samplers.time_maps import FLOW, VE

BATCH = 8


class Ring:
    """The ring of twelve Gaussians as a problem; every call of the model is counted."""

    def __init__(self, time):
        self.time, self.mixture, self.calls, self.seeds = time, ring(), 0, set()

    def model(self, x, sigma, **_):
        self.calls += 1
        sigma = float(sigma[0])
        return self.mixture.denoise(x.double(), sigma, self.time.alpha(sigma)).to(x)

    def __call__(self, sampler, sigmas, seed):
        self.seeds.add(seed)
        noise = torch.randn(BATCH, 2, generator=torch.Generator().manual_seed(seed))
        return sampler(self.model, noise * sigmas[0], sigmas, {}, None, True)


def calibrated(time, steps=6, **settings):
    """A calibration on the ring, and the problem."""
    problem, sigmas = Ring(time), grid_of(time, steps)
    spent = Settings(16, 16, 32, **settings)
    return Calibration(problem, sigmas, time, 1e-3, 100, BATCH, spent).run(), problem, sigmas, spent


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
def test_it_beats_the_analytic_plans_on_test_seeds(time):
    found, problem, sigmas, spent = calibrated(time)
    assert found.how is not None and found.test["calibrated"].median < 0.7 * found.test["base"].median
    assert problem.seeds == set().union(*found.seeds) and sum(map(len, found.seeds)) == len(problem.seeds)
    assert problem.calls <= cost(sigmas, spent, BATCH).most


def test_what_is_told_of_it():
    """Its errors, those of the chosen analytic plan under that plan's name, and the choice."""
    found = calibrated(VE)[0]
    text = report(found, 32)
    assert f"calibrated: {found.test['calibrated'].median:.5f}" in text and "(analytic, chosen)" in text and "of 32 items" in text
    assert found.base in text and "Grid: as given" in text
    pytest.importorskip("matplotlib", reason="matplotlib of requirements.txt is not in this environment")
    assert picture(found).shape == (312, 840, 3)


def test_the_least_cost_is_what_a_smooth_model_takes():
    """Gaussian data settle at once: the calls announced, up to what roundings of the grid leave out."""
    problem = Ring(VE)
    problem.model = _counted(problem, Gaussian(VE))
    sigmas, spent = grid_of(VE), Settings(8, 8, 8)
    Calibration(problem, sigmas, VE, 1e-3, 0, BATCH, spent).run()
    announced = cost(sigmas, spent, BATCH)
    assert 0.9 * announced.least < problem.calls <= announced.least < announced.most


def _counted(problem, model):
    def call(x, sigma, **_):
        problem.calls += 1
        return model(x, sigma)

    return call


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("seed", [0, 2**64 - 2])
def test_seed_sets_are_disjoint(batch, seed):
    """And large enough, beyond the largest seed too."""
    settings = Settings(8, 5, 9)
    sets = split_seeds(seed, settings, batch)
    every = [seed for seeds in sets for seed in seeds]
    assert len(set(every)) == len(every) and all(0 <= seed < 2**64 for seed in every)
    assert all(len(seeds) * batch >= items > (len(seeds) - 1) * batch for seeds, items in zip(sets, (8, 5, 9)))


def test_the_analytic_plan_is_kept_where_nothing_is_gained():
    """A linear denoiser and RES in its own variable leave rounding alone; whatever is chosen is no worse."""
    found, *_ = calibrated(VE, steps=40)
    assert found.test["calibrated"].log_mean <= 1.05 * found.test["base"].log_mean


def test_a_moved_grid_is_kept_only_if_it_wins():
    """It falls, starts where it did, has as many steps and reuses the reference."""
    found, problem, sigmas, spent = calibrated(VE, steps=5, move_grid=True)
    given, *_ = calibrated(VE, steps=5)
    assert len(found.sigmas) == len(sigmas) and found.sigmas[0] == sigmas[0] and found.sigmas[-1] == 0.0
    assert (found.sigmas.diff() < 0).all() and problem.calls <= cost(sigmas, spent, BATCH).most
    assert torch.equal(found.sigmas, sigmas) != found.moved
    assert found.selection["calibrated"].log_mean <= given.selection["calibrated"].log_mean


def test_a_model_that_never_settles():
    """One that answers with noise."""
    problem = Ring(VE)
    problem.model = lambda x, sigma, **_: torch.randn_like(x)
    with pytest.raises(NotConverged, match="still moves"):
        Calibration(problem, grid_of(VE), VE, 1e-3, 0, BATCH, Settings(8, 8, 8, cap=64)).run()


@pytest.mark.parametrize("name", ["pilots", "selection", "test"])
def test_too_few_items(name):
    with pytest.raises(ValueError, match=name):
        Settings(**{name: -1})


@pytest.mark.parametrize("sigmas", [[1.0, 0.0], [], [0.1, 1.0, 2.0], [1.0, 1.0, 1.0], [2.0, math.nan, 0.0], [2.0, 3.0, 0.0]])
def test_grids_that_cannot_be_fitted_on(sigmas):
    problem = Ring(VE)
    with pytest.raises(ValueError, match="sigmas"):
        Calibration(problem, torch.tensor(sigmas), VE, 1e-3, 0, BATCH, Settings())
    assert problem.calls == 0


def test_clearly_less_needs_more_than_chance():
    """A tenth less everywhere is clear; items that differ by chance are not, and a lost item counts."""
    some = torch.rand(16, generator=torch.Generator().manual_seed(0)).double() + 0.1
    assert clearly_less(0.9 * some, some) and not clearly_less(some, some) and not clearly_less(some.flip(0), some)
    lost = some.clone()
    lost[0] = math.inf
    assert not clearly_less(0.99 * lost, some)


def test_distances_of_what_is_not_finite():
    samples, truth = torch.ones(2, 3), torch.ones(2, 3)
    samples[1, 0] = math.nan
    found = distances(samples, truth)
    assert found[0] == 0.0 and found[1] == math.inf and math.isfinite(Errors.of(found).log_mean)


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
def test_the_curve_gives_the_grid_itself(time):
    """Where nothing is moved; and moves as told."""
    sigmas = grid_of(time, 9)
    curve = GridCurve(sigmas, time, 1e-3)
    torch.testing.assert_close(torch.tensor(curve.grid(curve.knots)), sigmas, rtol=1e-5, atol=0.0)
    knots = curve.knots.copy()
    knots[-1] += 0.5
    grid = curve.grid(knots)
    assert grid[0] == float(sigmas[0]) and time.lam(grid[-2]) == pytest.approx(time.lam(float(sigmas[-2])) + 0.5, abs=1e-4)
    assert GridCurve(sigmas, time, float(sigmas[-2])).grid(knots) is None


def test_the_search_is_bounded_and_finds_what_is_better():
    """Towards a grid whose last sigma is half; no more than TRIALS of them."""
    sigmas, tried = grid_of(VE, 9), []
    curve = GridCurve(sigmas, VE, 1e-3)

    def error(grid):
        tried.append(grid)
        return abs(math.log(grid[-2] / (0.5 * float(sigmas[-2]))))

    best = search(curve, error, math.log(2.0))
    assert len(tried) <= TRIALS and error(best) < 0.2
    assert search(curve, lambda grid: 1.0, 0.5) is None


def test_functions_of_plans_are_samplers():
    """They give what the loop does."""
    sigmas, model = grid_of(FLOW), Gaussian(FLOW)
    x = model.start(1.0).float()
    end = function_of(bases(sigmas, FLOW)["exp_res"])(model, x, sigmas, {}, None, True)
    assert float(distances(end, model.solution(x, 1.0, 0.0)).max()) < 0.05
