"""Through the host's own nodes, noise depends on the seed and the item and not on the batch.

A SAMPLER that returns the noise shows it bit for bit; matrix products of a model differ in the last digits with the batch.
"""

import pytest
import torch
from pixelwise import noise_like, sample, schedule

from samplers.brownian import BrownianNoise
from samplers.noise import default_noise_sampler, run_keys
from samplers.time_maps import VE

BATCH = 4
NOISES = {
    "independent": default_noise_sampler,
    "brownian": lambda model, x, extra_args, sigma: BrownianNoise(run_keys(model, x, extra_args, sigma), x, VE, 1.0),
}


@pytest.fixture
def pick(host):
    """pick(latent, index, length) -> items of a LATENT."""
    return lambda *what: host.NODE_CLASS_MAPPINGS["LatentFromBatch"]().frombatch(*what)[0]


@pytest.fixture
def batch(latent):
    """A LATENT."""
    return latent(BATCH)


@pytest.fixture(params=NOISES)
def noise_of(request, toy, digit, batch):
    """noise_of(latent, seed, add_noise, first) -> the two first noises of a run of SamplerCustom, (batch, 2 x 64)."""
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import SamplerCustom

    model, condition = toy("eps", 0.2), digit()

    def noise_of(latent=batch, seed=5, add_noise=True, first=0):
        drawn = []

        def sample(model, x, sigmas, extra_args, callback, disable):
            noise = NOISES[request.param](model, x, extra_args, float(sigmas[0]))
            drawn.extend(noise(a, b) for a, b in zip(sigmas, sigmas[1:-1]))
            return x

        sigmas = torch.tensor([14.0, 5.0, 2.0, 0.7, 0.2, 0.0])[first:]
        SamplerCustom.execute(model, add_noise, seed, 1.0, condition, condition, comfy.samplers.KSAMPLER(sample), sigmas, latent)
        return torch.cat(drawn[:2], dim=1).flatten(1)

    return noise_of


def test_items_picked_from_a_batch_keep_their_noise(noise_of, batch, pick):
    whole = noise_of()
    assert len({row.numpy().tobytes() for row in whole}) == BATCH
    for length in (1, 2):
        for i in range(0, BATCH, length):
            assert torch.equal(noise_of(pick(batch, i, length)), whole[i : i + length])
    assert not torch.equal(noise_of(seed=6), whole)


def test_equal_initial_noise_is_equal_noise(noise_of, batch, host, pick):
    """LatentBatchSeedBehavior `fixed` gives all items the initial noise of the first; joined batches repeat it."""
    import comfy_extras.nodes_post_processing  # noqa: F401  the oldest host's nodes_latent cannot be imported before it
    from comfy_extras.nodes_latent import LatentBatch, LatentBatchSeedBehavior

    whole = noise_of()
    [fixed] = LatentBatchSeedBehavior.execute(batch, "fixed").result
    assert torch.equal(noise_of(fixed), whole[:1].repeat(BATCH, 1))
    [twice] = LatentBatch.execute(batch, batch).result
    assert torch.equal(noise_of(twice), whole.repeat(2, 1))
    [repeated] = host.NODE_CLASS_MAPPINGS["RepeatLatentBatch"]().repeat(pick(batch, 1, 1), 3)
    noise = noise_of(repeated)
    assert torch.equal(noise[:1], whole[1:2]) and not torch.equal(noise[0], noise[1])


def test_with_noise_off_the_position_in_the_batch_decides(noise_of, batch, pick):
    off = noise_of(add_noise=False)
    assert len({row.numpy().tobytes() for row in off}) == BATCH and not torch.equal(off, noise_of())
    assert torch.equal(noise_of({"samples": torch.randn(BATCH, 1, 8, 8)}, add_noise=False), off)
    assert torch.equal(noise_of(pick(batch, 2, 1), add_noise=False), off[:1]), "by itself every item is the first"
    assert not torch.equal(noise_of(seed=6, add_noise=False), off)


def test_the_second_half_of_a_cut_schedule_has_noise_of_its_own(noise_of):
    """The noise is off, as in the second half of KSamplerAdvanced. Its noise is neither the first half's nor its continuation."""
    second = noise_of(add_noise=False, first=2)
    assert not torch.equal(second, noise_of()) and not torch.equal(second, noise_of(first=2))
    assert torch.equal(second, noise_of(add_noise=False, first=2))


@pytest.mark.parametrize("end", [5, 10000])
@pytest.mark.parametrize("name", ["exp_res_sde", "exp_res_2m_sde", "exp_res_3s_sde", "exp_gddim_sde"])
def test_ksampler_gives_an_item_of_a_batch_by_itself(host, toy, digit, batch, pick, name, end):
    """It is equal up to the rounding of the model, also in the first half of a cut schedule, where the noise is on."""
    sample, arguments = host.NODE_CLASS_MAPPINGS["KSamplerAdvanced"]().sample, (name, "logsnr_uniform", digit(), digit())
    whole, item = (sample(toy("eps", 0.2), "enable", 3, 8, 2.0, *arguments, x, 0, end, "enable")[0]["samples"]
                   for x in (batch, pick(batch, 2, 1)))  # fmt: skip
    torch.testing.assert_close(item, whole[2:3], atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("method", ["exp_res", "2m", "2s", "3s"])
def test_brownian_noise_brings_20_and_40_steps_together(pack, toy, digit, kind, method):
    model, change = toy(kind, 0.2), {}
    for noise in ("independent", "brownian"):
        sampler = pack["RESSDE"].execute(method=method, eta=1.0, s_noise=1.0, noise=noise).result[0]
        start = noise_like((32, 1, 8, 8), 5)
        results = [sample(model, sampler, schedule(model, steps), start, digit(), seed=5) for steps in (20, 40)]
        change[noise] = (results[1] - results[0]).flatten(1).norm(dim=1).median() / 8
    assert change["brownian"] < 0.5 * change["independent"]
