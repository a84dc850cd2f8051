"""Progress and interruption of planning, the work before the first model call."""

import contextlib
import time

import comfy.model_management
import comfy.utils

from ..samplers.watch import watched

_FIRST, _EVERY = 1.0, 0.5  # seconds until progress is shown first, and between updates


@contextlib.contextmanager
def watched_by_host():
    """A context in which planning stops when the prompt is interrupted and shows progress if it takes long."""
    with watched(_Planning()):
        yield


class _Planning:
    def __init__(self):
        self._next = time.monotonic() + _FIRST

    def __call__(self, done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY
            comfy.utils.ProgressBar(total).update_absolute(done, total)
