"""gDDIM on CLD: the tables and figures of arXiv 2206.05564 on digits instead of CIFAR-10."""

from functools import partial

from . import frozen

PAGE, PARTS, MINUTES = "docs/gddim_results.md", ("short",), 25
unavailable = frozen.unavailable
report = partial(frozen.page, "gddim", PAGE)
