"""Fitting a solver to a model, a guidance scale and a grid: the few scalars of every step, in closed form from pilot runs."""
