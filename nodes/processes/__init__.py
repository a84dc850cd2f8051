"""Models whose noise is not the same in every direction, in the graph; the rest of `nodes/` knows nothing of them."""
