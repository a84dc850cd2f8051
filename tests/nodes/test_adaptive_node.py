"""exp_res_adaptive and RES Adaptive in the real host."""

import pytest
import torch
from pixelwise import schedule
from process_examples import distance

from samplers.adaptive import ATOL, C2, C3, MAX_CALLS, RTOL

KINDS = ["eps", "v", "edm", "flow"]
_DEFAULTS = {"rtol": RTOL, "atol": ATOL, "max_calls": MAX_CALLS}


@pytest.fixture
def parts(guided_digits, latent):
    """parts(kind, batch) -> noise, guider, SIGMAS and latent, as the host's nodes make them."""
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise

    def make(kind="eps", batch=4):
        guider = guided_digits(kind)
        return Noise_RandomNoise(5), guider, schedule(guider.model_patcher, 12), latent(batch)

    return make


def _run(pack, noise, guider, sigmas, latent):
    """(SAMPLER, SIGMAS, LATENT, calls)."""
    return pack["RESAdaptive"].execute(**_DEFAULTS, noise=noise, guider=guider, sigmas=sigmas, latent_image=latent).result


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_gives_the_calls_made_and_a_grid_that_repeats_its_latent(pack, parts, counted, by_guider, kind):
    noise, guider, sigmas, latent = parts(kind)
    made = counted(guider.model_patcher)
    _, grid, result, calls = _run(pack, noise, guider, sigmas, latent)
    assert calls == len(made) <= MAX_CALLS
    assert grid[[0, -2, -1]].tolist() == sigmas[[0, -2, -1]].tolist() and grid.dtype == sigmas.dtype
    fixed = pack["RESSingleStep"].execute({"stages": "3", "c2": C2, "c3": C3}).result[0]
    for sampler, expected in (("exp_res_adaptive", calls), (fixed, 3 * (len(grid) - 2) + 1)):
        made.clear()
        assert torch.equal(by_guider(noise, guider, sampler, grid, latent), result["samples"]) and len(made) == expected


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_a_smaller_tolerance_is_nearer_to_the_solution(pack, parts, by_guider, kind):
    noise, guider, sigmas, latent = parts(kind, batch=16)
    fine = schedule(guider.model_patcher, 250)
    fine[-2] = sigmas[-2]
    truth, errors = by_guider(noise, guider, "exp_res_3s", fine, latent), []
    for rtol in (0.1, 0.01, 0.001):
        sampler = pack["RESAdaptive"].execute(rtol, ATOL, 1000).result[0]
        sampler.extra_options["atol"] = 0.1 * rtol
        errors.append(distance(by_guider(noise, guider, sampler, sigmas, latent), truth))
    assert errors[0] < 0.01 and errors[1] < errors[0] / 3 and errors[2] < errors[1] / 2


def test_a_run_on_an_empty_grid(pack, parts):
    """Schedulers give an empty grid at denoise 0, on which the host calls no sampler."""
    noise, guider, sigmas, latent = parts()
    _, grid, result, calls = _run(pack, noise, guider, sigmas[:0], latent)
    assert torch.equal(result["samples"], latent["samples"]) and len(grid) == 0 and calls == 0


def test_outputs_without_a_run(pack, parts):
    """A run needs all of its inputs; without any, the nodes that use the outputs get an error that says what to connect."""
    noise, guider, *_ = parts()
    with pytest.raises(ValueError, match="^sigmas and latent_image must be connected too"):
        pack["RESAdaptive"].execute(**_DEFAULTS, noise=noise, guider=guider)
    sampler, *others = pack["RESAdaptive"].execute(**_DEFAULTS).result
    assert sampler.extra_options == _DEFAULTS and len(others) == 3
    assert all("noise, guider, sigmas and latent_image of RES Adaptive" in blocker.message for blocker in others)


@pytest.mark.parametrize("cache", ["EasyCache", "LazyCache"])
def test_a_cache_on_the_model_is_refused_before_the_first_call(pack, parts, counted, by_guider, cache):
    """A cache hides the error of a step; samplers of fixed steps run with it."""
    import comfy_extras.nodes_easycache

    noise, guider, sigmas, latent = parts("flow")
    node = getattr(comfy_extras.nodes_easycache, f"{cache}Node")
    guider.model_patcher = node.execute(guider.model_patcher, 0.2, 0.15, 0.95, False).result[0]
    guider.model_options = guider.model_patcher.model_options
    made = counted(guider.model_patcher)
    refusal = f"model has {cache}, .* Remove {cache}, or take a sampler of fixed steps"
    with pytest.raises(ValueError, match=refusal):
        by_guider(noise, guider, "exp_res_adaptive", sigmas, latent)
    with pytest.raises(ValueError, match=refusal):
        _run(pack, noise, guider, sigmas, latent)
    assert not made
    assert by_guider(noise, guider, "exp_res", sigmas, latent).isfinite().all() and made
