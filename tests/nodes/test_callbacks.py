"""Other packs use the host's callback for names of files, lists of weights, or every third step."""

import pytest
from pixelwise import KINDS, condition, gaussian_model, noise_like, sample, schedule

from samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS

STEPS = 6
OF_THE_HOST = ["euler", "heun", "dpm_2", "seeds_2"]
# nodes and processes whose steps have several calls
NODES = {
    "RESGDDIM": ({"mode": "deterministic", "degree": 2, "corrector": "PECE"},),
    "RESSingleStep": ({"stages": "3", "c2": 0.4, "c3": 0.7},),
    "RESStochasticChurn": ("exp_res_3s", 5.0, 0.0, 100.0, 1.0),
}


def _heard(sampler, model, sigmas=None, shape=(2, 2, 4, 4), positive=None):
    """The steps that a callback gets."""
    seen, noise = [], noise_like(shape)
    sigmas = schedule(model, STEPS) if sigmas is None else sigmas

    def callback(step, denoised, x, steps):
        assert type(step) is int and steps == STEPS and denoised.shape == x.shape == noise.shape
        seen.append(step)

    sample(model, sampler, sigmas, noise, positive or condition(0.4), positive or condition(-0.3), cfg=2.0, callback=callback)
    return seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*OF_THE_HOST, *SAMPLERS])
def test_a_callback_comes_once_a_step_with_an_int(pack, name, kind):
    """It is the same with samplers of the host that call the model several times per step."""
    assert _heard(name, gaussian_model(kind)) == list(range(STEPS))


@pytest.mark.parametrize("node", NODES)
def test_so_it_does_from_nodes(pack, node):
    assert _heard(pack[node].execute(*NODES[node]).result[0], gaussian_model("eps")) == list(range(STEPS))


@pytest.mark.parametrize("name", ["exp_gddim", "exp_gddim_sde", "exp_res_2m", "exp_res_2s", "exp_res_3s"])
@pytest.mark.parametrize("process", [{"process": "CLD", "kind": "R"}, {"process": "blurring", "blur": 5.0}], ids=str)
def test_so_it_does_on_processes(pack, process, name):
    model = pack["RESDigitsProcessModel"].execute(process, 0.1).result[0]
    times = pack["RESGDDIMTimes"].execute(model, STEPS, 1.0, 2.0, 0.0).result[0]
    assert _heard(name, model, times, (2, 1, 8, 8), [[None, {}]]) == list(range(STEPS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ADAPTIVE_SAMPLERS)
def test_a_sampler_with_its_own_grid_tells_no_step_twice(pack, name, kind):
    seen = _heard(name, gaussian_model(kind))
    assert seen[0] == 0 and seen[-1] == STEPS - 1 and seen == sorted(set(seen))
