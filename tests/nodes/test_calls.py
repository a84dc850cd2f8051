"""The pack's numbers of model calls equal those counted at the model."""

import functools

import pytest
import torch
from pixelwise import noise_like, sample

FALLING = {"to 0": [14.6, 7.0, 3.0, 1.2, 0.5, 0.2, 0.03, 0.0], "to a sigma": [14.6, 7.0, 3.0, 1.2, 0.5, 0.2]}


@pytest.fixture
def calls(module):
    return module("nodes.calls")


@pytest.mark.parametrize("sigmas", FALLING.values(), ids=FALLING)
def test_every_count_is_the_models(toy, digit, counted, calls, sigmas):
    known, model = calls.samplers_with_known_calls(), toy()
    made = counted(model)
    for name, stages in known.items():
        made.clear()
        sample(model, name, torch.tensor(sigmas), noise_like((1, 1, 8, 8)), digit())
        assert len(made) == calls.calls_on(sigmas, stages), name
    assert len(known) >= 40


class _Compiled:
    __signature__ = 3

    def __call__(self, model, x, sigmas, **options):
        return x


def test_samplers_that_cannot_report_shares_are_traced_as_they_are(pack, calls):
    import comfy.samplers

    ours = comfy.samplers.sampler_object("exp_res")
    subclass = type("Half", (comfy.samplers.KSAMPLER,), {})(ours.sampler_function)
    wrapped = comfy.samplers.KSAMPLER(functools.wraps(ours.sampler_function)(lambda model, x, *rest: x))
    others = comfy.samplers.KSAMPLER(_Compiled()), comfy.samplers.Sampler(), comfy.samplers.sampler_object("euler")
    for sampler in (*others, subclass, wrapped):
        assert calls.with_shares(sampler, print) is sampler
    assert calls.with_shares(ours, print).extra_options == {"on_shares": print}
