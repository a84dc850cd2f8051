"""The pack's numbers of model calls equal those counted at the model."""

import sys

import pytest
import torch
from exact import calls_per_step

from samplers.catalogue import SAMPLERS

FALLING = {"to 0": [14.6, 7.0, 3.0, 1.2, 0.5, 0.2, 0.03, 0.0], "to a sigma": [14.6, 7.0, 3.0, 1.2, 0.5, 0.2]}


@pytest.fixture(scope="module")
def calls(pack):
    return sys.modules[pack["RESSDE"].__module__.rpartition(".")[0] + ".calls"]


def test_ours_are_said_as_the_names_have_them():
    assert {name: method.calls_per_step for name, method in SAMPLERS.items()} == {name: calls_per_step(name) for name in SAMPLERS}


@pytest.mark.parametrize("sigmas", FALLING.values(), ids=FALLING)
def test_every_count_is_the_models(pack, calls, sigmas):
    """The host samples the digits with every sampler of the table that this host has."""
    import comfy.samplers

    model, positive, negative = _digits()
    counts = {}
    for name in calls.samplers_with_known_calls():
        seen = _Counter()
        patched = model.clone()
        patched.set_model_unet_function_wrapper(seen)
        sampler = comfy.samplers.sampler_object(name)
        latent, noise = torch.zeros(1, 1, 8, 8), torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        comfy.samplers.sample(
            patched,
            noise,
            positive,
            negative,
            1.0,
            torch.device("cpu"),
            sampler,
            torch.tensor(sigmas),
            latent_image=latent,
            seed=0,
        )
        counts[name] = seen.calls
    expected = {name: calls.calls_on(sigmas, stages) for name, stages in calls.samplers_with_known_calls().items()}
    assert counts == expected
    assert len(counts) >= 40


class _Compiled:
    __signature__ = 3

    def __call__(self, model, x, sigmas, **options):
        return x


def test_samplers_that_cannot_report_shares_are_traced_as_they_are(pack, calls):
    import comfy.samplers

    for sampler in (comfy.samplers.KSAMPLER(_Compiled()), comfy.samplers.Sampler(), comfy.samplers.sampler_object("euler")):
        assert calls.with_shares(sampler, print) is sampler
    assert calls.with_shares(comfy.samplers.sampler_object("exp_res"), print).extra_options == {"on_shares": print}


class _Counter:
    def __init__(self):
        self.calls = 0

    def __call__(self, apply_model, arguments):
        self.calls += 1
        return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])


def _digits():
    import nodes

    [model] = nodes.NODE_CLASS_MAPPINGS["RESToyModel"].execute("digits", kind={"kind": "eps"}, width=0.1).result
    [condition] = nodes.NODE_CLASS_MAPPINGS["RESToyCondition"].execute({"data": "digits", "class": "any"}).result
    return model, condition, condition
