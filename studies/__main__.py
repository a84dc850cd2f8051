"""Runs studies, which were made once, and writes what they report into the documentation.

.host/venv/bin/python -m studies              # lists them, what they write and how long they take
.host/venv/bin/python -m studies paper gddim  # runs these
"""

from benchmarks.runner import main

if __name__ == "__main__":
    main(__package__, __doc__)
