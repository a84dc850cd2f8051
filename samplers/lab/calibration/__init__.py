"""Fits a solver to a model, a guidance scale and a grid: a few scalars per step, in closed form from pilot runs."""
