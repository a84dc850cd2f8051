"""The most steps that fit are found with few dry runs."""

import pytest

from samplers.lab.steps import most_steps


@pytest.mark.parametrize("per_step", [1, 2, 3, 4])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("budget", [1, 4, 5, 10, 30])
def test_the_most_steps_that_fit(per_step, last, budget):
    """Methods whose last step takes one call, and methods without such a step."""
    asked = []

    def calls_of(steps):
        asked.append(steps)
        return per_step * (steps - last) + last

    fit = [steps for steps in range(1, budget + 1) if per_step * (steps - last) + last <= budget]
    result = most_steps(calls_of, budget)
    assert result == max(fit, default=0) and (not result or asked[-1] == result)
    assert len(asked) <= 4
    assert most_steps(calls_of, budget, least=3) == max((n for n in fit if n >= 3), default=0)
