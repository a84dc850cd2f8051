"""Equal subjects share a fingerprint, and everything that changes samples changes it."""

import pytest
import torch


@pytest.fixture
def made(module, toy, digit, latent):
    """made(change=None, kind, cfg, ...) -> fingerprint of a subject of digits, whose MODEL `change` has changed."""
    from comfy_extras.nodes_custom_sampler import CFGGuider

    def make(change=None, kind="eps", cfg=3.0, control=None, options=None, width=0.1, name="3", batch=2, **more):
        model = toy(kind, width)
        model = (change and change(model)) or model
        [[value, settings]] = digit(name)
        condition = [[value, {**settings, **({"control": control} if control else {})}]]
        guider = CFGGuider.execute(model, condition, condition, cfg).result[0]
        guider.model_options = {**guider.model_options, **(options or {})}
        return module("nodes.lab_subject").Subject(guider, {**latent(batch), **more}, 1).fingerprint

    return make


def _weights(value, strength):
    def change(model):
        weight = model.model.state_dict()["diffusion_model.means"]
        assert model.add_patches({"diffusion_model.means": ("diff", (torch.full_like(weight, value),))}, strength)

    return change


def _scaled(k):
    return lambda arguments: arguments["denoised"] * k


def _wrapper(k):
    wrapper = lambda executor, *args, **kwargs: executor(*args, **kwargs) * k  # noqa: E731
    return lambda model: model.add_wrapper_with_key("predict_noise", "scaled", wrapper)


def _node(name, method, *args):
    def change(model):
        import comfy_extras.nodes_model_advanced as module

        return getattr(getattr(module, name)(), method)(model, *args)[0]

    return change


def _mask(value):
    mask = torch.zeros(1, 1024, 1024)
    mask[:, 300:500, 300:500] = value
    return mask


def _controls(strength, count=6):
    """A chain of controls, of which the last has this strength."""
    from comfy.controlnet import ControlBase

    chain = [ControlBase() for _ in range(count)]
    for one, previous in zip(chain, chain[1:]):
        one.set_previous_controlnet(previous)
    chain[-1].strength = strength
    return chain[0]


CHANGES = [
    lambda value: {"change": _weights(value, 1.0)},
    lambda value: {"change": _weights(0.1, value)},
    lambda value: {"change": lambda model: model.set_model_sampler_post_cfg_function(_scaled(value))},
    lambda value: {"options": {"sampler_post_cfg_function": [_scaled(value)]}},
    lambda value: {"change": _wrapper(value)},
    lambda value: {"change": _node("ModelSamplingDiscrete", "patch", {0.5: "eps", 0.7: "v_prediction"}[value], False)},
    lambda value: {
        "change": _node("ModelSamplingContinuousEDM", "patch", {0.5: "eps", 0.7: "edm_playground_v2.5"}[value], 120.0, 0.002)
    },
    lambda value: {"kind": "flow", "change": _node("ModelSamplingSD3", "patch", 1.0 + value)},
    lambda value: {"cfg": value},
    lambda value: {"kind": {0.5: "eps", 0.7: "v"}[value]},
    lambda value: {"kind": {0.5: "eps", 0.7: "flow"}[value]},
    lambda value: {"width": value},
    lambda value: {"name": {0.5: "3", 0.7: "4"}[value]},
    lambda value: {"batch": int(10 * value)},
    lambda value: {"control": _controls(value)},
    lambda value: {"noise_mask": _mask(value)},
    lambda value: {"batch_index": [0, int(10 * value)]},
]


@pytest.mark.parametrize("change", CHANGES)
def test_changes(made, change):
    assert made(**change(0.5)) == made(**change(0.5))
    assert made(**change(0.5)) != made(**change(0.7))


def test_a_flow_models_timesteps_count(made):
    """One of two patches with equal sigmas multiplies timesteps by 1000."""
    names = ("ModelSamplingSD3", "patch"), ("ModelSamplingAuraFlow", "patch_aura")
    first, second = (made(kind="flow", change=_node(*name, 1.73)) for name in names)
    assert first != second


def test_loading_leaves_it_as_it_is(module):
    """Loading merges patches into the weights and sets more attributes of a model, also of one inside a ControlNet."""
    import comfy.model_management

    from training import networks

    fingerprint = module("samplers.lab.fingerprint").fingerprint
    model = networks.load("sd3").clone()
    name, weight = next((name, weight) for name, weight in model.model.state_dict().items() if weight.ndim == 2)
    model.add_patches({name: ("diff", (torch.ones_like(weight),))}, 0.5)
    before = fingerprint([model])
    comfy.model_management.load_models_gpu([model])
    assert (model.backup and not torch.equal(model.model.state_dict()[name], weight)) or model.is_dynamic()
    assert fingerprint([model]) == before
    model.detach()
    assert fingerprint([model]) == before
