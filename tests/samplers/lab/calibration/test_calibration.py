"""A whole calibration, on exact mixtures: seeds, cost, choices, errors."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from calibration_data import TIMES, Gaussian, grid_of

from embedded.mixture import ring
from samplers.lab.calibration.calibrate import Calibration
from samplers.lab.calibration.fitting import TRIALS, GridCurve, bases
from samplers.lab.calibration.results import (
    CAREFUL,
    QUICK,
    Errors,
    Settings,
    clearly_less,
    distances,
    errors_list,
    picture,
    summary,
)
from samplers.lab.reference import NotConverged
from samplers.loop import run
from samplers.time_maps import VE

BATCH = 8


class Ring:
    """The ring of twelve Gaussians as a problem; every call of the model is counted. `change(smooth, x, sigma)` is the model."""

    def __init__(self, time, batch=BATCH, change=None):
        self.time, self.mixture, self.calls, self.seeds, self.batch = time, ring(), 0, set(), batch
        self.change = change or (lambda smooth, x, sigma: smooth(x, sigma))

    def model(self, x, sigma, **_):
        self.calls += 1
        return self.change(self.smooth, x, sigma)

    def smooth(self, x, sigma):
        sigma = float(sigma[0])
        return self.mixture.denoise(x.double(), sigma, self.time.alpha(sigma)).to(x)

    def __call__(self, sampler, sigmas, seed):
        self.seeds.add(seed)
        noise = torch.randn(self.batch, 2, generator=torch.Generator().manual_seed(seed))
        return sampler(self.model, noise * sigmas[0], sigmas, {}, None, True)


_DEFAULT = Settings(16, 16, 32)


def calibrated(time, steps=6, settings=_DEFAULT, batch=BATCH, seed=100, change=None, **more):
    problem = Ring(time, batch, change)
    calibration = Calibration(problem, grid_of(time, steps), time, 1e-3, seed, batch, settings, **more)
    return calibration.run(), problem, calibration


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
def test_it_beats_the_analytic_plans_on_test_seeds(time):
    result, problem, calibration = calibrated(time)
    assert not result.kept and result.test["calibrated"].median < 0.7 * result.test["base"].median
    assert problem.seeds == set().union(*result.seeds) and sum(map(len, result.seeds)) == len(problem.seeds)
    assert problem.calls <= calibration.cost.most


def test_the_report():
    """The report has the choice, and the errors of the calibration, of the best analytic plan and of the rivals by name."""
    result = calibrated(VE, rivals={"some": partial(run, bases(grid_of(VE), VE)["exp_res_1m"])})[0]
    errors, text = errors_list(result, 32), summary(result, 32)
    assert f"calibrated: {result.test['calibrated'].median:.4g}" in errors and f"{result.analytic}, analytic" in errors
    assert f"some: {result.test['some'].median:.4g}" in errors and "for 32 items" in errors
    assert "times the error of some, the best of 1 other samplers on 32 test items." in text
    assert ("Sample with some here" in text) == (result.test["some"].median < result.test["calibrated"].median / 1.1)
    worse = replace(result, test=result.test | {"some": Errors(0.5 * result.test["calibrated"].median, 1.0)})
    assert "calibrated has 2 times the error of some" in summary(worse, 32) and "Sample with some here." in summary(worse, 32)
    far = replace(result, test=result.test | {"calibrated": Errors(1.234567e-6, 1e-6), "some": Errors(3e-4, 3e-4)})
    assert "calibrated has 0.00412 times the error of some" in summary(far, 32)
    assert "calibrated: 1.235e-06, 1e-06" in errors_list(far, 32)
    exact = Errors(0.0, 1e-7)  # a model whose every output is the answer, such as a distilled one
    assert "calibrated has 1 times the error" in summary(replace(result, test=dict.fromkeys(result.test, exact)), 32)
    assert f"Fitted: {result.base}, ridge" in text and "grid as given" in text
    pytest.importorskip("matplotlib", reason="matplotlib of requirements.txt is not in this environment")
    assert picture(result).shape[1:] == (840, 3)


def test_a_rival_that_fails_is_left_out_and_a_fatal_error_is_not():
    def fails(*args):
        raise KeyError("no such thing")

    result = calibrated(VE, rivals={"some": fails, "nan": lambda model, x, *_: x * math.nan})[0]
    assert "some" not in result.test and result.test["nan"].median == math.inf and "nan times" not in summary(result, 4)
    with pytest.raises(KeyError):
        calibrated(VE, rivals={"some": fails}, fatal=(KeyError,))


@pytest.mark.parametrize("settings, batch, most", [(CAREFUL, 16, 700), (QUICK, 4, 400)], ids=["careful", "quick"])
def test_a_smooth_model_costs_what_was_announced_and_little(settings, batch, most):
    """It is measured at 10 calls with eight rivals; a plan that is kept saves its run on the test seeds."""
    rivals = {str(k): partial(run, bases(grid_of(VE, 10), VE)["exp_res_rule_0"]) for k in range(8)}
    result, problem, calibration = calibrated(VE, 10, settings, batch, rivals=rivals)
    assert problem.calls + 10 * result.kept == calibration.expected < most
    fits = 10 * 2 * len(settings.ridges) if settings is QUICK else 0  # made only where the reference is good enough
    assert calibration.cost.least == calibration.expected - 10 - fits <= problem.calls


def test_a_rough_reference_is_reported_and_costs_no_more_than_announced():
    """On a model with few noise levels, as with rounded timesteps, references never agree, and a fit is still made."""
    change = lambda smooth, x, sigma: smooth(x, (4.0 * sigma.log()).round().div(4.0).exp())  # noqa: E731
    settings = Settings(8, 8, 8, share=1e-9, levels=3)
    result, problem, calibration = calibrated(VE, settings=settings, seed=0, change=change)
    reason = "More steps would not improve the fit" if result.reference.why == "no gain" else "more than was requested"
    assert result.reference.why in ("cap", "no gain") and reason in summary(result, 8)
    assert problem.calls <= calibration.expected <= calibration.cost.most


def test_a_reference_no_better_than_the_base_keeps_the_base():
    """With two coarse levels on an equally fine grid nothing can be fitted, and the report says so."""
    change = lambda smooth, x, sigma: (4.0 * smooth(x, sigma)).round() / 4.0  # noqa: E731
    settings = Settings(8, 8, 8, share=0.0, first=2, levels=2)
    result, problem, calibration = calibrated(VE, 40, settings, seed=0, change=change)
    assert result.reference.coarse == ("no better than it" in summary(result, 8)) and (result.kept or not result.reference.coarse)
    assert problem.calls == calibration.cost.least if result.reference.coarse else problem.calls > calibration.cost.least


def test_linear_data_cost_what_was_announced():
    """On Gaussian data the reference settles at once, so the calls are those announced, except those of needless runs."""
    gaussian = Gaussian(VE)
    _, problem, calibration = calibrated(
        VE, settings=Settings(8, 8, 8), seed=0, change=lambda smooth, x, sigma: gaussian(x, sigma)
    )
    assert 0.9 * calibration.cost.least < problem.calls <= calibration.expected < calibration.cost.most


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("seed", [0, 2**64 - 2])
def test_seed_sets_are_disjoint(batch, seed):
    """They are large enough and continue beyond the largest seed."""
    settings = Settings(8, 5, 9)
    sets = settings.seeds(seed, batch)
    every = [seed for seeds in sets for seed in seeds]
    assert len(set(every)) == len(every) and all(0 <= seed < 2**64 for seed in every)
    assert all(len(seeds) * batch >= items > (len(seeds) - 1) * batch for seeds, items in zip(sets, (8, 5, 9)))


def test_the_analytic_plan_is_kept_where_fits_win_by_no_more_than_noise():
    """Fits must be better by a thousand standard errors here, so the plan is the base's plan."""
    result, *_ = calibrated(VE, settings=Settings(8, 8, 8, noise=1e3))
    assert result.kept and result.plan == bases(grid_of(VE), VE)[result.analytic]
    assert result.test["calibrated"] == result.test["base"] and f"Kept: {result.analytic}" in summary(result, 8)


def test_a_moved_grid_is_kept_only_if_it_wins():
    """It falls, has the same start and number of steps, and reuses the reference."""
    result, problem, calibration = calibrated(VE, 5, Settings(16, 16, 32, move_grid=True))
    given, sigmas = calibrated(VE, 5)[0], grid_of(VE, 5)
    assert len(result.sigmas) == len(sigmas) and result.sigmas[0] == sigmas[0] and result.sigmas[-1] == 0.0
    assert (result.sigmas.diff() < 0).all() and problem.calls <= calibration.cost.most
    assert torch.equal(result.sigmas, sigmas) != result.grid_changed
    assert result.selection["calibrated"].log_mean <= given.selection["calibrated"].log_mean


def test_a_model_whose_output_is_noise_has_no_solution():
    with pytest.raises(NotConverged, match="still moves"):
        calibrated(VE, settings=Settings(8, 8, 8, levels=2), seed=0, change=lambda smooth, x, sigma: torch.randn_like(x))


@pytest.mark.parametrize("name", ["pilots", "selection", "test"])
def test_too_few_items(name):
    with pytest.raises(ValueError, match=name):
        Settings(**{name: -1})


@pytest.mark.parametrize(
    "sigmas", [[1.0, 0.0], [], [0.1, 1.0, 2.0], [1.0, 1.0, 1.0], [2.0, 1.999999, 1.0, 0.0], [2.0, math.nan, 0.0], [2.0, 3.0, 0.0]]
)
def test_grids_that_cannot_be_fitted_on(sigmas):
    with pytest.raises(ValueError, match="sigmas"):
        Calibration(None, torch.tensor(sigmas), VE, 1e-3, 0, BATCH, Settings())


def test_clearly_less_needs_more_than_chance():
    """A tenth less in every item is clear, differences by chance are not, and a lost item, which is not finite, counts."""
    some = torch.rand(16, generator=torch.Generator().manual_seed(0)).double() + 0.1
    assert clearly_less(0.9 * some, some) and not clearly_less(some, some) and not clearly_less(some.flip(0), some)
    lost = some.clone()
    lost[0] = math.inf
    assert not clearly_less(0.99 * lost, some)
    result = distances(torch.tensor([[1.0, 1.0], [math.nan, 1.0]]), torch.ones(2, 2))
    assert result.tolist() == [0.0, math.inf] and math.isfinite(Errors.of(result).log_mean)


@pytest.mark.parametrize("time", TIMES, ids=lambda t: t.name)
def test_the_curve_gives_the_grid_itself_and_moves_with_its_knots(time):
    sigmas = grid_of(time, 9)
    curve = GridCurve(sigmas, time, 1e-3)
    torch.testing.assert_close(torch.tensor(curve.grid(curve.distances)), sigmas, rtol=1e-5, atol=0.0)
    moved = curve.distances.copy()
    moved[-1] += 0.5
    grid = curve.grid(moved)
    assert grid[0] == float(sigmas[0]) and time.lam(grid[-2]) == pytest.approx(time.lam(float(sigmas[-2])) + 0.5, abs=1e-4)
    assert GridCurve(sigmas, time, float(sigmas[-2])).grid(moved) is None


def test_the_search_is_bounded_and_finds_what_is_better():
    """It finds a grid whose last sigma is half, in at most TRIALS trials."""
    sigmas, tried = grid_of(VE, 9), []
    curve = GridCurve(sigmas, VE, 1e-3)

    def error(grid):
        tried.append(grid)
        return abs(math.log(grid[-2] / (0.5 * float(sigmas[-2]))))

    best = curve.search(error)
    assert len(tried) <= TRIALS and error(best) < 0.2
    assert curve.search(lambda grid: 1.0) is None
