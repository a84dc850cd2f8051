"""How many steps of a sampler fit a number of model calls."""

import math
from collections.abc import Callable


def most_steps(calls_of: Callable[[int], int], budget: int, least: int = 1) -> int:
    """The most steps whose model calls fit the budget; 0 where none do.

    Args:
        calls_of: steps -> model calls. It rises with the steps; its last call is for the steps that are returned.
        budget: model calls, at most.
        least: steps, at least.
    """
    steps = budget
    while steps >= least:
        calls = calls_of(steps)
        if calls <= budget:
            return steps
        # a method of k calls per step needs about k times fewer steps
        steps = min(steps - 1, max(least, math.ceil(steps * budget / calls))) if steps > least else 0
    return 0
