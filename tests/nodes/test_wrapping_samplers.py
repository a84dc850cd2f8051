"""The samplers inside SAMPLERs of other packs and with their ways of sampling: Detail Daemon, Impact Pack, Tiled Diffusion.

The tests imitate what these packs hide from a sampler, how they cut a schedule, and how they patch a model.
"""

import pytest
import torch
from exact import CFG_PP
from pixelwise import KINDS, STD, condition, gaussian_model, noise_like, sample, schedule

from samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS

STOCHASTIC = [name for name, sampler in SAMPLERS.items() if sampler.stochastic]


def _bare(name, factor=1.0):
    """A SAMPLER that calls a named one with a plain function, which has only the attributes inner_model and sigmas.

    Detail Daemon does so. The model is called at factor * sigma.
    """
    import comfy.samplers

    sampler = comfy.samplers.sampler_object(name)

    def sample(model, x, sigmas, **options):
        def denoise(x, sigma, **extra_args):
            return model(x, sigma * factor, **extra_args)

        denoise.inner_model, denoise.sigmas = model.inner_model, model.sigmas
        return sampler.sampler_function(denoise, x, sigmas, **options, **sampler.extra_options)

    return comfy.samplers.KSAMPLER(sample)


def _sample(model, sampler, noise, sigmas=None, **options):
    sigmas = schedule(model, 6) if sigmas is None else sigmas
    return sample(model, sampler, sigmas, noise, condition(0.4), condition(-0.3), **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [n for n in [*SAMPLERS, *ADAPTIVE_SAMPLERS] if n not in STOCHASTIC])
def test_a_wrapper_that_changes_nothing_changes_nothing(pack, name, kind):
    model, noise = gaussian_model(kind), noise_like((2, 2, 4, 4))
    torch.testing.assert_close(_sample(model, _bare(name), noise), _sample(model, name, noise))


KEPT = torch.full((2, 2, 4, 4), 0.7)


@pytest.mark.parametrize("mask", [torch.linspace(0.0, 1.0, 4).expand(4, 4), torch.eye(4)], ids=["soft", "hard"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["exp_res_cfg_pp", "euler_cfg_pp"])
def test_cfg_pp_under_a_mask_is_what_it_is_without_the_wrapper(pack, name, kind, mask):
    """It is the same with the host's euler_cfg_pp, which never uses the latent."""
    model, noise = gaussian_model(kind), noise_like(KEPT.shape)
    both = (_sample(model, sampler, noise, latent=KEPT, noise_mask=mask[None]) for sampler in (_bare(name), name))
    torch.testing.assert_close(*both, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CFG_PP)
def test_cfg_pp_under_a_mask_keeps_the_latent_where_the_model_is_asked_at_another_sigma(pack, name):
    mask = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 4, 4)
    result = _sample(gaussian_model("eps"), _bare(name, 0.95), noise_like(KEPT.shape), latent=KEPT, noise_mask=mask)
    assert (result[..., :2] - 0.7).abs().max() < 1e-5
    assert result.isfinite().all() and (result[..., 2:] - 0.7).abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_an_item_by_itself_is_the_item_in_its_batch_inside_a_wrapper(pack, name, kind):
    """The initial noise is hidden there. The model answers number by number, so only noise could differ."""
    model, noise = gaussian_model(kind), noise_like((4, 2, 4, 4))
    whole = _sample(model, _bare(name), noise)
    torch.testing.assert_close(_sample(model, _bare(name), noise[2:3]), whole[2:3], rtol=0, atol=1e-5)
    assert (whole - _sample(model, _bare(name), noise, seed=4)).abs().max() > 0.01


@pytest.mark.parametrize("name", [name for name in STOCHASTIC if name not in CFG_PP])
def test_a_schedule_sampled_a_step_at_a_time_has_the_datas_spread(pack, name):
    """Impact Pack cuts a schedule in this way, with one seed and without noise after the first part."""
    model, noise = gaussian_model("eps"), noise_like((64, 2, 8, 8))
    sigmas, latent = schedule(model, 100), torch.zeros_like(noise)
    for i in range(len(sigmas) - 1):
        latent = _sample(model, name, noise if i == 0 else torch.zeros_like(noise), sigmas[i : i + 2], latent=latent)
    assert float(latent.mean()) == pytest.approx(0.4, abs=0.02)
    assert float(latent.std()) == pytest.approx(STD, rel=0.05)


@pytest.mark.parametrize("name", [*SAMPLERS, *ADAPTIVE_SAMPLERS])
def test_a_model_that_works_in_tiles(pack, name):
    """Tiled Diffusion replaces the model's function and calls it for one tile at a time."""
    model, noise = gaussian_model("eps"), noise_like((2, 2, 8, 8))
    whole = _sample(model, name, noise, cfg=2.0)

    def by_tiles(apply, arguments):
        tiles = [apply(tile, arguments["timestep"], **arguments["c"]) for tile in arguments["input"].split(4, dim=-1)]
        return torch.cat(tiles, dim=-1)

    model.set_model_unet_function_wrapper(by_tiles)
    torch.testing.assert_close(_sample(model, name, noise, cfg=2.0), whole, rtol=0, atol=1e-4)


def test_cld_inside_a_wrapper_starts_from_noise_or_is_refused(pack, cld):
    """Its velocity depends on the latent, which the wrapper hides; at pure noise it does not."""
    times = pack["RESGDDIMTimes"].execute(cld, 8, 1.0, 2.0, 0.0).result[0]

    def sampled(sampler, sigmas):
        return sample(cld, sampler, sigmas, noise_like((2, 1, 8, 8)), [[None, {}]], latent=torch.full((2, 1, 8, 8), 0.7))

    assert sampled(_bare("exp_gddim"), times).isfinite().all()
    assert sampled("exp_gddim", times[4:]).isfinite().all()
    with pytest.raises(ValueError, match="hides latent_image.*Set denoise to 1, or sample without that node"):
        sampled(_bare("exp_gddim"), times[4:])
