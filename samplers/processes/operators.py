"""Plans whose factors are matrices, for processes in which the parts of a state diffuse differently."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ..plan import Plan, Stage
from ..signature import ByCall
from .linear_sde import LinearSDE


@dataclass(frozen=True)
class MatrixStage(Stage):
    """A stage whose factors are matrices. Its numbers are the first entries of the matrices: how position acts on position.

    Attributes:
        matrices: factors of the anchor, the outputs, the noises and the states, in this order. (size, size) for a state whose
            channels are `size` groups of equal length, one group after the other.
        diagonal: whether they are (height, width) factors instead, for a state whose last two axes are frequencies.
    """

    matrices: tuple[torch.Tensor, ...] = field(kw_only=True)
    diagonal: bool = field(kw_only=True)

    def update(
        self, anchor: torch.Tensor, denoised: ByCall, states: ByCall, noises: Sequence[torch.Tensor], guided: torch.Tensor
    ) -> torch.Tensor:
        """The next state, as `Stage.update`; `denoised` is eps."""
        scale, *factors = self.matrices
        tensors = *(denoised[call] for call, _ in self.weights), *noises, *(states[call] for call, _ in self.states)
        state = anchor * scale if self.diagonal else torch.matmul(scale, _grouped(anchor, scale)).reshape(anchor.shape)
        for tensor, factor in zip(tensors, factors, strict=True):
            if self.diagonal:
                state.addcmul_(tensor, factor)
            else:
                added = _grouped(tensor.to(state.dtype), factor)
                _grouped(state, factor).baddbmm_(factor.expand(len(state), *factor.shape), added)
        return state

    def table_row(self) -> str:
        """The factors, for a printed plan."""
        scale, *factors = self.matrices
        names = [f"{call}" for call, _ in self.weights] + [f"n{k}" for k in range(len(self.noise))]
        names += [f"x{call}" for call, _ in self.states]
        terms = (f"{name}: {_shown(factor, '+.6f' if name[0] == 'n' else '+.9f')}" for name, factor in zip(names, factors))
        return f"{_shown(scale, '12.9f')}  " + "  ".join(terms)


def _grouped(state: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    return state.reshape(len(state), len(matrix), -1)


def _shown(matrix: torch.Tensor, spec: str) -> str:
    values = [f"{value:{spec}}" for value in matrix.double().cpu().flatten().tolist()]
    # frequencies go from the mean of the image to the finest detail
    return f"[{values[0]} .. {values[-1]}]" if len(values) > 4 else f"[{' '.join(values)}]"


def process_stage(
    sde: LinearSDE,
    stage: Stage,
    weights: Mapping[int, np.ndarray],
    states: Mapping[int, np.ndarray],
    scale: np.ndarray,
    noise: Sequence[np.ndarray] = (),
) -> Stage:
    """The stage with factors that are matrices of the process, or numbers where all matrices are numbers.

    Weights of outputs and of earlier states are by model call; every matrix is (*grid, size, size). An ArithmeticError says that
    one is not finite.
    """

    def first(factors: Mapping[int, np.ndarray]) -> tuple[tuple[int, float], ...]:
        return tuple((call, float(matrix.flat[0])) for call, matrix in factors.items())

    noises = tuple(float(matrix.flat[0]) for matrix in noise)
    plain = replace(stage, scale=float(scale.flat[0]), weights=first(weights), noise=noises, states=first(states))
    if sde.size == 1 and not sde.grid:
        return plain
    matrices = [scale, *weights.values(), *noise, *states.values()]
    if not np.isfinite(matrices).all():
        raise ArithmeticError(f"plan has a non-finite weight: {matrices}")
    diagonal = sde.grid != ()  # each frequency is a block of one number
    tensors = tuple(torch.from_numpy(np.array(matrix[..., 0, 0] if diagonal else matrix)) for matrix in matrices)
    return MatrixStage(**vars(plain), matrices=tensors, diagonal=diagonal)


def on(plan: Plan, dtype: torch.dtype, device: torch.device) -> Plan:
    """The plan with its matrices on a device and in a dtype, in one copy; itself where there are none."""
    stages = [stage for stage in plan.stages if isinstance(stage, MatrixStage)]
    if not stages:
        return plan
    matrices = iter(torch.stack([matrix for stage in stages for matrix in stage.matrices]).to(dtype).to(device))
    return replace(plan, stages=tuple(replace(s, matrices=tuple(next(matrices) for _ in s.matrices)) for s in stages))
