"""The networks of the benchmarks and the examples, and how they were trained; `python -m training` lists and trains them."""
