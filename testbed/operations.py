"""Counts what a sampler does between model calls: operations on latents, host reads, live buffers."""

import weakref
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass
class Counts:
    """Totals of one sampling run with a free model.

    Attributes:
        model_calls: calls of the model.
        latent_operations: operations that write a latent-sized tensor, without the model's own.
        host_reads_in_loop: values read by the host after the first model call; each one is a device sync.
        peak_buffers: the largest number of latent-sized buffers at once, with the starting latent and the model's output.
        float64_on_device: float64 tensors made after the first model call.
    """

    model_calls: int = 0
    latent_operations: int = 0
    host_reads_in_loop: int = 0
    peak_buffers: int = 1
    float64_on_device: int = 0


class _Counter(TorchDispatchMode):
    def __init__(self, latent_size: int):
        super().__init__()
        self.latent_size = latent_size
        self.counts = Counts()
        self.in_model = False
        self._alive: list[weakref.ref] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        in_loop = self.counts.model_calls > 0
        if in_loop and func is torch.ops.aten._local_scalar_dense.default:  # noqa: SLF001 (its name)
            self.counts.host_reads_in_loop += 1
        inputs = {t.data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(result):
            if not isinstance(tensor, torch.Tensor):
                continue
            self.counts.float64_on_device += in_loop and tensor.dtype is torch.float64 and not self.in_model
            if tensor.numel() >= self.latent_size:
                writes = func._schema.is_mutable or tensor.data_ptr() not in inputs  # noqa: SLF001 (there is no other way)
                self.counts.latent_operations += writes and not self.in_model
                self._track(tensor)
        return result

    def _track(self, tensor):
        self._alive = [ref for ref in self._alive if ref() is not None] + [weakref.ref(tensor)]
        buffers = {t.data_ptr() for t in (ref() for ref in self._alive) if t is not None}
        self.counts.peak_buffers = max(self.counts.peak_buffers, len(buffers) + 1)

    def model(self, x, sigma, **extra_args):
        """A free denoiser whose output is a new tensor, as a network's is."""
        self.in_model = True
        self.counts.model_calls += 1
        denoised = torch.empty_like(x).fill_(0.5)
        self.in_model = False
        return denoised


def count_operations(sample, latent_size: int) -> Counts:
    """Run `sample(model)` with a counting model; `latent_size` is the number of elements of the latent."""
    with _Counter(latent_size) as counter:
        sample(counter.model)
    return counter.counts
