"""SIGMAS of nodes share no memory with inputs or other outputs, because the host's uni_pc changes its SIGMAS."""

import pytest
import torch

_SIGMAS = torch.tensor([14.6, 5.0, 1.0, 0.2, 0.0])


def _measured(pack, model, sigmas, monkeypatch):
    monkeypatch.setattr(pack["RESLabMeasure"], "hidden", None)
    latent = pack["RESToyLatent"].execute("digits", 1).result[0]
    inputs = model, latent, 0, "euler", "", "4", 0, 0.1, 96
    return [pack["RESLabMeasure"].execute(*inputs, sigmas_1=sigmas).result[1]]


NODES = {
    "split": lambda pack, model, sigmas, *_: pack["RESSigmasSplit"].execute(model, sigmas, {"at": "sigma", "sigma": 1.0}).result,
    "blend": lambda pack, model, sigmas, *_: pack["RESSigmasBlend"].execute(model, sigmas, sigmas, 0.0).result,
    "resample": lambda pack, model, sigmas, *_: pack["RESSigmasResample"].execute(model, sigmas, 4).result,
    "measure": _measured,
}


@pytest.mark.parametrize("name", NODES)
def test_uni_pc_changes_no_other_sigmas(pack, toy, folders, monkeypatch, name):
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import SamplerCustom

    given, model = _SIGMAS.clone(), toy()
    outputs = NODES[name](pack, model, given, monkeypatch)
    kept = [sigmas.clone() for sigmas in outputs]
    latent, nothing = pack["RESToyLatent"].execute("digits", 1).result[0], [[None, {}]]
    uni_pc = comfy.samplers.sampler_object("uni_pc")
    SamplerCustom.execute(model, True, 0, 1.0, nothing, nothing, uni_pc, outputs[-1], latent)
    assert torch.equal(given, _SIGMAS) and all(map(torch.equal, outputs[:-1], kept[:-1]))
    outputs[0].fill_(7.0)
    assert torch.equal(given, _SIGMAS) and not any((sigmas == 7.0).any() for sigmas in outputs[1:])


@pytest.mark.parametrize("name", ["RESLabTrace", "RESLabMeasure"])
def test_a_sampler_that_the_lab_runs_writes_into_a_copy(pack, toy, folders, monkeypatch, name):
    import comfy.samplers

    monkeypatch.setattr(pack[name], "hidden", None)
    given, latent = _SIGMAS.clone(), pack["RESToyLatent"].execute("digits", 1).result[0]
    if name == "RESLabTrace":
        pack[name].execute(toy(), latent, 0, comfy.samplers.sampler_object("uni_pc"), given, "table")
    else:
        pack[name].execute(toy(), latent, 0, "uni_pc", "", "4", 0, 0.1, 96, sigmas_1=given)
    assert torch.equal(given, _SIGMAS)
