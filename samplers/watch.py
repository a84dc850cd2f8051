"""Plans of many steps can be watched, and stopped, while they are made.

Planners go through the steps of a grid by `each`, and so call whoever watches, by `watched`, before every step. What the watcher
raises ends the planning.
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
    """Call `watcher` before every step of what is planned within."""
    before = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(before)


def each(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps, one after the other; the watcher, if there is one, is called before each."""
    watcher = _WATCHER.get()
    for done, step in enumerate(steps):
        if watcher is not None:
            watcher(done, len(steps))
        yield step
