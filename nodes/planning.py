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
    following = time.monotonic() + _FIRST

    def watch(done: int, total: int) -> None:
        nonlocal following
        comfy.model_management.throw_exception_if_processing_interrupted()
        now = time.monotonic()
        if now >= following:
            following = now + _EVERY
            comfy.utils.ProgressBar(total).update_absolute(done, total)

    with watched(watch):
        yield
