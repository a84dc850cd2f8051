"""Fingerprints of subjects are equal for equal subjects, and differ if anything that matters differs."""

import pytest
import torch


@pytest.fixture
def named(pack, host):
    """named(**changes) -> the fingerprint of a subject that nodes make again."""
    import sys

    import comfy.samplers

    subject = sys.modules[pack["RESLabMeasure"].__module__].Subject

    def make(kind="eps", width=0.1, shift=3.0, cfg=3.0, digit="3", mask=None, batch=2, post=None, lora=0.0, run=False):
        model = pack["RESToyModel"].execute("digits", {"kind": kind, "shift": shift}, width).result[0].clone()
        if post is not None:
            model.set_model_sampler_post_cfg_function(lambda args: post * args["denoised"])
        if lora:
            model.add_patches({"diffusion_model.means": (torch.full((1797, 64), lora),)}, 0.5)
        guider = comfy.samplers.CFGGuider(model)
        positive, negative = (
            pack["RESToyCondition"].execute({"data": "digits", "class": name}).result[0] for name in (digit, "any")
        )
        guider.set_conds(positive, negative)
        guider.set_cfg(cfg)
        latent = pack["RESToyLatent"].execute("digits", batch).result[0]
        if mask is not None:
            latent = {**latent, "noise_mask": torch.full((1, 1, 8, 8), mask)}
        made = subject(guider, latent, 1)
        if run:
            made.run(comfy.samplers.sampler_object("euler"), torch.tensor([10.0, 1.0, 0.0]))
        return made.fingerprint

    return make


def test_made_again_it_is_the_same(named):
    options = {"kind": "flow", "mask": 0.5, "post": 1.1, "lora": 0.1}
    assert named(**options) == named(**options)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "v"}, {"width": 0.11}, {"cfg": 3.1}, {"digit": "4"}, {"mask": 0.5}, {"batch": 3}, {"post": 1.0}, {"lora": 0.1},
        {"kind": "flow"},
    ],
    ids=str,
)  # fmt: skip
def test_a_change_changes_it(named, change):
    assert named(**change) != named()


@pytest.mark.parametrize(
    "options", [{"kind": "flow", "shift": 2.0}, {"kind": "flow", "lora": 0.2}, {"kind": "flow", "post": 0.9}]
)
def test_a_number_changes_it(named, options):
    others = {"shift": 3.0, "lora": 0.1, "post": 1.0}
    assert named(**options) != named(**{name: others.get(name, value) for name, value in options.items()})
