"""Data with an exact denoiser, for the models that need no download."""
