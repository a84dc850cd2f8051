"""Other packs use the host's callback for names of files, lists of weights, or every third step."""

import pytest
from pixelwise import KINDS, condition, gaussian_model, noise_like, sample, schedule

from samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS

STEPS = 6
OF_THE_HOST = ["euler", "heun", "dpm_2", "seeds_2"]


def _steps(sampler, kind):
    """The steps that a callback gets."""
    model = gaussian_model(kind)
    return _heard(sampler, model, schedule(model, STEPS), noise_like((2, 2, 4, 4)), condition(0.4), condition(-0.3))


def _heard(sampler, model, sigmas, noise, *conditions):
    seen = []

    def callback(step, denoised, x, steps):
        assert steps == STEPS and denoised.shape == x.shape == noise.shape
        seen.append(step)

    sample(model, sampler, sigmas, noise, *conditions, cfg=2.0, callback=callback)
    return seen


def _check(seen):
    assert all(type(step) is int for step in seen)
    assert seen == list(range(STEPS))
    assert [f"{step:02d}" for step in seen if step % 3 == 0] == ["00", "03"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*OF_THE_HOST, *SAMPLERS])
def test_a_callback_comes_once_a_step_with_an_int(pack, name, kind):
    """It is the same with samplers of the host that call the model several times per step."""
    _check(_steps(name, kind))


@pytest.mark.parametrize("node", ["RESGDDIM", "RESSingleStep", "RESStochasticChurn"])
def test_so_it_does_from_nodes_whose_steps_have_several_calls(pack, node):
    inputs = {
        "RESGDDIM": ({"mode": "deterministic", "degree": 2, "corrector": "PECE"},),
        "RESSingleStep": ({"stages": "3", "c2": 0.4, "c3": 0.7},),
        "RESStochasticChurn": ("exp_res_3s", 5.0, 0.0, 100.0, 1.0),
    }
    _check(_steps(pack[node].execute(*inputs[node]).result[0], "eps"))


@pytest.mark.parametrize("name", ["exp_gddim", "exp_gddim_sde", "exp_res_2m", "exp_res_2s", "exp_res_3s"])
@pytest.mark.parametrize("process", [{"process": "CLD", "kind": "R"}, {"process": "blurring", "blur": 5.0}], ids=str)
def test_so_it_does_on_processes(pack, process, name):
    model, nothing = pack["RESDigitsProcessModel"].execute(process, 0.1).result[0], [[None, {}]]
    times = pack["RESGDDIMTimes"].execute(model, STEPS, 1.0, 2.0, 0.0).result[0]
    _check(_heard(name, model, times, noise_like((2, 1, 8, 8)), nothing, nothing))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ADAPTIVE_SAMPLERS)
def test_a_sampler_with_its_own_grid_tells_no_step_twice(pack, name, kind):
    seen = _steps(name, kind)
    assert all(type(step) is int for step in seen)
    assert seen[0] == 0 and seen[-1] == STEPS - 1 and seen == sorted(set(seen))
