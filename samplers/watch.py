"""Lets a caller watch and stop the planning of many steps.

Planners go through the steps of a grid by `each`, which calls the watcher of `watched` before every step. An exception of the
watcher ends the planning.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TypeVar

Step = TypeVar("Step")
Watcher = Callable[[int, int], object]  # (steps done, steps in all)
_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextlib.contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` before every step that is planned within this context."""
    before = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(before)


def each(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps, one after the other; the watcher, if any, is called before each step."""
    watcher = _WATCHER.get()
    for done, step in enumerate(steps):
        if watcher is not None:
            watcher(done, len(steps))
        yield step
