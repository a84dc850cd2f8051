"""Grids follow the shift of a flow model in every form of the host: s = sigma / (1 - sigma) is multiplied by it."""

import math

import numpy as np
import pytest
import torch
from pixelwise import noise_like, sample, schedule
from process_examples import distance

from samplers.size_shift import shift_for

SHIFTING = {
    "ModelSamplingSD3": ({"shift": 3.0}, 3.0),
    "ModelSamplingAuraFlow": ({"shift": 1.73}, 1.73),
    "ModelSamplingFlux": ({"max_shift": 1.15, "base_shift": 0.5, "width": 1024, "height": 1024}, math.exp(1.15)),
}


@pytest.fixture(scope="session")
def sigma_range(module):
    return module("nodes.host").sigma_range


def _patched(model, node):
    from comfy_extras.nodes_model_advanced import NODE_CLASS_MAPPINGS

    kind = NODE_CLASS_MAPPINGS[node]
    return getattr(kind(), kind.FUNCTION)(model, **SHIFTING[node][0])[0]


def _s(sigmas):
    """The s of a grid without its ends."""
    sigmas = sigmas[1:-1].double()
    return sigmas / (1.0 - sigmas)


@pytest.mark.parametrize("node", SHIFTING)
@pytest.mark.parametrize("scheduler", ["logsnr_arctan", "logsnr_uniform"])
def test_schedulers_follow_what_the_hosts_nodes_set(toy, sigma_range, node, scheduler):
    models, shift = (toy("flow", shift=1.0), _patched(toy("flow", shift=1.0), node)), SHIFTING[node][1]
    shifts = [sigma_range(model.get_model_object("model_sampling")).shift for model in models]
    assert shifts == [1.0, pytest.approx(shift, rel=1e-5)]
    for name in (scheduler, "simple"):
        before, after = (_s(schedule(model, 10, name)) for model in models)
        torch.testing.assert_close(after, shift * before, rtol=2e-3, atol=0)


def test_the_shift_of_flux_2_by_resolution(toy, sigma_range):
    """Its scheduler computes the shift and stores it in no model; *ModelSamplingFlux* can set the same shift by its formula."""
    from comfy_extras.nodes_flux import compute_empirical_mu
    from comfy_extras.nodes_model_advanced import ModelSamplingFlux

    for tokens in (1024, 4096, 16384):
        mu = compute_empirical_mu(tokens, 20)
        size = round((tokens * 256) ** 0.5)
        settings = {"max_shift": mu, "base_shift": mu, "width": size, "height": size}
        model = ModelSamplingFlux().patch(toy("flow", shift=1.0), **settings)[0]
        assert sigma_range(model.get_model_object("model_sampling")).shift == pytest.approx(math.exp(mu), rel=1e-5)


def test_a_shift_of_a_class_that_nobody_listed(toy, sigma_range):
    import comfy.model_sampling

    class Squared(torch.nn.Module, comfy.model_sampling.CONST):
        sigmas = 1.0 - torch.linspace(0.999, 0.0, 1000) ** 2

        def percent_to_sigma(self, percent):
            return 1.0 - percent**2

    assert sigma_range(Squared()).shift == pytest.approx(3.0)


@pytest.mark.parametrize("node, shape", [("RESLogSNRSchedule", {"spacing": {"spacing": "uniform"}}), ("RESLogSNRCurve", {})])
def test_the_nodes_follow_it_if_asked(pack, toy, node, shape):
    shape = shape or {"curve": "[[0, 0], [0.3, 0.5], [1, 1]]"}

    def grid(shift, **more):
        return _s(pack[node].execute(model=toy("flow", shift=shift), steps=10, denoise=1.0, **shape, **more).result[0])

    torch.testing.assert_close(grid(5.0), 5.0 * grid(1.0), rtol=1e-3, atol=0)
    torch.testing.assert_close(grid(5.0, follow_shift=False), grid(1.0), rtol=1e-3, atol=0)
    ends = {"range": "logSNR", "start_logsnr": -4.0, "end_logsnr": 4.0}
    torch.testing.assert_close(grid(5.0, range=ends), grid(1.0, range=ends), rtol=1e-3, atol=0)


@pytest.mark.parametrize("kind", ["eps", "v", "edm"])
def test_models_without_a_shift_are_not_changed(pack, toy, kind):
    shape = {"model": toy(kind), "steps": 10, "denoise": 1.0, "spacing": {"spacing": "uniform"}}
    on, off = (pack["RESLogSNRSchedule"].execute(**shape, follow_shift=follow).result[0] for follow in (True, False))
    assert torch.equal(on, off)


@pytest.mark.parametrize("calls, most", [(20, 0.005), (40, 0.001)])
def test_an_exact_model_whose_noise_is_eight_times_as_large(pack, toy, calls, most):
    """HiDream-O1 is such a model. Its noise level is 8 sigma / (1 - sigma); without the 8 the error stays at .018."""
    model = toy("flow")
    sampling = model.get_model_object("model_sampling")
    if not hasattr(sampling, "set_noise_scale"):
        pytest.skip("this host has no noise_scale")
    sampling.set_noise_scale(8.0)

    def sampled(steps):
        sigmas, noise = schedule(model, steps, "logsnr_arctan"), noise_like((8, 1, 8, 8), 5)
        return sample(model, "exp_res", sigmas, noise, [[torch.ones(1, 1, 10), {}]])

    assert distance(sampled(calls), sampled(300)) < most


# --- RES Shift for Size: the shift multiplies the noise level as the side multiplies the coarsest part of a picture ---


def test_a_shift_draws_a_larger_picture_as_none_draws_a_smaller():
    """The constant part of an orthonormal transform of an enlarged picture grows like the shift."""
    rng = np.random.default_rng(0)
    small = rng.normal(size=(32, 32)) + 1.0
    large = np.kron(small, np.ones((2, 3)))
    constant = lambda picture: picture.sum() / np.sqrt(picture.size)  # noqa: E731
    assert shift_for(96, 64) / shift_for(32, 32) == pytest.approx(constant(large) / constant(small))
    assert [shift_for(side, side) for side in (512, 1024)] == [3.0, 6.0]


def test_the_node_says_it_and_the_host_takes_it(pack, toy):
    shift, text = pack["RESShiftForSize"].execute(2048, 512, 3.0).result
    assert shift == 3.0 and text == "2048 x 512: shift 3, where 3 fits 1024 x 1024"
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    [shifted] = ModelSamplingSD3().patch(toy("flow", shift=1.0), shift)
    assert float(shifted.get_model_object("model_sampling").shift) == 3.0
