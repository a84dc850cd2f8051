"""Studies that were made once, with the pages that they wrote; `python -m studies` lists and runs them.

A study is a module as `benchmarks` describes it, named in NAMES. Its page is made again only where what it measured has changed.
"""

NAMES = {
    "paper": "paper",
    "gddim": "gddim_tables",
    "choices": "choices",
    "noise_path": "noise_path",
    "cut": "cut",
}
