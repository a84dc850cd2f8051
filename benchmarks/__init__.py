"""Measurements behind the numbers in the documentation; `python -m benchmarks` lists and runs them.

This package measures today's defaults. Studies that were made once are in `studies/`, and run in the same way. A benchmark or
a study is a module with

    report(quick)   {part: Markdown}; "" is the whole where that is more than its parts. quick measures little, as a trial
    MINUTES         about how long it takes on one CPU thread
    PARTS           names of the parts, all of which stand in the whole; () where there are none
    PAGE            path of the page that is the whole; None where there is only what blocks in other pages ask for

The first line of its docstring says what it measures. `unavailable()`, if there is one, says why it cannot run here. TIMES is
true where the numbers are times, which no other process may disturb and which differ from run to run.
"""

NAMES = {
    "worlds": "worlds",
    "schedules": "schedule_pairs",
    "inversion": "inversion",
    "stochastic": "strong_error",
    "adaptive": "adaptive_steps",
    "calibrated": "calibrated",
    "lab": "lab",
    "overhead": "overhead",
    "import_time": "import_time",
    "gpu": "gpu",
}
