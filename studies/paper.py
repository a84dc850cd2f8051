"""The RES paper's claims (arXiv 2308.02157) on the pack's own models, with confidence intervals over seeds."""

from functools import partial

from . import frozen

PAGE, PARTS, MINUTES = "docs/results.md", ("short",), 10
unavailable = frozen.unavailable
report = partial(frozen.page, "paper", PAGE)
