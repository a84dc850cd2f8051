"""Nodes for models whose noise is not the same in every direction. Nothing else in `nodes/` depends on them."""
