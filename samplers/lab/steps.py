"""The number of steps of a sampler that fit into a number of model calls."""

import math
from collections.abc import Callable


def most_steps(calls_of: Callable[[int], int], budget: int, least: int = 1) -> int:
    """The most steps, `least` or more, whose model calls fit into the budget; 0 if none do.

    calls_of(steps) gives the model calls and rises with the steps. Its last call is for the steps that are returned.
    """
    steps = budget
    while steps >= least:
        calls = calls_of(steps)
        if calls <= budget:
            return steps
        # a method of k calls per step needs about k times fewer steps
        steps = min(steps - 1, max(least, math.ceil(steps * budget / calls))) if steps > least else 0
    return 0
