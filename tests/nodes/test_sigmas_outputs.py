"""SIGMAS of nodes share no memory with inputs or other outputs, because the host's uni_pc changes its SIGMAS."""

import pytest
import torch
from pixelwise import noise_like, sample

_SIGMAS = torch.tensor([14.6, 5.0, 1.0, 0.2, 0.0])


def _measured(pack, model, sigmas):
    """Measure also runs uni_pc itself."""
    latent = pack["RESToyLatent"].execute("digits", 1).result[0]
    limits = {"tolerance": 0.1, "reference_calls": 96}
    return [pack["RESLabMeasure"].execute(model, latent, 0, "euler, uni_pc", "", "4", sigmas_1=sigmas, **limits).result[1]]


NODES = {
    "split": lambda pack, model, sigmas: pack["RESSigmasSplit"].execute(model, sigmas, {"at": "sigma", "sigma": 1.0}).result,
    "blend": lambda pack, model, sigmas: pack["RESSigmasBlend"].execute(model, sigmas, sigmas, 0.0).result,
    "resample": lambda pack, model, sigmas: pack["RESSigmasResample"].execute(model, sigmas, 4).result,
    "measure": _measured,
}


@pytest.mark.parametrize("name", NODES)
def test_uni_pc_changes_no_other_sigmas(pack, toy, folders, name):
    given, model = _SIGMAS.clone(), toy()
    outputs = NODES[name](pack, model, given)
    kept = [sigmas.clone() for sigmas in outputs]
    sample(model, "uni_pc", outputs[-1], noise_like((1, 1, 8, 8)), [[None, {}]])
    assert torch.equal(given, _SIGMAS) and all(map(torch.equal, outputs[:-1], kept[:-1]))
    outputs[0].fill_(7.0)
    assert torch.equal(given, _SIGMAS) and not any((sigmas == 7.0).any() for sigmas in outputs[1:])


def test_a_sampler_that_trace_runs_writes_into_a_copy(pack, toy, latent, folders):
    import comfy.samplers

    given = _SIGMAS.clone()
    pack["RESLabTrace"].execute(toy(), latent(1), 0, comfy.samplers.sampler_object("uni_pc"), given, "table")
    assert torch.equal(given, _SIGMAS)
