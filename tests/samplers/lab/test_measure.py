"""Cells, ranks and stored results, with an exact denoiser instead of the host."""

import functools
import math
import re
import warnings
from typing import NamedTuple

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


class _Run(NamedTuple):
    samples: torch.Tensor
    calls: int
    seconds: float


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

        return _Run(sampler(denoise, self.noise * sigmas[0].double(), sigmas, disable=True).float(), calls, 0.1)

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


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "lab")


def test_equal_calls_and_true_errors(store):
    runner = _Gaussian()
    measurement = _measurement(runner, store, tolerance=1e-5)
    cells = list(measurement.cells(measurement.plan(ENTRIES, [_schedule(), _schedule("power")], [1, 6, 10, 20])))
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
    order = ranked(cells, measurement.references)
    assert [cell.spread.median for cell in order] == sorted(cell.spread.median for cell in order)
    assert judge(cells, measurement.references, 10).best.calls <= 10
    assert judge(cells, measurement.references, 20).best is order[0]
    text = table(cells, measurement.references, measurement.notes)
    quartiles = re.findall(r"\[[^]]*\]", text.split("|---|")[1])
    assert quartiles and not any(" " in pair for pair in quartiles), "an editor breaks no line inside"
    assert "| 2s + uniform |" in text and "(9 calls)" in text and "order 3" in text
    rows = csv_rows(cells, measurement.references)
    assert [row["rank"] for row in rows] == list(range(1, len(cells) + 1))


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
    entries, schedules = ENTRIES[:3], [_schedule()]
    runner = _Gaussian()
    measurement = _measurement(runner, store)
    work = measurement.cells(measurement.plan(entries, schedules, [6, 10]))
    first = [next(work) for _ in range(4)]
    work.close()
    again = _Gaussian()
    resumed = _measurement(again, store)
    planned = resumed.plan(entries, schedules, [6, 10])
    assert resumed.remaining(planned) == sum(plan.calls for plan in planned[4:])
    cells = list(resumed.cells(planned))
    assert len(again.runs) == 2
    for one, other in zip(first, cells):
        assert one.pair == other.pair and one.calls == other.calls and one.seconds == other.seconds
        assert torch.equal(one.distances, other.distances) and torch.equal(one.first, other.first)
    # another seed, another tolerance or fresh numbers need new runs
    for runner, options in ((_Gaussian(seed=1), {}), (_Gaussian(), {"tolerance": 1e-4}), (_Gaussian(), {"fresh": True})):
        measurement = _measurement(runner, store, **options)
        list(measurement.cells(measurement.plan(entries, schedules, [6, 10])))
        assert sum(runner.runs.count(entry.sampler) for entry in entries) == 6


@pytest.mark.parametrize("damage", ["zeros", "bit", "shape"])
def test_damaged_records_are_measured_again_with_the_same_numbers(tmp_path, damage):
    """This holds for cells and for levels of the reference; a wrong shape would end in an IndexError."""
    store, entries, schedules = Store(tmp_path), ENTRIES[:2], [_schedule()]

    def measured():
        runner = _Gaussian()
        measurement = _measurement(runner, store)
        cells = list(measurement.cells(measurement.plan(entries, schedules, [6, 10])))
        return [cell.distances.tolist() for cell in cells], len(runner.runs)

    expected = measured()
    assert measured()[1] == 0
    for path in tmp_path.glob("*.safetensors"):
        content = bytearray(path.read_bytes())
        if damage == "zeros":
            content[-24:] = bytes(24)
        elif damage == "bit":
            content[-1] ^= 1
        else:
            record = store.get(path.stem)
            store.put(path.stem, record.facts, {name: tensor[:3] for name, tensor in record.tensors.items()})
            continue
        path.write_bytes(content)
    assert measured() == expected


def test_an_interrupt_ends_the_work_and_loses_nothing(store):
    calls = []

    def interrupted(model, x, sigmas, **options):
        calls.append(len(sigmas))
        if len(calls) > 3:  # after the dry runs
            raise _Stop
        return samplers.sample_exp_res_2m(model, x, sigmas, **options)

    measurement = _measurement(_Gaussian(), store)
    planned = measurement.plan([ENTRIES[0], Entry("stops", interrupted)], [_schedule()], [6])
    cells = []
    with pytest.raises(_Stop):
        for cell in measurement.cells(planned):
            cells.append(cell)
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
    measurement = _measurement(_Gaussian(), store)
    cells = list(measurement.cells(measurement.plan(entries, [_schedule()], [1, 10])))
    assert sorted((cell.sampler, cell.budget) for cell in cells) == [("2m", 1), ("2m", 10), ("long", 10), ("many", 10)]
    notes = "\n".join(measurement.notes)
    assert "broken cannot run: of another pack" in notes
    assert "long on uniform cannot run in 1 steps: too short" in notes
    assert "many on uniform needs more than 1 model calls" in notes
    with pytest.raises(ValueError, match="nothing can be measured: broken cannot run"):
        _measurement(_Gaussian(), store).plan([entries[1]], [_schedule()], [5])


def test_what_has_no_place_in_the_plan_costs_no_model_call(store):
    """One item has no distribution, and SDE samplers without an ODE sampler have no best pair."""
    for batch, entries, reason in ((1, ENTRIES[:1], "one item has no distribution"), (8, [], "no ODE sampler")):
        runner = _Gaussian(batch=batch)
        measurement = _measurement(runner, store)
        if entries:
            planned = measurement.plan([*entries, SDE], [_schedule()], [10])
            assert [plan.entry.name for plan in planned] == ["2m"] and reason in "\n".join(measurement.notes)
        else:
            with pytest.raises(ValueError, match=reason):
                measurement.plan([SDE], [_schedule()], [10])
        assert not runner.runs


def test_a_cell_over_its_budget_is_not_the_best_of_it(store):
    """The dry run does not show it, but the counted calls do."""
    measurement = _measurement(_Gaussian(), store)
    cells = list(measurement.cells(measurement.plan(ENTRIES[:2], [_schedule()], [10])))
    far, near = reversed(ranked(cells, measurement.references))
    text = table([near._replace(calls=20), far], measurement.references, [])
    assert f"**{far.spread.median:.3g}**" in text and f"**{near.spread.median:.3g}**" not in text


def test_all_cells_failed(store):
    def fails(model, x, sigmas, **options):
        if runner.runs:  # and not in the dry run
            raise RuntimeError("of another pack")
        return ENTRIES[0].sampler(model, x, sigmas, **options)

    runner = _Gaussian()
    runner.dry = lambda sampler, sigmas: DryRun(len(sigmas) - 1, False)
    measurement = _measurement(runner, store)
    cells = list(measurement.cells(measurement.plan([Entry("fails", fails)], [_schedule()], [10])))
    with pytest.raises(ValueError, match="no best pair: fails on uniform failed at 10 calls: of another pack"):
        judge(cells, measurement.references, 10, notes=measurement.notes)


@pytest.mark.parametrize("budget", [0, -1, 10_001])
def test_budgets_out_of_range(store, budget):
    with pytest.raises(ValueError, match="budgets must be whole numbers from 1"):
        _measurement(_Gaussian(), store).plan(ENTRIES, [_schedule()], [budget])


class _Rough(_Gaussian):
    """A rough network, on which no two levels of the reference agree more closely than this."""

    def __init__(self, roughness, **options):
        super().__init__(**options)
        self.roughness = roughness

    def run(self, sampler, sigmas):
        run = super().run(sampler, sigmas)
        generator = torch.Generator().manual_seed(len(sigmas))
        error = self.roughness * torch.randn(run.samples.shape, generator=generator)
        return run._replace(samples=run.samples + error * run.samples.norm(dim=1, keepdim=True) / 2.0)


def test_a_reference_that_misses_its_tolerance_is_used_all_the_same(store):
    measurement = _measurement(_Rough(2e-3), store, cap=100)
    cells = list(measurement.cells(measurement.plan(ENTRIES[:3], [_schedule()], [5, 10, 40])))
    [reference] = measurement.references.values()
    assert not reference.converged and 1e-3 < reference.agreement < 1e-2
    kept = ranked(cells, measurement.references)
    assert 0 < len(kept) < len(cells)
    assert all((cell in kept) == (cell.spread.median > 3.0 * reference.agreement) for cell in cells if cell.budget < 40)
    verdict = judge(cells, measurement.references, 5)
    assert f"The reference agrees only to {reference.agreement:.1e}, not to 0.001" in verdict.text
    text = table(cells, measurement.references, [], verdict)
    assert "The tolerance is 0.001; raise reference_calls" in text and "| ≈ " in text
    unranked = [row for row in csv_rows(cells, measurement.references) if row["rank"] == ""]
    assert len(unranked) == len(cells) - len(kept) and {row["agreement"] for row in unranked} == {reference.agreement}
    assert "as close to the solution as this reference can measure" in judge(cells, measurement.references, 40).sentence


def test_it_refuses_where_nothing_can_be_told_apart(store):
    measurement = _measurement(_Rough(0.5), store, cap=100)
    cells = list(measurement.cells(measurement.plan(ENTRIES[:1], [_schedule()], [20])))
    with pytest.raises(NotConverged, match="every error is within three times .* Raise reference_calls"):
        judge(cells, measurement.references, 20)


def test_a_reference_that_is_not_finite_ends_the_work_before_any_cell(store):
    measurement = _measurement(_Rough(math.nan), store, cap=100)
    with pytest.raises(NotConverged, match="NaN or infinity"):
        next(measurement.cells(measurement.plan(ENTRIES[:1], [_schedule()], [5])))


def test_sde_samplers_are_apart(store):
    measurement = _measurement(_Gaussian(batch=64), store)
    cells = list(measurement.cells(measurement.plan([ENTRIES[0], SDE], [_schedule()], [10, 20])))
    assert {cell.sampler for cell in ranked(cells, measurement.references)} == {"2m"}
    assert judge(cells, measurement.references, 20).best.sampler == "2m"
    text = table(cells, measurement.references, [])
    assert "never ranked" in text and "apart by chance" in text
    assert {row["kind"] for row in csv_rows(cells, measurement.references)} == {"error", "distance of distributions"}
    only = [cell for cell in cells if cell.stochastic]
    with pytest.raises(ValueError, match="no ODE sampler"):
        judge(only, measurement.references, 20)
    assert picture(only, measurement.references).shape[1] == 1080


def test_schedules_with_another_start_are_not_ranked(store):
    late = Schedule("late", lambda steps: logsnr_grid(steps, SigmaRange(0.03, 5.0), VE))
    measurement = _measurement(_Gaussian(), store)
    cells = list(measurement.cells(measurement.plan(ENTRIES[:2], [_schedule(), late], [6, 10])))
    assert len(measurement.references) == 2
    assert {cell.schedule for cell in ranked(cells, measurement.references)} == {"uniform"}
    assert "Not ranked, because it starts at sigma 5 and not at 14.6" in table(cells, measurement.references, [])


def test_pictures(store):
    measurement = _measurement(_Gaussian(), store)
    cells = list(measurement.cells(measurement.plan(ENTRIES, [_schedule(), _schedule("power")], [6, 10, 20])))
    image = picture(cells, measurement.references)
    assert image.dtype.name == "float32" and image.shape[1] == 1080 and 0.0 <= image.min() < image.max() <= 1.0
    tile, drawn = torch.rand(8, 8, 3).numpy(), []
    shown = strip(cells, measurement.references, lambda cell: drawn.append(cell) or tile, tile)
    assert len(drawn) == len(cells)
    drawn.clear()
    strip(
        [cell._replace(budget=budget) for cell in cells for budget in range(20, 40)],
        measurement.references,
        lambda cell: drawn.append(cell) or tile,
        tile,
    )
    assert len(drawn) == 8 * 6  # only shown images are decoded
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strip(cells, measurement.references, lambda cell: tile * math.nan, tile)
    assert shown.shape[1] == 1080 and shown.shape[0] > 8 * 100
    best = judge(cells, measurement.references, 20)
    drawn.clear()
    strip(cells, measurement.references, lambda cell: drawn.append(cell) or tile, tile, best)
    assert {cell.pair for cell in drawn[:3]} == {best.best.pair}, "on top"
    assert picture(cells, measurement.references, best).shape == (1200, 1080, 3)
    assert picture([], {}).shape == (1200, 1080, 3)
    broken = [cells[0]._replace(distances=torch.full((8,), math.nan))]
    assert picture(broken, measurement.references).shape[1] == 1080 and "inf" in table(broken, measurement.references, [])
