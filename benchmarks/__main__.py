"""Runs benchmarks and writes what they report into the documentation.

.host/venv/bin/python -m benchmarks                     # lists them, what they write and how long they take
.host/venv/bin/python -m benchmarks inversion overhead  # runs these
.host/venv/bin/python -m benchmarks --all               # runs all of them and all studies, which give every number of the docs
.host/venv/bin/python -m benchmarks --all --check       # the same, but shows how the docs would change instead of writing
"""

from .runner import main

if __name__ == "__main__":
    main(__package__, __doc__)
