"""Cells, ranks and stored results, with an exact denoiser instead of the host."""

import functools
import math
import re
import warnings
from types import SimpleNamespace

import pytest
import torch

import samplers
from samplers.lab.measure import DryRun, Entry, Measurement, Schedule
from samplers.lab.measure_picture import picture
from samplers.lab.measure_report import csv_rows, table
from samplers.lab.reference import NotConverged
from samplers.lab.store import Store
from samplers.lab.strip import strip
from samplers.lab.verdict import judge, ranked
from samplers.schedules import SigmaRange, logsnr_grid
from samplers.time_maps import VE

_RANGE = SigmaRange(0.03, 14.6)
_STD = torch.tensor([0.3, 0.5, 1.0, 2.0], dtype=torch.float64)


class _Stop(Exception):
    pass


class _Gaussian:
    """Runs samplers on Gaussian data of four widths, whose ODE has a closed solution."""

    fingerprint = "gaussian"

    def __init__(self, seed=0, batch=8):
        self.seed, self.shape = seed, (batch, 4)
        self.noise = torch.randn(batch, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.runs = []

    @property
    def solution(self):
        return self.noise * 14.6 * _STD / (_STD**2 + 14.6**2).sqrt()

    def run(self, sampler, sigmas):
        self.runs.append(sampler)
        calls = 0

        def denoise(x, sigma, **_):
            nonlocal calls
            calls += 1
            return x * _STD**2 / (_STD**2 + sigma.reshape(-1, 1) ** 2)

        samples = sampler(denoise, self.noise * sigmas[0].double(), sigmas, disable=True).float()
        return SimpleNamespace(samples=samples, calls=calls, seconds=0.1)

    def dry(self, sampler, sigmas):
        calls = self.run(sampler, sigmas).calls
        self.runs.pop()
        return DryRun(calls, stochastic=sampler is SDE.sampler)


def _schedule(spacing="uniform"):
    return Schedule(spacing, lambda steps: logsnr_grid(steps, _RANGE, VE, spacing))


def _own_steps(model, x, sigmas, **options):
    sigmas = logsnr_grid(7, SigmaRange(float(sigmas[-2]), float(sigmas[0])), VE)
    return samplers.sample_exp_res_2m(model, x, sigmas, **options)


ENTRIES = [
    Entry("2m", samplers.sample_exp_res_2m),
    Entry("2s", samplers.sample_exp_res_2s),
    Entry("3s", samplers.sample_exp_res_3s),
    Entry("own", _own_steps),
]
SDE = Entry("sde", functools.partial(samplers.METHODS["exp_res_2m_sde"].sample, extra_args={"seed": 3}))


def _measurement(runner, store, **options):
    return Measurement(runner, samplers.sample_exp_res_3mc, VE, _RANGE, store, fatal=(_Stop,), **options)


def _measured(store, entries, budgets, schedules=None, runner=None, **options):
    """(cells, the references, the measurement)."""
    measurement = _measurement(runner or _Gaussian(), store, **options)
    cells = list(measurement.cells(measurement.plan(entries, schedules or [_schedule()], budgets)))
    return cells, measurement.references, measurement


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "lab")


def test_equal_calls_and_true_errors(store):
    runner = _Gaussian()
    schedules = [_schedule(), _schedule("power")]
    cells, references, measurement = _measured(store, ENTRIES, [1, 6, 10, 20], schedules, runner, tolerance=1e-5)
    made = {(cell.sampler, cell.budget, cell.calls, cell.steps) for cell in cells if cell.schedule == "uniform"}
    assert made == {
        ("2m", 1, 1, 1), ("2m", 6, 6, 6), ("2m", 10, 10, 10), ("2m", 20, 20, 20),
        ("2s", 1, 1, 1), ("2s", 6, 5, 3), ("2s", 10, 9, 5), ("2s", 20, 19, 10),
        ("3s", 1, 1, 1), ("3s", 6, 4, 2), ("3s", 10, 10, 4), ("3s", 20, 19, 7),
        ("own", 0, 7, 20),
    }  # fmt: skip
    cell = next(cell for cell in cells if (cell.sampler, cell.calls, cell.schedule) == ("2m", 20, "uniform"))
    samples = runner.run(samplers.sample_exp_res_2m, cell.sigmas).samples
    truth = (samples - runner.solution).norm(dim=1) / runner.solution.norm(dim=1)
    assert torch.allclose(cell.distances, truth, rtol=1e-2, atol=1e-5)
    order = ranked(cells, references)
    assert [cell.spread.median for cell in order] == sorted(cell.spread.median for cell in order)
    assert judge(cells, references, 10).best.calls <= 10
    assert judge(cells, references, 20).best is order[0]
    text = table(cells, references, measurement.notes)
    quartiles = re.findall(r"\[[^]]*\]", text.split("|---|")[1])
    assert quartiles and not any(" " in pair for pair in quartiles), "an editor breaks no line inside"
    assert "| 2s + uniform |" in text and "(9 calls)" in text and "order 3" in text
    assert [row["rank"] for row in csv_rows(cells, references)] == list(range(1, len(cells) + 1))


@pytest.mark.parametrize("fresh", [False, True])
def test_the_same_steps_are_run_once(store, fresh):
    """A method of two calls per step takes the same number of steps in 5 and in 6 calls, so both budgets share a cell."""
    runner = _Gaussian()
    measurement = _measurement(runner, store, fresh=fresh)
    planned = measurement.plan(ENTRIES[1:2], [_schedule()], [5, 6])
    assert measurement.remaining(planned) == 5
    cells = list(measurement.cells(planned))
    assert [(cell.budget, cell.calls, cell.steps) for cell in cells] == [(5, 5, 3), (6, 5, 3)]
    assert runner.runs.count(samplers.sample_exp_res_2s) == 1
    assert [row["budget"] for row in csv_rows(cells, measurement.references)] == [5, 6]


def test_it_goes_on_where_it_stopped(store):
    entries, again = ENTRIES[:3], _Gaussian()
    measurement, resumed = _measurement(_Gaussian(), store), _measurement(again, store)
    work = measurement.cells(measurement.plan(entries, [_schedule()], [6, 10]))
    first = [next(work) for _ in range(4)]
    work.close()
    planned = resumed.plan(entries, [_schedule()], [6, 10])
    assert resumed.remaining(planned) == sum(plan.calls for plan in planned[4:])
    cells = list(resumed.cells(planned))
    assert len(again.runs) == 2
    for one, other in zip(first, cells):
        assert one.pair == other.pair and one.calls == other.calls and one.seconds == other.seconds
        assert torch.equal(one.distances, other.distances) and torch.equal(one.first, other.first)
    # another seed, another tolerance or fresh numbers need new runs
    for runner, options in ((_Gaussian(seed=1), {}), (_Gaussian(), {"tolerance": 1e-4}), (_Gaussian(), {"fresh": True})):
        _measured(store, entries, [6, 10], runner=runner, **options)
        assert sum(runner.runs.count(entry.sampler) for entry in entries) == 6


@pytest.mark.parametrize("damage", ["zeros", "bit", "shape"])
def test_damaged_records_are_measured_again_with_the_same_numbers(tmp_path, damage):
    """This holds for cells and for levels of the reference; a wrong shape would end in an IndexError."""
    store = Store(tmp_path)

    def measured():
        runner = _Gaussian()
        cells, *_ = _measured(store, ENTRIES[:2], [6, 10], runner=runner)
        return [cell.distances.tolist() for cell in cells], len(runner.runs)

    expected = measured()
    assert measured()[1] == 0
    for path in tmp_path.glob("*.safetensors"):
        if damage == "shape":
            record = store.get(path.stem)
            store.put(path.stem, record.facts, {name: tensor[:3] for name, tensor in record.tensors.items()})
        else:
            content = path.read_bytes()
            path.write_bytes(content[:-24] + bytes(24) if damage == "zeros" else content[:-1] + bytes([content[-1] ^ 1]))
    assert measured() == expected


def test_an_interrupt_ends_the_work_and_loses_nothing(store):
    calls = []

    def interrupted(model, x, sigmas, **options):
        calls.append(len(sigmas))
        if len(calls) > 3:  # after the dry runs
            raise _Stop
        return samplers.sample_exp_res_2m(model, x, sigmas, **options)

    measurement, cells = _measurement(_Gaussian(), store), []
    planned = measurement.plan([ENTRIES[0], Entry("stops", interrupted)], [_schedule()], [6])
    with pytest.raises(_Stop):
        cells.extend(measurement.cells(planned))
    assert [cell.sampler for cell in cells] == ["2m"]
    assert store.get(planned[0].key) is not None and store.get(planned[1].key) is None


def test_what_fails_leaves_a_note(store):
    def broken(model, x, sigmas, **options):
        raise RuntimeError("of another pack")

    def only_long(model, x, sigmas, **options):
        if len(sigmas) < 8:
            raise ValueError("too short")
        return samplers.sample_exp_res_2m(model, x, sigmas, **options)

    def too_many(model, x, sigmas, **options):
        x = samplers.sample_exp_res_3s(model, x, sigmas, **options)
        return samplers.sample_exp_res_3s(model, x * 0.0 + sigmas[0], sigmas, **options)

    entries = [ENTRIES[0], Entry("broken", broken), Entry("long", only_long), Entry("many", too_many)]
    cells, _, measurement = _measured(store, entries, [1, 10])
    assert sorted((cell.sampler, cell.budget) for cell in cells) == [("2m", 1), ("2m", 10), ("long", 10), ("many", 10)]
    notes = "\n".join(measurement.notes)
    assert "broken cannot run: of another pack" in notes
    assert "long on uniform cannot run in 1 steps: too short" in notes
    assert "many on uniform needs more than 1 model calls" in notes
    with pytest.raises(ValueError, match="nothing can be measured: broken cannot run"):
        _measured(store, [entries[1]], [5])


def test_what_has_no_place_in_the_plan_costs_no_model_call(store):
    """One item has no distribution, and SDE samplers without an ODE sampler have no best pair."""
    single, several = _Gaussian(batch=1), _Gaussian()
    measurement = _measurement(single, store)
    planned = measurement.plan([ENTRIES[0], SDE], [_schedule()], [10])
    assert [plan.entry.name for plan in planned] == ["2m"] and "one item has no distribution" in "\n".join(measurement.notes)
    with pytest.raises(ValueError, match="no ODE sampler"):
        _measurement(several, store).plan([SDE], [_schedule()], [10])
    assert not single.runs and not several.runs


def test_a_cell_over_its_budget_is_not_the_best_of_it(store):
    """The dry run does not show it, but the counted calls do."""
    cells, references, _ = _measured(store, ENTRIES[:2], [10])
    far, near = reversed(ranked(cells, references))
    text = table([near._replace(calls=20), far], references, [])
    assert f"**{far.spread.median:.3g}**" in text and f"**{near.spread.median:.3g}**" not in text


def test_all_cells_failed(store):
    def fails(model, x, sigmas, **options):
        if runner.runs:  # and not in the dry run
            raise RuntimeError("of another pack")
        return ENTRIES[0].sampler(model, x, sigmas, **options)

    runner = _Gaussian()
    runner.dry = lambda sampler, sigmas: DryRun(len(sigmas) - 1, False)
    cells, references, measurement = _measured(store, [Entry("fails", fails)], [10], runner=runner)
    with pytest.raises(ValueError, match="no best pair: fails on uniform failed at 10 calls: of another pack"):
        judge(cells, references, 10, notes=measurement.notes)


@pytest.mark.parametrize("budget", [0, -1, 10_001])
def test_budgets_out_of_range(store, budget):
    with pytest.raises(ValueError, match="budgets must be whole numbers from 1"):
        _measured(store, ENTRIES, [budget])


class _Rough(_Gaussian):
    """A rough network, on which no two levels of the reference agree more closely than this."""

    def __init__(self, roughness, **options):
        super().__init__(**options)
        self.roughness = roughness

    def run(self, sampler, sigmas):
        run = super().run(sampler, sigmas)
        generator = torch.Generator().manual_seed(len(sigmas))
        error = self.roughness * torch.randn(run.samples.shape, generator=generator)
        run.samples += error * run.samples.norm(dim=1, keepdim=True) / 2.0
        return run


def test_a_reference_that_misses_its_tolerance_is_used_all_the_same(store):
    cells, references, _ = _measured(store, ENTRIES[:3], [5, 10, 40], runner=_Rough(2e-3), cap=100)
    [reference] = references.values()
    assert not reference.converged and 1e-3 < reference.agreement < 1e-2
    kept = ranked(cells, references)
    assert 0 < len(kept) < len(cells)
    assert all((cell in kept) == (cell.spread.median > 3.0 * reference.agreement) for cell in cells if cell.budget < 40)
    verdict = judge(cells, references, 5)
    assert f"The reference agrees only to {reference.agreement:.1e}, not to 0.001" in verdict.text
    text = table(cells, references, [], verdict)
    assert "The tolerance is 0.001; raise reference_calls" in text and "| ≈ " in text
    unranked = [row for row in csv_rows(cells, references) if row["rank"] == ""]
    assert len(unranked) == len(cells) - len(kept) and {row["agreement"] for row in unranked} == {reference.agreement}
    assert "as close to the solution as this reference can measure" in judge(cells, references, 40).sentence


def test_a_reference_that_decides_nothing_is_refused(store):
    """If it is not finite, the work ends before any cell."""
    cells, references, _ = _measured(store, ENTRIES[:1], [20], runner=_Rough(0.5), cap=100)
    with pytest.raises(NotConverged, match="every error is within three times .* Raise reference_calls"):
        judge(cells, references, 20)
    measurement = _measurement(_Rough(math.nan), store, cap=100, fresh=True)
    with pytest.raises(NotConverged, match="NaN or infinity"):
        next(measurement.cells(measurement.plan(ENTRIES[:1], [_schedule()], [5])))


def test_sde_samplers_are_apart(store):
    cells, references, _ = _measured(store, [ENTRIES[0], SDE], [10, 20], runner=_Gaussian(batch=64))
    assert {cell.sampler for cell in ranked(cells, references)} == {"2m"}
    assert judge(cells, references, 20).best.sampler == "2m"
    text = table(cells, references, [])
    assert "never ranked" in text and "apart by chance" in text
    assert {row["kind"] for row in csv_rows(cells, references)} == {"error", "distance of distributions"}
    only = [cell for cell in cells if cell.stochastic]
    with pytest.raises(ValueError, match="no ODE sampler"):
        judge(only, references, 20)
    assert picture(only, references).shape[1] == 1080


def test_schedules_with_another_start_are_not_ranked(store):
    late = Schedule("late", lambda steps: logsnr_grid(steps, SigmaRange(0.03, 5.0), VE))
    cells, references, _ = _measured(store, ENTRIES[:2], [6, 10], [_schedule(), late])
    assert len(references) == 2
    assert {cell.schedule for cell in ranked(cells, references)} == {"uniform"}
    assert "Not ranked, because it starts at sigma 5 and not at 14.6" in table(cells, references, [])


def test_pictures(store):
    cells, references, _ = _measured(store, ENTRIES, [6, 10, 20], [_schedule(), _schedule("power")])
    image = picture(cells, references)
    assert image.dtype.name == "float32" and image.shape[1] == 1080 and 0.0 <= image.min() < image.max() <= 1.0
    tile = torch.rand(8, 8, 3).numpy()

    def strip_of(cells, *best):
        """The picture, and the cells whose images were decoded."""
        drawn = []
        return strip(cells, references, lambda cell: drawn.append(cell) or tile, tile, *best), drawn

    shown, drawn = strip_of(cells)
    assert len(drawn) == len(cells) and shown.shape[1] == 1080 and shown.shape[0] > 8 * 100
    _, drawn = strip_of([cell._replace(budget=budget) for cell in cells for budget in range(20, 40)])
    assert len(drawn) == 8 * 6  # only shown images are decoded
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strip(cells, references, lambda cell: tile * math.nan, tile)
    best = judge(cells, references, 20)
    assert {cell.pair for cell in strip_of(cells, best)[1][:3]} == {best.best.pair}, "on top"
    assert picture(cells, references, best).shape == picture([], {}).shape == (1200, 1080, 3)
    broken = [cells[0]._replace(distances=torch.full((8,), math.nan))]
    assert picture(broken, references).shape[1] == 1080 and "inf" in table(broken, references, [])
