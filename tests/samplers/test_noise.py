"""Noise belongs to an item: the same in any batch, at any position, on any machine."""

import os
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from exact import STOCHASTIC, NoisyModel

from samplers.brownian import BrownianNoise
from samplers.catalogue import METHODS
from samplers.noise import ItemNoise, item_keys
from samplers.options import NOISES
from samplers.time_maps import VE

SIGMAS = torch.tensor([10.0, 4.0, 1.5, 0.5, 0.0])


def _initial(batch=8, shape=(4, 8, 8)):
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))


def _sample(name, initial, seed=7, **options):
    return METHODS[name].sample(NoisyModel(initial), initial * 10.0, SIGMAS, {"seed": seed}, disable=True, **options)


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_an_item_is_the_same_in_any_batch(name, noise):
    initial = _initial()
    whole = _sample(name, initial, noise=noise)
    assert torch.equal(_sample(name, initial[3:4], noise=noise), whole[3:4]), "alone"
    assert torch.equal(_sample(name, initial.flip(0), noise=noise), whole.flip(0)), "at another position"
    halves = torch.cat([_sample(name, part, noise=noise) for part in (initial[:5], initial[5:])])
    assert torch.equal(halves, whole), "in a batch split in two"
    assert not torch.equal(_sample(name, initial, seed=8, noise=noise), whole)


def test_hidden_noise_gives_copies_of_a_state_noise_of_their_own():
    states = torch.randn(1, 4).repeat(3, 1)
    keys = item_keys(None, states, 0, 1.0)
    assert len(set(keys)) == 3 and item_keys(None, states[:1], 0, 1.0) == keys[:1]
    assert len(set(item_keys(None, torch.zeros(3, 4), 0, 1.0))) == 3


@pytest.mark.parametrize("noise", [None, torch.zeros(3, 4), torch.ones(3, 4)], ids=["unknown", "switched off", "known"])
def test_a_run_that_starts_at_another_sigma_has_its_own_noise(noise):
    """The parts of a schedule, sampled with one seed, therefore add independent noise. Rounding of sigma does not matter."""
    states = torch.ones(3, 4)
    keys = item_keys(noise, states, 0, 2.0)
    assert keys == item_keys(noise, states, 0, 2.0 + 1e-7)
    assert not set(keys) & set(item_keys(noise, states, 0, 1.999))


@pytest.mark.parametrize("noise", [ItemNoise, lambda keys, like: BrownianNoise(keys, like, VE, 1.0)], ids=NOISES)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_same_numbers_in_every_dtype_and_for_any_number_of_threads(dtype, threads, noise):
    expected = noise([5, 6], torch.zeros(2, 1000))(3.0, 1.0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(noise([5, 6], torch.zeros(2, 1000, dtype=dtype))(3.0, 1.0), expected.to(dtype))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_another_packs_default_dtype_changes_nothing(name):
    initial = _initial(2)
    expected = [_sample(name, initial, noise=noise) for noise in NOISES]
    torch.set_default_dtype(torch.bfloat16)
    try:
        assert all(torch.equal(_sample(name, initial, noise=noise), one) for noise, one in zip(NOISES, expected))
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_same_numbers_in_another_process():
    """They do not depend on the seed of hashes, so two servers can share a batch."""
    code = "import torch; from samplers.brownian import BrownianNoise; from samplers.noise import ItemNoise, item_keys; "
    code += "from samplers.time_maps import VE; x = torch.arange(8.0).reshape(2, 4); keys = item_keys(x, x, 3, 2.0); "
    code += "print(ItemNoise(keys, x)(None, None).tolist(), BrownianNoise(keys, x, VE, 1.0)(3.0, 1.0).tolist())"
    command, options = [sys.executable, "-c", code], {"cwd": ROOT, "capture_output": True, "text": True, "check": True}
    environments = [{**os.environ, "PYTHONHASHSEED": seed} for seed in ("1", "2")]
    first, second = (subprocess.run(command, env=env, **options).stdout for env in environments)
    assert first == second and first.count("[") == 6


def test_the_noise_is_unit_and_independent():
    noise = ItemNoise([1, 2], torch.zeros(2, 200_000))
    first, second = noise(None, None), noise(None, None)
    for draw in (first, second):
        assert draw.mean().abs() < 0.01 and (draw.std(dim=1) - 1).abs().max() < 0.01
    assert (first * second).mean().abs() < 0.01 and (first[0] * first[1]).mean().abs() < 0.01


@pytest.mark.parametrize("name", STOCHASTIC)
def test_noise_comes_from_an_injected_sampler_or_without_a_seed_from_the_global_generator(name):
    seen, sample = [], METHODS[name].sample

    def noise_sampler(sigma, sigma_next):
        seen.append((float(sigma), float(sigma_next)))
        return torch.zeros(8, 4, 8, 8)

    _sample(name, _initial(), noise_sampler=noise_sampler)
    assert [a for a, _ in seen][1:] == pytest.approx([b for _, b in seen][:-1]), "segments join"
    assert seen[0][0] == 10.0 and seen[-1][1] == 0.5
    seeded = []
    for _ in range(2):
        torch.manual_seed(3)
        seeded.append(sample(NoisyModel(None), _initial(2), SIGMAS, None, disable=True))
    assert torch.equal(*seeded)


@pytest.mark.parametrize(
    "option, value, match",
    [
        *(("eta", value, "eta must be between 0 and 100") for value in (-0.1, float("nan"))),
        *(("s_noise", value, "s_noise must be between 0 and 100") for value in (-1.0, float("inf"))),
        ("eta", "1", "eta must be between 0 and 100, got '1'"),
        ("eta", 1e-300, "eta must be 0, or large enough to matter, got 1e-300"),
        ("noise", "pink", "noise must be one of 'independent', 'brownian', got 'pink'"),
    ],
)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_bad_options(name, option, value, match):
    with pytest.raises(ValueError, match=match):
        METHODS[name].sample(None, _initial(), SIGMAS, disable=True, **{option: value})
