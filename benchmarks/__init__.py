"""Measurements behind the numbers in the documentation; `python -m benchmarks` lists and runs them.

A benchmark is a module of this package, named in NAMES, with

    report(quick)   {part: Markdown}, "" the whole where that is more than its parts; quick measures little, to see that it runs
    MINUTES         about how long it takes on one CPU thread
    PARTS           names of the parts, all of which stand in the whole; () where there are none
    PAGE            path of the page that is the whole; None where there is only what blocks in other pages ask for

The first line of its docstring says what it measures; `unavailable()`, if there is one, why it cannot run here.
"""

NAMES = (
    "worlds", "paper", "choices", "inversion", "stochastic", "noise_path", "cut",
    "schedules", "adaptive", "gddim", "calibrated", "lab", "overhead", "import_time", "gpu",
)  # fmt: skip
