"""Notices a latent that holds NaN or infinity, without waiting for the device."""

import math

import torch

from .plan import Stage


class FiniteCheck:
    """A flag for the state after every model call, which is read when it arrives.

    The flag is computed on the device and copied to the CPU without blocking. Flags that have not arrived yet are read after
    later calls, and only the end of the run waits for them. The stages of the plan name the place in an error.
    """

    _PENDING = -1.0  # flags are 0, or NaN

    def __init__(self, stages: tuple[Stage, ...], state: torch.Tensor):
        self._stages = stages
        pinned = state.device.type == "cuda"  # other devices have no pinned memory, and copies may block
        self._flags = torch.full((len(stages),), self._PENDING, dtype=state.dtype, pin_memory=pinned)
        self._arrived = self._flags.numpy()  # the same memory, read without a dispatch
        self._newest = self._flags
        self._noted = self._seen = 0

    def note(self, state: torch.Tensor) -> None:
        """The state after the next model call; a FloatingPointError if a state that has arrived since holds NaN or infinity."""
        total = state.sum(dtype=self._flags.dtype)  # the cheapest check of all elements; the last output may be in half precision
        self._newest = total.mul_(0.0)  # 0 * inf is NaN
        self._flags[self._noted].copy_(self._newest, non_blocking=True)
        self._noted += 1
        self._look()

    def finish(self) -> None:
        """Wait for the flags that have not arrived; raises the same errors as `note`."""
        self._newest.cpu()  # the device works in order, so the earlier flags have arrived as well
        self._look()

    def _look(self) -> None:
        while self._seen < self._noted and self._arrived[self._seen] != self._PENDING:
            if math.isnan(self._arrived[self._seen]):
                stage = self._stages[self._seen]
                raise FloatingPointError(
                    f"the latent holds NaN or infinity after the model call at sigma {stage.sigma:g} in step "
                    f"{stage.step + 1}. Most often a model in half precision has overflowed: load it in bfloat16 or float32, or "
                    "lower the guidance scale. At the first call the latent given may hold it already."
                )
            self._seen += 1
