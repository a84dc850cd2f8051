"""Linear diffusions whose noise is not the same in every direction: gDDIM (arXiv 2206.05564) and RES on them.

This package imports the core, which knows nothing of it.
"""
