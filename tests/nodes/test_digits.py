"""The digits model is exact, sees the true sigma, and behaves like any model of the host."""

import time

import pytest
import torch

from embedded.digits import CLASSES, digits, load

KINDS = ["eps", "v", "edm", "flow"]


@pytest.fixture
def model(pack):
    def make(kind, width=0.2, shift=3.0):
        return pack["RESDigitsModel"].execute({"kind": kind, "shift": shift}, width).result[0]

    return make


def _noisy(kind, sigma, n=6):
    data = digits(0.2)
    generator = torch.Generator().manual_seed(0)
    clean, noise = data.sample(n, generator), torch.randn(n, 64, generator=generator)
    return ((1 - sigma if kind == "flow" else 1.0) * clean + sigma * noise).reshape(n, 1, 8, 8)


def test_the_data_is_complete():
    images, labels = load()
    assert images.shape == (1797, 8, 8) and images.max() == 16
    assert len(labels) == 1797 and set(labels) == set(range(CLASSES))


@pytest.mark.parametrize("kind", KINDS)
def test_denoiser_is_exact_between_timesteps(model, kind):
    """At sigmas that lie between the entries of the host's table of timesteps."""
    base = model(kind).model
    for sigma in (0.0371, 0.4321, 0.777) + (() if kind == "flow" else (3.1416, 14.0)):
        x = _noisy(kind, sigma)
        exact = digits(0.2, torch.float64).denoise(x.double(), sigma, 1 - sigma if kind == "flow" else 1.0)
        denoised = base.apply_model(x, torch.full((len(x),), sigma))
        torch.testing.assert_close(denoised.double(), exact, atol=2e-5 * max(1.0, sigma), rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_class_conditioning(model, pack, kind):
    """A class is the mixture of its digits alone; two classes averaged are their union; zeros mean any."""
    base, x = model(kind).model, _noisy(kind, 0.6)
    sigma = torch.full((len(x),), 0.6)
    alpha = 0.4 if kind == "flow" else 1.0
    condition = pack["RESDigitsCondition"].execute("7").result[0][0][0]
    mixture = digits(0.2)
    sevens = type(mixture)(mixture.means[mixture.labels == 7], 0.2)
    tokens = condition.expand(len(x), -1, -1)
    kwargs = {"atol": 1e-5, "rtol": 0}
    torch.testing.assert_close(base.apply_model(x, sigma, c_crossattn=tokens), sevens.denoise(x, 0.6, alpha), **kwargs)
    any_digit = mixture.denoise(x, 0.6, alpha)
    torch.testing.assert_close(base.apply_model(x, sigma, c_crossattn=torch.zeros_like(tokens)), any_digit, **kwargs)
    everything = pack["RESDigitsCondition"].execute("any digit").result[0][0][0].expand(len(x), -1, -1)
    torch.testing.assert_close(base.apply_model(x, sigma, c_crossattn=everything), any_digit, **kwargs)


def test_it_is_a_model_patcher_around_a_base_model(model):
    import comfy.model_base
    import comfy.model_patcher

    patcher = model("flow", shift=2.0)
    assert isinstance(patcher, comfy.model_patcher.ModelPatcher)
    assert isinstance(patcher.model, comfy.model_base.BaseModel)
    assert patcher.get_model_object("model_sampling").shift == 2.0
    assert patcher.clone().model is patcher.model


def test_model_sampling_patches_apply(model):
    """ModelSamplingSD3 changes the shift of the flow model, as it does for SD3."""
    import comfy.samplers
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    patched = ModelSamplingSD3().patch(model("flow", shift=1.0), 5.0)[0]
    sampling = patched.get_model_object("model_sampling")
    assert sampling.shift == 5.0
    assert float(comfy.samplers.calculate_sigmas(sampling, "simple", 4)[1]) == pytest.approx(5 * 0.75 / (1 + 4 * 0.75))


def test_previews(model):
    import latent_preview

    factors = model("eps").model.latent_format
    previewer = latent_preview.Latent2RGBPreviewer(factors.latent_rgb_factors)
    assert previewer.decode_latent_to_preview(torch.zeros(1, 1, 8, 8)).size == (8, 8)


@pytest.mark.parametrize("name", ["exp_res_2m", "exp_res_3s"])
def test_64_samples_at_20_calls_under_5_seconds(model, pack, name):
    import comfy.sample

    steps = 20 if name == "exp_res_2m" else 7
    condition = pack["RESDigitsCondition"].execute("any digit").result[0]
    latent = pack["RESDigitsLatent"].execute(64).result[0]["samples"]
    noise = comfy.sample.prepare_noise(latent, 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        begin = time.process_time()
        comfy.sample.sample(model("eps"), noise, steps, 4.0, name, "logsnr_uniform", condition, condition, latent, seed=0)
        assert time.process_time() - begin < 5.0
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("arguments, name", [(("flow", 0.1, -1.0), "shift"), (("eps", -0.1, 1.0), "width")])
def test_bad_input(model, arguments, name):
    with pytest.raises(ValueError, match=f"{name} must be above 0"):
        model(*arguments)


@pytest.mark.parametrize("scheduler", ["logsnr_uniform", "simple"])
@pytest.mark.parametrize("cache", ["EasyCache", "LazyCache"])
@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", ["exp_res_2m", "exp_res_3m", "exp_res_2s", "exp_res_3s"])
def test_caching_wrappers(pack, host, model, name, kind, cache, scheduler):
    """The host's caches keep views of what the model is given: one that never skips must change no bit."""
    import comfy.sample
    from comfy_extras import nodes_easycache

    node = getattr(nodes_easycache, f"{cache}Node")
    condition = pack["RESDigitsCondition"].execute("3").result[0]
    latent = torch.zeros(4, 1, 8, 8)
    noise = comfy.sample.prepare_noise(latent, 0)

    def run(patcher):
        how = (noise, 12, 2.0, name, scheduler, condition, condition, latent)
        return comfy.sample.sample(patcher, *how, seed=0, disable_pbar=True)

    plain = run(model(kind))
    never = node.execute(model(kind), 0.0, 0.0, 1.0, False).result[0]
    assert torch.equal(run(never), plain)
    often = run(node.execute(model(kind), 0.2, 0.1, 0.95, False).result[0])
    assert often.isfinite().all()
