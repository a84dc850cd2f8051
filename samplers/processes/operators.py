"""Plans whose factors are matrices, for processes in which the parts of a state diffuse differently."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch

from ..plan import Plan, Stage
from .linear_sde import LinearSDE


class Operator:
    """A linear map of states.

    Args:
        matrix: (size, size) for a state whose channels are `size` groups of equal length, one group after the other;
            (height, width) factors for a state whose last two axes are frequencies.

    Raises:
        ArithmeticError: the matrix is not finite.
    """

    def __init__(self, matrix: np.ndarray):
        if not np.isfinite(matrix).all():
            raise ArithmeticError(f"plan has a non-finite weight: {matrix}")
        self.matrix = torch.from_numpy(np.ascontiguousarray(matrix))

    def times(self, state: torch.Tensor) -> torch.Tensor:
        """The map of a state, as a new tensor."""
        raise NotImplementedError

    def add_to(self, result: torch.Tensor, state: torch.Tensor) -> None:
        """Add the map of a state to `result`, in place and without a temporary."""
        raise NotImplementedError

    def __format__(self, spec: str) -> str:
        values = self.matrix.double().cpu().flatten().tolist()
        if len(values) > 4:  # frequencies, from the mean of the image to the finest detail
            return f"[{values[0]:{spec}} .. {values[-1]:{spec}}]"
        return "[" + " ".join(f"{value:{spec}}" for value in values) + "]"


class Block(Operator):
    """One matrix for all numbers of a channel group."""

    def times(self, state: torch.Tensor) -> torch.Tensor:
        """The matrix times the groups of every item."""
        return torch.matmul(self.matrix, self._grouped(state)).reshape(state.shape)

    def add_to(self, result: torch.Tensor, state: torch.Tensor) -> None:
        """Add the map of a state to `result`, by one fused call."""
        size = len(self.matrix)
        self._grouped(result).baddbmm_(self.matrix.expand(len(state), size, size), self._grouped(state.to(result.dtype)))

    def _grouped(self, state: torch.Tensor) -> torch.Tensor:
        return state.reshape(len(state), len(self.matrix), -1)


class Diagonal(Operator):
    """A factor for every frequency."""

    def times(self, state: torch.Tensor) -> torch.Tensor:
        """Every frequency times its factor."""
        return state * self.matrix

    def add_to(self, result: torch.Tensor, state: torch.Tensor) -> None:
        """Add the map of a state to `result`, by one fused call."""
        result.addcmul_(state, self.matrix)


def operator(sde: LinearSDE, matrix: np.ndarray) -> Operator:
    """A matrix of the process as a map of its states."""
    return Diagonal(matrix[..., 0, 0]) if sde.grid else Block(matrix)  # each frequency is a block of one number


class Matrices(NamedTuple):
    """The factors of a stage, in the order of its numbers."""

    scale: Operator
    weights: tuple[Operator, ...]
    noise: tuple[Operator, ...]
    states: tuple[Operator, ...]


@dataclass(frozen=True)
class MatrixStage(Stage):
    """A stage whose factors are matrices. Its numbers are the first entries of the matrices: how position acts on position.

    Attributes:
        matrices: the factors.
    """

    matrices: Matrices = field(kw_only=True)

    def update(
        self,
        anchor: torch.Tensor,
        denoised: Mapping[int, torch.Tensor],
        states: Mapping[int, torch.Tensor],
        noises: Sequence[torch.Tensor],
        guided: torch.Tensor,
    ) -> torch.Tensor:
        """The next state, as `Stage.update`; `denoised` is eps."""
        state = self.matrices.scale.times(anchor)
        tensors = *(denoised[call] for call, _ in self.weights), *noises, *(states[call] for call, _ in self.states)
        for tensor, factor in zip(tensors, chain(*self.matrices[1:]), strict=True):
            factor.add_to(state, tensor)
        return state

    def table_row(self) -> str:
        """The factors, for a printed plan."""
        scale, weights, noise, states = self.matrices
        terms = [f"{call}: {w:+.9f}" for (call, _), w in zip(self.weights, weights)]
        terms += [f"x{call}: {w:+.9f}" for (call, _), w in zip(self.states, states)]
        return f"{scale:12.9f}  " + "  ".join(terms + [f"n{k}: {w:+.6f}" for k, w in enumerate(noise)])


def process_stage(
    sde: LinearSDE,
    stage: Stage,
    weights: Mapping[int, np.ndarray],
    states: Mapping[int, np.ndarray],
    scale: np.ndarray,
    noise: Sequence[np.ndarray] = (),
) -> Stage:
    """A stage whose factors are matrices of the process, or numbers where all matrices are numbers.

    Args:
        sde: the process.
        stage: everything but the factors.
        weights, states: of outputs and of earlier states by model call, (*grid, size, size) each.
        scale, noise: factors of the step's start and of the unit noises, of the same shape.
    """

    def first(matrices: Iterable[np.ndarray]) -> tuple[float, ...]:
        return tuple(float(matrix.flat[0]) for matrix in matrices)

    plain = replace(
        stage,
        scale=float(scale.flat[0]),
        weights=tuple(zip(weights, first(weights.values()))),
        noise=first(noise),
        states=tuple(zip(states, first(states.values()))),
    )
    if sde.size == 1 and not sde.grid:
        return plain
    factors = (tuple(operator(sde, matrix) for matrix in m) for m in (weights.values(), noise, states.values()))
    return MatrixStage(**vars(plain), matrices=Matrices(operator(sde, scale), *factors))


def on(plan: Plan, dtype: torch.dtype, device: torch.device) -> Plan:
    """The plan with its matrices on a device and in a dtype, in one copy; itself where there are none."""
    stages = [stage for stage in plan.stages if isinstance(stage, MatrixStage)]
    if not stages:
        return plan
    flat = [factor for s in stages for factor in (s.matrices.scale, *chain(*s.matrices[1:]))]
    matrices = iter(torch.stack([factor.matrix for factor in flat]).to(dtype).to(device))

    def there(factor: Operator) -> Operator:
        result = object.__new__(type(factor))  # without the check of the numbers, which would wait for the device
        result.matrix = next(matrices)
        return result

    def of(matrices: Matrices) -> Matrices:
        scale, *others = matrices
        return Matrices(there(scale), *(tuple(map(there, factors)) for factors in others))

    return replace(plan, stages=tuple(replace(stage, matrices=of(stage.matrices)) for stage in stages))
