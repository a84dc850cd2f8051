"""Data whose ODE has a closed solution, for the tests of calibration."""

import math

import torch
from exact import down_to_0

from samplers.time_maps import FLOW, VE

TIMES = [VE, FLOW]
SHAPE = (6, 2, 3)
STD = 0.7


def grid_of(time, steps=6):
    """SIGMAS, falling to 0, float32 numbers; flow starts at pure noise."""
    return down_to_0(time, -3.0 if time is FLOW else VE.lam(14.0), 3.0, steps).float()


class Gaussian:
    """Data N(0, STD^2): D and the solution of the ODE are linear in x."""

    def __init__(self, time):
        self.time = time

    def __call__(self, x, sigma, **_):
        sigma = float(sigma.flatten()[0])
        return x * (self.time.alpha(sigma) * STD**2 / self.variance(sigma))

    def variance(self, sigma):
        """The variance of x at sigma."""
        return (self.time.alpha(sigma) * STD) ** 2 + sigma**2

    def solution(self, x, start, end):
        """The solution at `end` from x at sigma `start`."""
        return x * math.sqrt(self.variance(end) / self.variance(start))

    def start(self, sigma, seed=0):
        """Draws of the noisy data at sigma."""
        return math.sqrt(self.variance(sigma)) * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)).double()
