"""The choice of defaults: ends of flow grids, nodes of RES-2S and -3S, exponents of `power`, and gDDIM's variable."""

from functools import partial

from . import frozen

PAGE, PARTS, MINUTES = None, ("interior", "nodes", "power", "gddim", "flow_times"), 9
unavailable = frozen.unavailable
report = partial(frozen.report, "choices")
