"""Code that tests, benchmarks, studies, training and dev share: paths, ComfyUI in this process, a counter of operations."""
