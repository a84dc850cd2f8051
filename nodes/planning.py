"""What the host sees of planning, which is the work before the first model call."""

import contextlib
import time

import comfy.model_management
import comfy.utils

from ..samplers.watch import watched

_FIRST, _EVERY = 1.0, 0.5  # seconds until progress is shown, and between two times


@contextlib.contextmanager
def watched_by_host():
    """Planning within stops when the prompt is interrupted, and shows its progress where it takes long."""
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
