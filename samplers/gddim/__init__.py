"""gDDIM (arXiv 2206.05564): DDIM for every linear diffusion, deterministic of any degree and stochastic."""
