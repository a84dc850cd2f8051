"""The code of ./demo and ./test: a real ComfyUI from the package index, and a client for it."""
