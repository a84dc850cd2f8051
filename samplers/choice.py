"""Several rules for one grid, among which the run chooses for each item.

As in variable-order Adams codes (Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, III.7): once the output at
the end of a step is known, each rule's prediction of that point is compared with its own step redone from the four newest
outputs, and rules that were nearer get more weight in the next step. Here they are mixed,

    weight of a rule  ~  miss^-3,

and every miss is a combination of the newest differences of outputs, so that all misses follow from a Gram matrix of four
differences: one new row of inner products per call. Nothing is read back from the device, and an item's numbers do not depend on
its batch, because sums are taken pairwise in a fixed order.

The step to sigma = 0 extrapolates. That is right where outputs go on moving as they did, and wrong where each output is meant
as the answer, as those of step-distilled models are. So the part beyond the last output is multiplied by how far that output
followed the trend of those before, between 0 and `MOST_GAIN`, and by less where it also moved otherwise than the trend.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from .operators import PerItem
from .signature import OnShares

if TYPE_CHECKING:
    from .plan import Alternatives, Stage

DIFFERENCES = 4  # of outputs that are remembered
MOST_GAIN = 1.2
ALL_TREND, ALL_NOISE = 0.5, 1.0  # share of the newest difference off the trend, up to which it is trusted fully, and not at all
FEW_CALLS, MANY_CALLS = 4, 6
# In runs of long steps a correction is made in full up to this share of the output that it rests on, and less beyond: there
# guidance turns outputs so sharply that the one at a wrong point misleads.
LARGE_CHANGE, DISTRUST = 0.5, 8.0
_PIECES = 8
_LEAST_MISS = 1e-6  # of the largest, squared: below it rounding decides


def reach(calls: int) -> float:
    """The largest share of the last step's extrapolation in a run of so many calls: 0 to `FEW_CALLS`, 1 from `MANY_CALLS` on."""
    return min(max((calls - FEW_CALLS) / (MANY_CALLS - FEW_CALLS), 0.0), 1.0)


def of_differences(outputs: Sequence[float]) -> tuple[float, ...]:
    """Weights of outputs, newest first and with the sum 0, as weights of the differences between neighbours."""
    return tuple(-math.fsum(outputs[i + 1 :]) for i in range(DIFFERENCES))


class Choice:
    """The state of the choice along one run.

    Args:
        stages: of the plan, each with alternatives.
        state: the first state, for its shape, dtype and device.
        on_shares: told the weights of the rules after every call.
    """

    def __init__(self, stages: Sequence["Stage"], state: torch.Tensor, on_shares: OnShares = None):
        self._stages, self._on_shares = stages, on_shares
        self._shape = (len(state), *[1] * (state.ndim - 1))
        alternatives = [stage.alternatives for stage in stages if stage.alternatives]
        self._tables = [table.to(state.dtype).to(state.device) for table in _tables(tuple(alternatives))]
        self._gram = state.new_zeros(len(state), DIFFERENCES, DIFFERENCES)
        self._differences = state.new_zeros(DIFFERENCES, len(state), math.prod(state.shape[1:]))
        self.weights = state.new_zeros(len(state), len(alternatives[0].steps))
        self.weights[:, alternatives[0].opening] = 1.0

    def settled(self, call: int, denoised: Mapping[int, torch.Tensor]) -> "Stage":
        """The stage with numbers for every item, once the output of its call is known."""
        of, table = self._stages[call].alternatives, self._tables[call]
        assert of is not None  # as in every stage of such a plan
        rules, columns = len(of.steps), len(of.outputs) + len(of.states)
        square = DIFFERENCES**2
        trend, misses, redone_by, before_by, steps, redone, before = table.split(
            [square, square, DIFFERENCES, DIFFERENCES, columns, columns, columns], dim=1
        )
        if call:
            self._remember(call, denoised[call], denoised[call - 1])
        gram, previous = self._gram.reshape(-1, 1, square), self.weights
        if of.misses:
            self.weights = _weights(_tree_sum(gram * misses[:rules]).clamp(min=0.0))
        if self._on_shares is not None:
            self._on_shares(self.weights)
        correction = _mixed(self.weights, redone[:rules]) - _mixed(previous, before[:rules])
        if of.changes:
            change = _mixed(self.weights, redone_by[:rules]) - _mixed(previous, before_by[:rules])
            correction *= self._trust(change, denoised[call])[:, None]
        numbers = _mixed(self.weights, steps[:rules]) + correction
        if of.trend:
            followed, expected, seen = _tree_sum(gram * trend[:3]).unbind(1)
            gain = (followed / (expected + torch.finfo(expected.dtype).tiny)).clamp(0.0, MOST_GAIN) * of.reach
            gain = gain * _certainty(followed, expected, seen)
            numbers = numbers * gain[:, None]
            numbers[:, 0] += 1.0 - gain  # the newest output
        return self._with(self._stages[call], numbers)

    def _trust(self, change: torch.Tensor, newest: torch.Tensor) -> torch.Tensor:
        """How much of a correction is made, (batch,): all of it, unless it is large beside the output that it rests on."""
        size = _tree_sum((change[:, :, None] * change[:, None, :] * self._gram).flatten(1)).clamp(min=0.0)
        output = newest.reshape(self._differences.shape[1:]).to(size.dtype)
        ratio = (size / (_inner(output, output) + torch.finfo(size.dtype).tiny)).sqrt()
        return 1.0 / (1.0 + DISTRUST * (ratio - LARGE_CHANGE).clamp(min=0.0))

    def _remember(self, call: int, newest: torch.Tensor, before: torch.Tensor) -> None:
        """A new difference where the oldest was, and its inner products with those that are kept."""
        place, kept = call % DIFFERENCES, self._differences
        kept[place].copy_(newest.reshape(kept.shape[1:]))
        kept[place].sub_(before.reshape(kept.shape[1:]))
        products = _inner(kept, kept[place])
        self._gram[:, place, :] = products.T
        self._gram[:, :, place] = products.T

    def _with(self, stage: "Stage", numbers: torch.Tensor) -> "Stage":
        of = stage.alternatives
        assert of is not None
        items = [PerItem(column.reshape(self._shape)) for column in numbers.unbind(1)]
        states = tuple(zip(of.states, items[len(of.outputs) :]))
        return replace(stage, scale=states[0][1], weights=tuple(zip(of.outputs, items)), states=states[1:])


@lru_cache(maxsize=64)
def _tables(alternatives: tuple["Alternatives", ...]) -> tuple[torch.Tensor, ...]:
    """All numbers of every call, a row per rule: quadratic forms of misses and of the trend, weights after and before."""
    return tuple(torch.from_numpy(_table(call, of)) for call, of in enumerate(alternatives))


def _table(call: int, of: "Alternatives") -> np.ndarray:
    rules, square = len(of.steps), DIFFERENCES**2
    rows = max(rules, 3)  # of a trend there are three
    by_place = [(call - place) % DIFFERENCES for place in range(DIFFERENCES)]  # ages of differences, see `Choice._remember`
    misses, trend, changes = np.zeros((rules, square)), np.zeros((rows, square)), np.zeros((2, rules, DIFFERENCES))
    if of.misses:
        miss = np.array(of.misses)[:, by_place]
        misses = (miss[:, :, None] * miss[:, None, :]).reshape(rules, square)
    if of.trend:
        pair = np.array([np.eye(DIFFERENCES)[0], of.trend])[:, by_place]  # the newest difference, and what it should have been
        trend[:3] = (pair[[0, 1, 0], :, None] * pair[[1, 1, 0], None, :]).reshape(3, square)
    if of.changes:
        changes = np.array(of.changes)[:, by_place].reshape(2, rules, DIFFERENCES)
    of_rules = np.hstack([misses, *changes, of.steps, of.redone, of.before])
    return np.hstack([trend, np.pad(of_rules, ((0, rows - rules), (0, 0)))])


def _weights(misses: torch.Tensor) -> torch.Tensor:
    """Shares of the rules from their squared misses, (batch, rules) both; equal ones where none has missed anything."""
    relative = misses / (misses.amax(1, keepdim=True) + torch.finfo(misses.dtype).tiny) + _LEAST_MISS
    merits = 1.0 / (relative * relative.sqrt())  # the power -3 of the miss, of operations that round alike everywhere
    return merits / _tree_sum(merits.clone())[:, None]


def _certainty(followed: torch.Tensor, expected: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """How far the trend is to be trusted, 0 to 1, from inner products of the newest difference and of what it should have been.

    What differs between the two is noise of the model, or detail that no trend shows; a step to sigma = 0 would amplify it.
    """
    tiny = torch.finfo(seen.dtype).tiny
    off = ((seen - 2.0 * followed + expected).clamp(min=0.0) / (seen + tiny)).sqrt()  # as a share of the difference
    return ((ALL_NOISE - off) / (ALL_NOISE - ALL_TREND)).clamp(0.0, 1.0)


def _mixed(weights: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows weighted for every item: (batch, rules) and (rules, columns) to (batch, columns)."""
    return _tree_sum(weights[:, None, :] * rows.T)


def _inner(many: torch.Tensor, one: torch.Tensor) -> torch.Tensor:
    """Inner products over the last axis, in pieces, so that no temporary is as large as a latent."""
    length = one.shape[-1] // _PIECES
    cut = [slice(i * length, (i + 1) * length) for i in range(_PIECES)]
    products = many[..., cut[0]] * one[..., cut[0]]
    for piece in cut[1:]:
        products.addcmul_(many[..., piece], one[..., piece])
    rest = slice(_PIECES * length, None)
    return _tree_sum(products) + _tree_sum(many[..., rest] * one[..., rest])


def _tree_sum(values: torch.Tensor) -> torch.Tensor:
    """Sum over the last axis in an order that depends on its length only, not on other axes or the device; overwrites."""
    length = values.shape[-1]
    if not length:
        return values.sum(-1)
    while length > 1:
        half = (length + 1) // 2
        values[..., : length - half] += values[..., half:length]
        length = half
    return values[..., 0]
