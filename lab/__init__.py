"""Measuring samplers and fitting them: pure torch and numpy, the host is in `nodes/`."""
