"""Weights that are matrices: how a plan moves the parts of a state that do not diffuse alike.

A `Stage` takes them in the place of numbers. They are made on the CPU in float64 and finite, and moved to the state's device
once, before the first model call.
"""

from collections.abc import Sequence

import numpy as np
import torch


class Operator:
    """A linear map of states.

    Args:
        matrix: (size, size) for a state whose channels are `size` groups of equal length, each group after the other;
            (height, width) of factors for one whose last two axes are frequencies.

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
        if len(values) > 4:  # factors of frequencies, from the mean of the image to the finest detail
            return f"[{values[0]:{spec}} .. {values[-1]:{spec}}]"
        return "[" + " ".join(f"{value:{spec}}" for value in values) + "]"


class Block(Operator):
    """One matrix for all numbers of a channel group."""

    def times(self, state: torch.Tensor) -> torch.Tensor:
        """The matrix times the groups of every item."""
        return torch.matmul(self.matrix, self._grouped(state)).reshape(state.shape)

    def add_to(self, result: torch.Tensor, state: torch.Tensor) -> None:
        """Add that to `result`, by one fused call."""
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
        """Add that to `result`, by one fused call."""
        result.addcmul_(state, self.matrix)


def moved(operators: Sequence[Operator], like: torch.Tensor) -> list[Operator]:
    """The operators, of equal shape, on the device and in the dtype of a state, in one copy."""
    if not operators:
        return []
    matrices = torch.stack([operator.matrix for operator in operators]).to(like.dtype).to(like.device)
    result = []
    for operator, matrix in zip(operators, matrices):
        there = object.__new__(type(operator))  # without looking at the numbers again: that would wait for the device
        there.matrix = matrix
        result.append(there)
    return result


class PerItem(Diagonal):
    """A factor for every item, which is known in the run only.

    Args:
        factors: (batch, 1, ...), on the device of the states.
    """

    def __init__(self, factors: torch.Tensor):
        self.matrix = factors
