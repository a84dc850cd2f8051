"""Linear diffusions whose noise is not the same in every direction, and gDDIM (arXiv 2206.05564) and RES for them.

This package imports the core, and the core does not import it.
"""
