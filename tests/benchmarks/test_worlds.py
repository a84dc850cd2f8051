"""The worlds: denoisers equal independent formulas, starts and grids equal ComfyUI's, and changed samplers are measured again."""

import itertools
import sys
from collections import defaultdict
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal

from benchmarks.host_samplers import Denoiser
from benchmarks.worlds import bench, exact_worlds, network, world_cases
from benchmarks.worlds.bench import Bench, sampled, steps_for
from benchmarks.worlds.world_cases import LTX, Case, cases, distilled_cases, exact_cases, from_noise, image_cases
from embedded.mixture import ring
from samplers.interpolation import InAlpha
from samplers.lab.store import Store
from samplers.loop import run
from samplers.multistep import res_rule, rule_plan, steady_sde_plan
from samplers.plan import Noise


@pytest.mark.parametrize("sigma, alpha", [(3.0, 1.0), (0.2, 1.0), (0.6, 0.4)])
def test_photo_is_the_posterior_mean_of_full_covariances(sigma, alpha):
    world, asked = exact_worlds.photo(), torch.tensor([0, 3, 4])
    generator = torch.Generator().manual_seed(1)
    x = alpha * world.draw(asked, generator)
    x = x + sigma * torch.randn(x.shape, dtype=torch.float64, generator=generator)
    means, directions = world._means, world._directions
    eye = torch.eye(means.shape[1], dtype=torch.float64)
    covariances = directions @ torch.diag_embed(world._variances - world._rest) @ directions.mT + world._rest[:, :, None] * eye
    noisy = [MultivariateNormal(alpha * m, alpha**2 * c + sigma**2 * eye) for m, c in zip(means, covariances)]
    logits = world.frequencies.log() + torch.stack([density.log_prob(x.flatten(1)) for density in noisy], 1)
    gains = [alpha * density.precision_matrix @ c for c, density in zip(covariances, noisy)]
    each = torch.stack([m + (x.flatten(1) - alpha * m) @ gain for m, gain in zip(means, gains)], 1)
    of_class = logits.masked_fill(world.labels[None] != asked[:, None], -torch.inf)
    parts = [(share.softmax(1)[:, :, None] * each).sum(1).reshape(x.shape) for share in (logits, of_class)]
    torch.testing.assert_close(world(x, sigma, alpha), parts[0], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(world.guided(4.0, asked)(x, sigma, alpha), torch.lerp(*parts, 4.0), rtol=1e-5, atol=1e-7)
    single = world(x.float(), sigma, alpha)
    assert single.dtype == torch.float32 and torch.allclose(single.double(), parts[0], atol=1e-4)


@pytest.mark.parametrize("sigma, alpha", [(5.0, 1.0), (0.3, 1.0), (0.7, 0.3)])
def test_latent_is_tweedies_formula(sigma, alpha):
    world, asked = exact_worlds.Latent(8, channels=1, classes=3), torch.tensor([0, 2])
    x = alpha * world.draw(asked, torch.Generator().manual_seed(2))
    x = x + sigma * torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    noisy = world._dct @ x.requires_grad_() @ world._dct.T
    stds = (alpha**2 * world._scales * world._power[:, :, None] + sigma**2).sqrt()
    shares = Categorical(world._shares.expand(8, 8, 3))
    high = MixtureSameFamily(shares, Normal(torch.zeros_like(stds), stds)).log_prob(noisy)
    high = high.sum((1, 2, 3)) - high[..., :4, :4].sum((1, 2, 3))
    low = Normal(alpha * world._means, (alpha**2 * world._within + sigma**2).sqrt()).log_prob(noisy[:, None, :, :4, :4])
    low = low.flatten(2).sum(2)
    log_densities = high + low.logsumexp(1), high + low[torch.arange(len(x)), asked]
    scores = [torch.autograd.grad(log_density.sum(), x, retain_graph=True)[0] for log_density in log_densities]
    x = x.detach()
    parts = [(x + sigma**2 * score) / alpha for score in scores]
    torch.testing.assert_close(world(x, sigma, alpha), parts[0], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(world.guided(3.0, asked)(x, sigma, alpha), torch.lerp(*parts, 3.0), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    "world",
    [exact_worlds.photo, lambda: exact_worlds.Latent(16), exact_worlds.digit_mixture, exact_worlds.ring],
    ids=["photo", "latent", "digits", "ring"],
)
def test_draws_have_the_mean_and_the_variance_that_the_denoiser_knows(world):
    """At alpha 0 the denoiser gives the mean; at small noise it hardly moves a draw."""
    data, generator = world(), torch.Generator().manual_seed(4)
    draws = data.draw_any(500, generator)
    mean, spread = data(draws[:1], 1.0, 0.0)[0], draws.std(0).mean()
    assert (draws.mean(0) - mean).abs().mean() < 0.25 * spread
    noise, some = torch.randn(draws[:50].shape, dtype=torch.float64, generator=generator), draws[:50]
    left = data(some + 1e-2 * noise, 1e-2) - some
    assert left.norm() < 1.05e-2 * noise.norm(), "hardly more than the noise"
    better = (data(0.5 * some + 0.5 * noise, 0.5, 0.5) - some).square().mean()
    assert better < 0.9 * (some - mean).square().mean()


def test_euler_is_exact_for_a_distilled_model(pack):
    students = [case for case in distilled_cases(seed=1) if hasattr(case.denoiser, "teacher")]
    assert {case.calls for case in students} == {(4,), (8,)}
    for case in (students[0], next(case for case in students if case.grids == (LTX,))):
        sigmas = case.grid(case.grids[0], case.calls[0])
        truth = case.solution(float(sigmas[0])).samples
        results = (sampled(name, case, sigmas)[0] for name in ("euler", "heun", "dpmpp_2m"))
        euler, *others = (float(case.error(samples, truth).median()) for samples in results)
        assert euler < 5e-3 < min(others)


def test_every_answer_is_a_picture(pack):
    case = next(case for case in distilled_cases(seed=1) if not case.has_solution)
    assert float(case.error(sampled("euler", case, case.grid("simple", 4))[0], None).max()) < 1e-6
    assert float(case.error(case.start(0.5), None).median()) > 0.1
    draws = [case.denoised(case.start(1.0), sigma) for sigma in (0.9, 0.8)]
    assert not torch.equal(*draws), "another one at another sigma"


def test_image_to_image_starts_as_the_host_does(pack):
    import comfy.samplers

    for case in image_cases(seed=1):
        model = SimpleNamespace(get_model_object=lambda name, case=case: case.model_sampling, load_device="cpu", model_options={})
        for scheduler in case.grids:
            theirs = comfy.samplers.KSampler(model, 8, "cpu", "euler", scheduler, case.denoise).sigmas
            torch.testing.assert_close(case.grid(scheduler, 8), theirs)
            sigma = float(theirs[0])
            kept = 1.0 - sigma if case.kind == "flow" else 1.0
            torch.testing.assert_close(case.start(sigma), kept * case.latent.float() + sigma * case.noise)
    fits, other = [case.denoiser.asked for case in image_cases(seed=1)][:2]
    assert not (fits == other).any()


def test_text_to_image_starts_as_the_host_does(pack):
    """A run starts from pure noise that is scaled as in ComfyUI."""
    for case in exact_cases(seed=1):
        sigmas = case.grid(case.grids[0], 6)
        size = 1.0 if case.kind == "flow" else (1.0 + float(sigmas[0]) ** 2) ** 0.5
        torch.testing.assert_close(case.start(float(sigmas[0])), size * case.noise, rtol=1e-4, atol=1e-5)


def test_every_pair_is_measured(pack):
    """Every world and kind of model meets every scheduler and number of calls, as does every scheduler every number of calls."""
    result, of_cases = defaultdict(set), defaultdict(set)
    for case in (case for case in cases(seed=1) if case.world != "distilled"):
        pairs = {(scheduler, n) for scheduler in case.grids for n in case.calls_on(scheduler)}
        result[case.world, case.kind] |= pairs
        of_cases[case.name] |= pairs
    for (world, kind), pairs in result.items():
        schedulers, calls = zip(*pairs)
        wanted = world_cases.SCHEDULERS[kind], world_cases.CALLS
        assert (set(schedulers), set(calls)) == tuple(map(set, wanted))
        if world in ("photo", "latent", "digits", "ring"):
            assert pairs == set(itertools.product(*wanted))
    assert all(of_cases.values()), "no case is left out"


def test_the_distilled_grid_of_ltx(pack):
    case = next(case for case in distilled_cases(seed=1) if case.grids == (LTX,))
    eight, four = (case.grid(LTX, steps).tolist() for steps in (8, 4))
    assert eight == pytest.approx([1, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0]) and four == eight[::2]


def test_steps_are_counted(pack):
    assert [steps_for(name, "eps", 10) for name in ("euler", "heun", "seeds_3 (eta 0)", "exp_res_2s")] == [10, 5, 4, 5]
    assert steps_for("seeds_3 (eta 0)", "flow", 3) == 0, "less than two steps"


def ring_case(radius=1.0, seed=1):
    make = partial(exact_worlds.Mixture, ring(radius=radius), (2, 1, 1))
    return Case("ring", "a ring", "eps", 1.0, 8, make, grids=("karras",), calls=(4,), seed=seed)


def test_what_was_measured_is_kept_until_it_changes(pack, tmp_path, monkeypatch):
    judged = []
    monkeypatch.setattr(Bench, "theirs", ("euler", "heun"))
    judge = Bench.judge
    monkeypatch.setattr(Bench, "judge", lambda self, name, *rest: judged.append(name) or judge(self, name, *rest))
    first = Bench(Store(tmp_path)).errors(ring_case(), "karras", Bench.theirs)
    assert set(first) == {(4, "euler"), (4, "heun")} and judged == ["euler", "heun"]
    assert Bench(Store(tmp_path)).errors(ring_case(), "karras", Bench.theirs) == first and len(judged) == 2
    monkeypatch.setattr(Bench, "theirs", ("euler", "heun", "deis"))
    Bench(Store(tmp_path)).errors(ring_case(), "karras", Bench.theirs)
    assert judged[2:] == ["deis"], "one more of the host's is measured by itself"
    for changed, grid in ((ring_case(radius=1.1), "karras"), (ring_case(seed=2), "karras"), (ring_case(), "exponential")):
        Bench(Store(tmp_path)).errors(changed, grid, Bench.theirs)
        assert judged[3:] == ["euler", "heun", "deis"]
        del judged[3:]
    for digest in ("a", "a", "b"):
        monkeypatch.setattr(bench, "behaviour", lambda name, digest=digest: digest)
        Bench(Store(tmp_path)).errors(ring_case(), "karras", ("exp_res_2m",))
    assert judged[3:] == ["exp_res_2m"] * 2, "when the sampler changes"


@pytest.mark.parametrize("cap, missed", [(48, True), (1536, False)])
def test_errors_far_below_that_of_a_solution_that_missed_its_tolerance_count_as_its(pack, tmp_path, monkeypatch, cap, missed):
    monkeypatch.setattr(bench, "LEAST", 500.0)

    case = ring_case()
    case.tolerance, case.cap, case.calls = 1e-6, cap, (20,)
    first, again = (Bench(Store(tmp_path)) for _ in range(2))
    error = first.errors(case, "karras", ["deis"])[20, "deis"]
    assert again.errors(case, "karras", ["deis"])[20, "deis"] == error and again.missed == first.missed, "kept with the errors"
    if missed:
        miss = case.solution(float(case.grid("karras", 20)[0])).agreement
        assert first.missed == {"a ring": miss} and error == 500.0 * miss > 5e-4
    else:
        assert not first.missed and 0.0 < error < 0.1


def test_a_sampler_is_measured_again_when_it_behaves_differently(pack, monkeypatch):
    names = ("exp_res", "exp_res_2m", "exp_res_2s", "exp_res_sde", "exp_gddim")
    digests = {name: bench.behaviour.__wrapped__(name) for name in names}
    assert len(set(digests.values())) == len(names)
    assert bench.behaviour.__wrapped__("exp_res_2m") == digests["exp_res_2m"], "the same in every process and at every time"
    multistep = next(module for name, module in sys.modules.items() if name.endswith(".samplers.multistep"))
    # in the registered sampler, a change that only guidance shows, and one that only image to image shows
    for name, value in (("_CORRECTION", 0.25), ("_NEAR_IMAGE", 0.0)):
        with monkeypatch.context() as changed:
            changed.setattr(multistep, name, value)
            multistep._choice_plan.cache_clear()
            assert bench.behaviour.__wrapped__("exp_res") != digests["exp_res"], name
    real = bench.sampled
    monkeypatch.setattr(bench, "sampled", lambda *args: (real(*args)[0] * (1.0 + 1e-6), 0))
    assert bench.behaviour.__wrapped__("exp_res_2m") != digests["exp_res_2m"]


def test_missing_weights_and_unknown_words_are_named(pack, monkeypatch, tmp_path):
    missing = SimpleNamespace(file=tmp_path / "emoji_sd.safetensors", shape=(12, 16, 16))
    monkeypatch.setitem(network.networks.NETWORKS, "emoji_sd", missing)
    network.load.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"emoji_sd.safetensors is missing: python -m training emoji_sd makes it"):
        network.load("emoji_sd")
    with pytest.raises(ValueError, match="cases must be words of photo, latent, .*, got 'fotos'"):
        cases(words=("fotos",))
    with pytest.raises(FileNotFoundError, match=r"nowhere.npz is missing"):
        exact_worlds.Photo(tmp_path / "nowhere.npz")


def test_exp_res_sde_stays_in_the_data_under_strong_guidance(pack):
    """On digits, whose values are 0 to 1, the same rule leaves them by far without its two precautions, and further than 2
    without its bounds. `test_sde.py` shows what the limit of eta is for.
    """
    case = from_noise("digits", exact_worlds.digit_mixture, "eps", 15.0, 16)
    sigmas, rule = case.grid("karras", 6), res_rule(2, InAlpha(6.0, 1.5), corrector=True)

    def largest(planner):
        generator = torch.Generator().manual_seed(0)
        options = {"disable": True, "noise_sampler": lambda *_: torch.randn(case.noise.shape, generator=generator)}
        model = Denoiser(lambda x, sigma: case.denoised(x, float(sigma[0])), case.model_sampling)
        plan = planner(sigmas, rule, noise=Noise(1.0))
        return float(run(plan, model, case.start(float(sigmas[0])), sigmas, **options).abs().max())

    assert largest(steady_sde_plan) < 2.0 < 5.0 < largest(rule_plan)
