"""The verdict: pairs are compared item by item, with the calls that the best pair saves, and remarks in unclear cases."""

import pytest
import torch

from samplers.lab.measure import Cell
from samplers.lab.reference import Reference
from samplers.lab.verdict import ahead, calls_to_reach, equal_lines, judge

_ITEMS = 32
_HARD = torch.logspace(-1.0, 1.0, _ITEMS, dtype=torch.float64)  # items differ by a factor of 100, as they do


def _reference(agreement=1e-5, tolerance=1e-3):
    return {14.6: Reference(torch.ones(_ITEMS, 2), 96, agreement, agreement, 144, (), tolerance)}


def _line(sampler, errors, schedule="karras", factors=None):
    """A cell for every {calls: median}; `factors` multiply the items' distances."""
    factors = torch.ones(_ITEMS) if factors is None else factors
    shape = _HARD / _HARD.quantile(0.5) * factors
    return [
        Cell(sampler, schedule, calls, calls, calls, 14.6, False, error * shape, torch.zeros(1), torch.ones(calls + 1), 0.1)
        for calls, error in errors.items()
    ]


def _luck(seed, size=1.0):
    return (size * torch.randn(_ITEMS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).exp()


def test_items_are_compared_with_themselves():
    """Quartiles overlap, because items differ by far more than pairs, although one pair is ahead by 20 % in every item."""
    [near], [far] = _line("near", {10: 1.0}), _line("far", {10: 1.2})
    assert near.spread.q75 > far.spread.q25
    assert ahead(near, far) and not ahead(far, near) and not ahead(near, near)


def test_luck_is_not_ahead():
    """Equal pairs may be ahead by chance in one of twenty cases, and with three items or one hardly ever."""
    pairs = [
        _line("a", {10: 1.0}, factors=_luck(seed)) + _line("b", {10: 1.0}, factors=_luck(1000 + seed)) for seed in range(200)
    ]
    assert sum(ahead(one, other) for one, other in pairs) <= 10
    [near], [far] = _line("near", {10: 1.0}), _line("far", {10: 1.2})
    assert not ahead(near._replace(distances=near.distances[:1]), far._replace(distances=far.distances[:1]))


def test_what_the_best_pair_saves():
    """Errors fall as the square of the calls, so a fourth of the error needs twice the calls."""
    rival = _line("dpmpp_2m", {calls: calls**-2.0 for calls in (5, 10, 20, 40)})
    best = _line("exp_res", {calls: calls**-2.0 / 3.61 for calls in (5, 10, 20, 40)})
    verdict = judge([*rival, *best], _reference(), 10, "dpmpp_2m + karras")
    assert verdict.best is best[1]
    assert verdict.sentence == (
        "exp_res + karras is the best of 2 pairs at 10 calls: with 10 calls it is as close as dpmpp_2m + karras with 19."
    )
    verdict = judge([*rival[:3], *best[:3]], _reference(), 20, "dpmpp_2m + karras")
    assert verdict.sentence.endswith("at 20 calls: with 11 calls it is as close as dpmpp_2m + karras with 20.")
    assert "The verdict rests on 32 items." in verdict.remarks
    assert judge([*rival, *best], _reference(), 10, "exp_res + karras").sentence == (
        "exp_res + karras is the best of 2 pairs at 10 calls (the baseline): "
        "with 10 calls it is as close as dpmpp_2m + karras with 19."
    )


def test_calls_are_interpolated_behind_the_last_cell_that_is_too_far():
    line = _line("a", {5: 0.1, 10: 0.01, 20: 0.1, 40: 0.025})
    assert calls_to_reach(line, 0.05) == pytest.approx(20.0 * 2.0**0.5)
    assert calls_to_reach(line, 0.02) is None and calls_to_reach(line, 1.0) == 5.0


def test_no_clear_winner():
    near, far = _line("near", {10: 1.0}, factors=_luck(1)), _line("far", {10: 1.05}, factors=_luck(2))
    verdict = judge([*near, *far], _reference(), 10, "far + karras")
    first = verdict.best.pair
    assert verdict.sentence.startswith("No clear winner at 10 calls: ")
    assert f"{first} and " in verdict.sentence and "cannot be distinguished on 32 items" in verdict.sentence


def test_of_equals_the_one_is_taken_that_is_robust_over_neighbouring_budgets():
    """The pair is slightly closer at 20 calls and the worst of all at 15 and 6."""
    fragile = _line("fragile", {6: 1.45, 15: 0.5, 20: 0.095}, factors=_luck(1, 0.3))
    robust = _line("robust", {6: 0.3, 15: 0.15, 20: 0.1}, factors=_luck(2, 0.3))
    other = _line("other", {6: 0.6, 15: 0.4, 20: 0.3})
    verdict = judge([*fragile, *robust, *other], _reference(), 20, "robust + karras")
    assert verdict.best.sampler == "robust" and "No clear winner" in verdict.sentence
    assert "fragile + karras has the smaller median" in verdict.text or robust[-1].spread.median < fragile[-1].spread.median
    clear = _line("fragile", {6: 1.45, 15: 0.5, 20: 0.03})
    verdict = judge([*clear, *robust, *other], _reference(), 20, "robust + karras")
    assert verdict.best.sampler == "fragile" and "fragile + karras is only number 3 of 3 at 6 calls" in verdict.text


def test_pairs_that_more_calls_make_worse_are_named():
    jumpy = _line("jumpy", {6: 0.3, 10: 0.05, 20: 0.08})
    others = [cell for name in ("a", "b") for cell in _line(name, {6: 0.3, 10: 0.4, 20: 0.2})]
    text = judge([*jumpy, *others], _reference(), 20).text
    assert "jumpy + karras is not monotone: its error is 0.05 at 10 calls and 0.08 at 20." in text
    assert "clearly larger at some budget for a + karras and b + karras." in text
    assert judge([*jumpy, *others], _reference(), 20).best is jumpy[1], "the nearest within 20 calls is the one with 10"


def test_few_items_equal_lines_and_a_missing_baseline_are_said():
    near, far = _line("a", {6: 0.3}), _line("b", {6: 0.4})
    cells = [cell._replace(distances=cell.distances[:8]) for cell in near + far]
    assert "The verdict rests on 8 items. The best of many pairs on fewer than 16" in judge(cells, _reference(), 6).text
    text = judge(near + far, _reference(), 6, "c + karras").text
    assert "The baseline c + karras has no error to compare with." in text
    cells = _line("heun", {6: 0.3, 10: 0.1}) + _line("same", {6: 0.301, 10: 0.1}) + _line("other", {6: 0.3, 10: 0.2})
    assert equal_lines(cells) == [["heun + karras", "same + karras"]]
    assert "Equal at every number of calls: heun + karras = same + karras." in judge(cells, _reference(), 6).text


def test_at_the_floor_the_fewest_calls_win():
    """Both are closer than the reference can distinguish, so the smaller error of the other pair is chance."""
    first = _line("first", {10: 2e-3, 20: 2e-3})
    lucky = _line("lucky", {10: 1e-2, 20: 1e-3})
    verdict = judge([*first, *lucky], _reference(1.3e-3), 20, "lucky + karras")
    assert verdict.best is first[0]
    assert verdict.sentence.startswith("At 10 calls first + karras is as close to the solution as this reference can measure")
    assert "with 10 calls it is as close as lucky + karras with" in verdict.sentence


def test_of_equals_at_the_floor_the_one_is_taken_that_is_better_at_the_neighbouring_budgets():
    """At 10 calls the median of the other pair is smaller, but both are below what the reference can distinguish."""
    lucky = _line("lucky", {6: 0.05, 10: 1e-3, 20: 6e-3})
    steady = _line("steady", {6: 0.01, 10: 2e-3, 20: 2e-3})
    for best_at in (10, 20):
        verdict = judge([*lucky, *steady], _reference(1.3e-3), best_at, "lucky + karras")
        assert verdict.best is steady[1] and verdict.sentence.startswith("At 10 calls steady + karras, as lucky + karras, is")
