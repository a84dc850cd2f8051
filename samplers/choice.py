"""A choice among several rules, made during the run for each item.

Variable-order Adams codes (Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, III.7) do the same. Once the
output at the end of a step is known, each rule's prediction of that point is compared with its own step redone from the four
newest outputs, and rules with better predictions get more weight in the next step. The rules are mixed,

    weight of a rule  ~  miss^-3,

and every miss is a combination of the newest differences of outputs. All misses follow from the Gram matrix of four
differences, which needs one new row of inner products per call. Nothing is read back from the device. An item's numbers do not
depend on its batch, because sums are taken over few numbers at a time, in a fixed order.

An output belongs to the predicted state at which the model was called. Once the step to that state is redone, the state is
another one, and without a second call the output can only be moved along with it, by a share of the correction. Far from the
image and in long steps that is nearer to what the model would answer. The moved output replaces the old one in everything that
follows. The last output is never moved, because it may be the result.

The step to sigma = 0 extrapolates. That is right if outputs keep changing as before, and wrong if each output is a final image,
as with step-distilled models. The part beyond the last output is therefore made only if that output followed the trend of the
outputs before it. What tells is the direction of its change more than the length: where models are smooth, the expected change
is often too long for the last steps of a grid but right for the step to 0, and the noise of a network has no direction. An output
that hardly changed at all is near the end already.
"""

import math
from collections.abc import Mapping, MutableMapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from .signature import OnShares

if TYPE_CHECKING:
    from .plan import Alternatives, Stage

DIFFERENCES = 4  # number of remembered differences of outputs
NO_TREND, ALL_TREND = 0.6, 0.9  # cosine of the newest change with the expected one: no trust up to the first, all from the second
NOT_MOVED, ALL_MOVED = 0.3, 0.5  # the same for the length of the newest change along the expected one, as a share of it
MOST_GAIN = 1.2  # of the last extrapolation, if the newest change was longer than expected
FEW_CALLS, MANY_CALLS = 4, 6
DISTRUST = 8.0  # factor of the part of a change beyond its bound
_PIECES, _PART = 8, 32
_ROUND = _PIECES * _PART  # latents are padded to multiples of it, so that all pieces have one size
_LEAST_MISS = 1e-6  # relative to the largest squared miss; smaller ones are rounding


def reach(calls: int) -> float:
    """The largest share of the last step's extrapolation in a run of `calls` calls: 0 to `FEW_CALLS`, 1 from `MANY_CALLS` on."""
    return min(max((calls - FEW_CALLS) / (MANY_CALLS - FEW_CALLS), 0.0), 1.0)


def difference_weights(outputs: Sequence[float]) -> tuple[float, ...]:
    """Weights of outputs, newest first and with the sum 0, as weights of the differences between neighbours."""
    return tuple(-math.fsum(outputs[i + 1 :]) for i in range(DIFFERENCES))


class Choice:
    """The state of the choice along one run.

    Args:
        stages: of the plan, each with alternatives.
        state: the first state, for its shape, dtype and device.
        on_shares: receives the weights of the rules after every call.
    """

    def __init__(self, stages: Sequence["Stage"], state: torch.Tensor, on_shares: OnShares = None):
        self._stages, self._on_shares = stages, on_shares
        self._shape = (len(state), -1, *[1] * (state.ndim - 1))
        alternatives = [stage.alternatives for stage in stages if stage.alternatives]
        self._tables = _tables(tuple(alternatives), state.dtype, state.device)
        self._gram = state.new_zeros(len(state), DIFFERENCES, DIFFERENCES)
        self._size = math.prod(state.shape[1:])
        self._differences = state.new_zeros(DIFFERENCES, len(state), math.ceil(self._size / _ROUND) * _ROUND)
        self._pieces = self._differences.tensor_split(_PIECES, -1)
        self.weights = state.new_zeros(len(state), len(alternatives[0].steps))
        self.weights[:, alternatives[0].opening] = 1.0

    def update(
        self,
        call: int,
        anchor: torch.Tensor,
        denoised: MutableMapping[int, torch.Tensor],
        states: Mapping[int, torch.Tensor],
        noises: Sequence[torch.Tensor],
        guided: torch.Tensor,
    ) -> torch.Tensor:
        """The next state, like `Stage.update` but with separate factors for every item; may replace the newest output."""
        stage = self._stages[call]
        rules = stage.alternatives
        assert rules is not None  # as in every stage of such a plan
        weights = self.settled(call, denoised).view(self._shape).unbind(1)
        by_output, (by_anchor, *by_state) = weights[: len(rules.outputs)], weights[len(rules.outputs) :]
        if stage.guided:
            by_output = (by_output[0] - stage.guided, *by_output[1:])
        state = anchor * by_anchor
        for earlier, weight in zip(rules.outputs, by_output):
            state.addcmul_(denoised[earlier], weight)
        for earlier, weight in zip(rules.states[1:], by_state):
            state.addcmul_(states[earlier], weight)
        for unit_noise, factor in zip(noises, stage.noise):
            state.add_(unit_noise, alpha=factor)
        if stage.guided:
            state.add_(guided, alpha=stage.guided)
        return state

    def settled(self, call: int, denoised: MutableMapping[int, torch.Tensor]) -> torch.Tensor:
        """Factors for every item once the output of the call is known, (batch, columns of `Alternatives`).

        The factors are for outputs among which the newest one has moved, if the stage has a response.
        """
        rules, table = self._stages[call].alternatives, self._tables[call]
        assert rules is not None
        if call:
            self._remember(call, denoised[call], denoised[call - 1])
        gram, previous = self._gram.view(-1, 1, DIFFERENCES**2), self.weights
        if rules.misses:
            self.weights = _weights((gram * table.misses).sum(-1).clamp_(min=0.0))
        if self._on_shares is not None:
            self._on_shares(self.weights)
        numbers, redone = _mixed(self.weights, table.after).tensor_split(table.split, 1)
        before = _mixed(previous, table.before)
        correction = redone - before
        if rules.changes:
            extrapolated, numbers = numbers.tensor_split((DIFFERENCES,), 1)
            change, correction = correction.tensor_split((DIFFERENCES,), 1)
            output = denoised[call].reshape(len(change), -1).to(change.dtype).tensor_split(_PIECES, -1)
            size = _inner(output, output)
            numbers = table.first_order + self._trust(extrapolated, size, rules.bounds[1]) * (numbers - table.first_order)
            trust = self._trust(change, size, rules.bounds[0])
            correction = correction * trust
            if rules.response:
                self._move(call, denoised, change * trust * rules.response)
        numbers = numbers + correction
        if rules.trend:
            gain = _gain(*(gram * table.trend).sum(-1).unbind(1)) * rules.reach
            numbers = numbers * gain[:, None]
            numbers[:, 0] += 1.0 - gain  # the newest output
        return numbers

    def _trust(self, change: torch.Tensor, output: torch.Tensor, bound: float) -> torch.Tensor:
        """The part of a change that is made, (batch, 1); `output` is the squared size of the newest output."""
        size = (change[:, :, None] * change[:, None, :] * self._gram).flatten(1).sum(-1).clamp_(min=0.0)
        ratio = (size / (output + torch.finfo(size.dtype).tiny)).sqrt_()
        return 1.0 / (1.0 + DISTRUST * (ratio - bound).clamp_(min=0.0))[:, None]

    def _move(self, call: int, denoised: MutableMapping[int, torch.Tensor], change: torch.Tensor) -> None:
        """Add a change, (batch, `DIFFERENCES`) weights of differences, to the newest output and to the newest difference."""
        place, factors = call % DIFFERENCES, change[:, :, None].unbind(1)
        newest, before = self._differences[place], denoised[call - 1]
        newest.mul_(1.0 + factors[place])
        for other in range(place + 1, place + DIFFERENCES):
            newest.addcmul_(self._differences[other % DIFFERENCES], factors[other % DIFFERENCES])
        denoised[call] = before + newest[:, : self._size].view(before.shape)
        products = self._gram[:, place] + (change[:, :, None] * self._gram).sum(1)  # of the new difference with the old ones
        products[:, place] += (change * products).sum(-1)
        self._set_products(place, products)

    def _remember(self, call: int, newest: torch.Tensor, before: torch.Tensor) -> None:
        """Replace the oldest difference with a new one and compute its inner products with the others."""
        place = call % DIFFERENCES
        new = self._differences[place, :, : self._size]
        new.copy_(newest.reshape(new.shape))
        new.sub_(before.reshape(new.shape))
        self._set_products(place, _inner(self._pieces, [piece[place] for piece in self._pieces]).T)

    def _set_products(self, place: int, products: torch.Tensor) -> None:
        """Set the inner products of one difference with all of them, (batch, `DIFFERENCES`)."""
        self._gram[:, place] = products
        self._gram[:, :, place] = products


class _Table(NamedTuple):
    """The numbers of one call on the device; rows are rules."""

    misses: torch.Tensor  # quadratic forms for the squared miss of each rule
    trend: torch.Tensor  # the same for how far the newest output followed the trend, how far it should have, and how far it went
    after: tuple[torch.Tensor, ...]  # rows that get the new weights: the step, and from `split` on the previous step redone
    before: tuple[torch.Tensor, ...]  # rows that get the previous weights: the previous step as it was
    first_order: torch.Tensor  # the step without extrapolation
    split: tuple[int]  # a column of `after`


@lru_cache(maxsize=16)
def _tables(alternatives: tuple["Alternatives", ...], dtype: torch.dtype, device: torch.device) -> tuple[_Table, ...]:
    """The numbers of all calls, in one copy to the device."""
    arrays = [array for call, rules in enumerate(alternatives) for array in _arrays(call, rules)]
    numbers = torch.from_numpy(np.concatenate([array.ravel() for array in arrays])).to(dtype).to(device)
    there = [part.view(array.shape) for part, array in zip(numbers.split([array.size for array in arrays]), arrays)]
    parts = zip(*(there[i::5] for i in range(5)))
    return tuple(
        _Table(misses, trend, after.unbind(0), before.unbind(0), first_order, (after.shape[1] - before.shape[1],))
        for misses, trend, after, before, first_order in parts
    )


def _arrays(call: int, rules: "Alternatives") -> tuple[np.ndarray, ...]:
    """Misses, trend, after, before and first order of a `_Table`."""
    by_place = [(call - place) % DIFFERENCES for place in range(DIFFERENCES)]  # ages of differences, see `Choice._remember`
    miss = np.array(rules.misses).reshape(-1, DIFFERENCES)[:, by_place]
    pair = np.array([np.eye(DIFFERENCES)[0], rules.trend])[:, by_place] if rules.trend else np.zeros((2, DIFFERENCES))
    redone, before, extrapolated = np.array(rules.changes).reshape(3, len(rules.steps), -1)[
        :, :, by_place if rules.changes else ()
    ]
    return (
        (miss[:, :, None] * miss[:, None, :]).reshape(-1, DIFFERENCES**2),
        (pair[[0, 1, 0], :, None] * pair[[1, 1, 0], None, :]).reshape(3, DIFFERENCES**2),
        np.hstack([extrapolated, rules.steps, redone, rules.redone]),
        np.hstack([before, rules.before]),
        np.array(rules.first_order),
    )


def _weights(misses: torch.Tensor) -> torch.Tensor:
    """Shares of the rules from their squared misses, both (batch, rules); equal shares if no rule missed anything."""
    relative = misses / (misses.amax(1, keepdim=True) + torch.finfo(misses.dtype).tiny) + _LEAST_MISS
    merits = 1.0 / (relative * relative.sqrt())  # miss^-3, by operations that round equally on all devices
    return merits / merits.sum(-1, keepdim=True)


def _gain(followed: torch.Tensor, expected: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """How much of the last extrapolation to make, 0 to `MOST_GAIN`.

    Args:
        followed, expected, seen: inner products of the newest difference with the expected one, of the expected one with itself,
            and of the newest one with itself; (batch,) each.
    """
    tiny = torch.finfo(seen.dtype).tiny
    cosine = followed / (expected.clamp(min=0.0).sqrt() * seen.clamp(min=0.0).sqrt() + tiny)
    moved = followed / (expected + tiny)
    trust = ((cosine - NO_TREND) / (ALL_TREND - NO_TREND)).clamp(0.0, 1.0)
    trust = trust * ((moved - NOT_MOVED) / (ALL_MOVED - NOT_MOVED)).clamp(0.0, 1.0)
    return trust * moved.clamp(1.0, MOST_GAIN)


def _mixed(weights: torch.Tensor, rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """Rows weighted for every item: (batch, rules) and one of (columns,) per rule to (batch, columns)."""
    first, *others = weights[:, :, None].unbind(1)
    mixed = first * rows[0]
    for weight, row in zip(others, rows[1:]):
        mixed.addcmul_(weight, row)
    return mixed


def _inner(many: Sequence[torch.Tensor], one: Sequence[torch.Tensor]) -> torch.Tensor:
    """Inner products over the last axis of tensors given in pieces, so that no temporary is as large as a latent."""
    products = many[0] * one[0]
    for a, b in zip(many[1:], one[1:]):
        part = products if a.shape[-1] == products.shape[-1] else products[..., : a.shape[-1]]
        part.addcmul_(a, b)
    return _sum(products)


def _sum(values: torch.Tensor) -> torch.Tensor:
    """Sum over the last axis by sums of `_PART` neighbours, which kernels always add in the same order."""
    while values.shape[-1] > _PART:
        if rest := values.shape[-1] % _PART:
            values = torch.nn.functional.pad(values, (0, _PART - rest))
        values = values.unflatten(-1, (-1, _PART)).sum(-1)
    return values.sum(-1)
