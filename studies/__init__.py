"""Studies that were made once; `python -m studies` lists and runs them.

A study is a module as `benchmarks` describes it, and NAMES has its name. `cut`, `noise_path` and `galaxies` run today's code. The
code of the others is frozen: it is in the history of this repository, at the commit that made their pages, and `frozen` runs it
from there.
"""

NAMES = {
    "paper": "paper",
    "gddim": "gddim_tables",
    "choices": "choices",
    "noise_path": "noise_path",
    "cut": "cut",
    "galaxies": "galaxies",
}
