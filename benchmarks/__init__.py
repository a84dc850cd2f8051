"""Measurements behind the numbers in the documentation; `python -m benchmarks` lists and runs them.

This package measures today's defaults. Studies that were made once are in `studies/` and run in the same way. A benchmark or a
study is a module with these names:

    report(quick)   gives {part: Markdown}. The part "" is the whole report, if this is more than its parts. With quick it
                    measures little, as a trial.
    MINUTES         the minutes that it takes on one CPU thread
    PARTS           the names of the parts, all of which are in the whole; () if there are none
    PAGE            the path of the page that holds the whole; None if the report only fills blocks of other pages

The first line of its docstring says what it measures. `unavailable()`, if there is one, says why it cannot run here. TIMES is
true if the numbers are times, which differ from run to run and which no other process may disturb.
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
