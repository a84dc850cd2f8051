"""The nodes that change SIGMAS: what they give samples, and shares no memory, because the host's uni_pc changes its SIGMAS."""

import pytest
import torch
from pixelwise import noise_like, sample, schedule

CUTS = {
    "eps": [{"at": "sigma", "sigma": 1.0}, {"at": "logSNR", "logsnr": 0.0}, {"at": "percent", "percent": 0.5}],
    "flow": [{"at": "sigma", "sigma": 0.5}, {"at": "logSNR", "logsnr": 0.0}, {"at": "percent", "percent": 0.75}],
}
NOISE = noise_like((4, 1, 8, 8))


@pytest.mark.parametrize("kind, cut", [(kind, cut) for kind, cuts in CUTS.items() for cut in cuts], ids=str)
def test_two_parts_sample_what_the_whole_does(pack, toy, digit, kind, cut):
    """The first part ends where the second begins: at sigma 1, logSNR 0 on eps, which sigma 0.5 is on flow."""
    model = toy(kind)
    sigmas, conditions = schedule(model, 10), (digit("3"), digit(), 3.0)
    begin, end = pack["RESSigmasSplit"].execute(model, sigmas, cut).result
    whole, first = (sample(model, "exp_res_2s", grid, NOISE, *conditions) for grid in (sigmas, begin))
    second = sample(model, "exp_res_2s", end, torch.zeros_like(NOISE), *conditions, latent=first)
    # the host divides a flow latent by 1 - sigma between the parts and multiplies it again
    torch.testing.assert_close(second, whole, rtol=0, atol=1e-4)
    assert first.std() > 1.2 * second.std(), "there is noise left after the first part"


@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
def test_blended_and_resampled_schedules_sample(pack, toy, digit, counted, kind):
    model = toy(kind)
    calls, grids = counted(model), (schedule(model, 12), schedule(model, 7, "kl_optimal"))
    [blended] = pack["RESSigmasBlend"].execute(model, *grids, 0.5).result
    [sigmas] = pack["RESSigmasResample"].execute(model, blended, 9).result
    result = sample(model, "exp_res_2s", sigmas, NOISE, digit("3"), digit(), cfg=3.0)
    assert len(calls) == 2 * 8 + 1 and 0.3 < result.std() < 5.0


# --- memory ---

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
