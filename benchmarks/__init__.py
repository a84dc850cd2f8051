"""Measurements behind the README's numbers; each module runs by `python -m benchmarks.<name>`."""
