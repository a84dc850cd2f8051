"""SDE samplers are compared on one path for any number of steps, and every sampler converges on it."""

import pytest
import torch

from benchmarks import strong_error
from benchmarks.cases import standard_cases
from benchmarks.strong_error import FixedPath
from samplers.time_maps import FLOW, VE


@pytest.mark.parametrize("time", [VE, FLOW], ids=["ve", "flow"])
def test_the_noise_of_a_step_is_that_of_its_parts(time):
    """Each part is decayed to the step's end by exp(-eta (lambda_end - lambda)), in amplitude of x / sigma."""
    eta, lambdas = 0.7, torch.linspace(-2.0, 2.0, 9, dtype=torch.float64).tolist()
    path = FixedPath(lambdas, time, eta, torch.zeros(2000, 2), seed=0)
    a, b, c = (time.sigma(lambdas[i]) for i in (1, 4, 8))
    clock = [float(path.clock[i]) for i in (1, 4, 8)]
    parts = (clock[1] - clock[0]) ** 0.5 * path(a, b) + (clock[2] - clock[1]) ** 0.5 * path(b, c)
    torch.testing.assert_close((clock[2] - clock[0]) ** 0.5 * path(a, c), parts)
    for noise in (path(a, b), path(b, c), path(a, c)):
        assert float(noise.std()) == pytest.approx(1.0, abs=0.05)
    assert abs(float((path(a, b) * path(b, c)).mean())) < 0.05


def test_every_sampler_converges_on_the_path(pack):
    case = next(case for case in standard_cases(4) if case.name == "digits")
    result = strong_error.distances(case, 0.5, (24, 120))
    for name in (*strong_error.OURS, *strong_error.THEIRS):
        few, many = (float(result[name, calls].median()) for calls in (24, 120))
        assert many < 0.5 * few and many < 0.02, name
