"""The toy models are exact, get the exact sigma, and behave like any model of the host."""

import time

import pytest
import torch
from pixelwise import noise_like, sample, schedule

from embedded import digits, emoji

KINDS = ["eps", "v", "edm", "flow"]
DATA = {"emoji": (emoji.SHAPE, emoji.emoji), "digits": (digits.SHAPE, digits.digits)}


def _noisy(kind, sigma, n=6, data="digits"):
    shape, mixture = DATA[data]
    generator = torch.Generator().manual_seed(0)
    clean = mixture(0.2).sample(n, generator).reshape(n, *shape)
    return (1 - sigma if kind == "flow" else 1.0) * clean + sigma * torch.randn(n, *shape, generator=generator)


def test_the_digits_are_complete():
    images, labels = digits.load()
    assert images.shape == (1797, 8, 8) and images.max() == 16
    assert len(labels) == 1797 and set(labels) == set(range(digits.CLASSES))


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("kind", KINDS)
def test_denoiser_is_exact_between_timesteps(toy, kind, data):
    """The sigmas lie between the entries of the host's table of timesteps."""
    base = toy(kind, 0.2, data=data).model
    for sigma in (0.0371, 0.4321, 0.777) + (() if kind == "flow" else (3.1416, 14.0)):
        x = _noisy(kind, sigma, data=data)
        exact = DATA[data][1](0.2, torch.float64).denoise(x.double(), sigma, 1 - sigma if kind == "flow" else 1.0)
        denoised = base.apply_model(x, torch.full((len(x),), sigma))
        torch.testing.assert_close(denoised.double(), exact, atol=2e-5 * max(1.0, sigma), rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_class_conditioning(toy, digit, kind):
    """A class is the mixture of only its digits; zeros mean any."""
    base, x, mixture = toy(kind, 0.2).model, _noisy(kind, 0.6), digits.digits(0.2)
    sevens = type(mixture)(mixture.means[mixture.labels == 7], 0.2)
    seven, everything = (digit(name)[0][0] for name in ("7", "any"))
    for tokens, data in ((seven, sevens), (torch.zeros_like(seven), mixture), (everything, mixture)):
        denoised = base.apply_model(x, torch.full((len(x),), 0.6), c_crossattn=tokens.expand(len(x), -1, -1))
        expected = data.denoise(x, 0.6, 0.4 if kind == "flow" else 1.0)
        torch.testing.assert_close(denoised, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("data", DATA)
def test_previews_show_the_picture(toy, data):
    import latent_preview
    import numpy as np

    shape, mixture = DATA[data]
    image = mixture(0.2).means[300].reshape(1, *shape)
    previewer = latent_preview.Latent2RGBPreviewer(toy(data=data).model.latent_format.latent_rgb_factors)
    shown = torch.from_numpy(np.array(previewer.decode_latent_to_preview(image))) / 255.0
    torch.testing.assert_close(shown, (image[0].expand(3, -1, -1).permute(1, 2, 0) + 1.0) / 2.0, atol=0.01, rtol=0)


@pytest.mark.parametrize("data, batch", [("digits", 64), ("emoji", 16)])
@pytest.mark.parametrize("name, steps", [("exp_res_2m", 20), ("exp_res_3s", 7)])
def test_20_calls_are_quick(toy, digit, name, steps, data, batch):
    """The time of all cores is counted."""
    model, conditions = toy("eps", 0.2, data=data), [digit("any", data)] * 2
    begin = time.process_time()
    sample(model, name, schedule(model, steps), noise_like((batch, *DATA[data][0])), *conditions, cfg=4.0)
    assert time.process_time() - begin < 5.0


@pytest.mark.parametrize("kind", ["eps", "flow"])
def test_samples_are_emoji_of_the_class_asked_for(toy, digit, kind):
    """Samples are crisp at the default width: their distance from an emoji is at most the width."""
    model = toy(kind, emoji.DEFAULT_WIDTH, data="emoji")
    inputs = schedule(model, 20), noise_like((16, *emoji.SHAPE)), digit("food", "emoji"), digit("any", "emoji")
    samples = sample(model, "exp_res_2m", *inputs, cfg=3.0)
    mixture = emoji.emoji()
    distance, nearest = torch.cdist(samples.flatten(1), mixture.means).min(dim=1)
    assert set(mixture.labels[nearest].tolist()) == {emoji.CLASSES.index("food")}
    assert len(set(nearest.tolist())) > 8
    assert distance.max() / mixture.means.shape[1] ** 0.5 < 1.1 * emoji.DEFAULT_WIDTH


def test_a_condition_of_other_data_is_refused(toy, digit):
    """Tokens of a text encoder are refused as well."""
    three, food, text = digit("3")[0][0], digit("food", "emoji")[0][0], torch.ones(1, 77, 768)
    for data, tokens in (("emoji", three), ("digits", food), ("emoji", text)):
        x = _noisy("eps", 1.0, n=1, data=data)
        with pytest.raises(ValueError, match=r"conditioning has tokens of length \d+, but .* Use Toy Condition"):
            toy(data=data).model.apply_model(x, torch.ones(1), c_crossattn=tokens)


@pytest.mark.parametrize("data, scale", [("emoji", 3), ("digits", 12)])
def test_decode_sets_the_pictures_in_a_frame(pack, data, scale):
    """Every latent pixel is a square; row by row, and empty places are grey. Digits have colours."""
    from comfy.nested_tensor import NestedTensor

    (_, height, width), mixture = DATA[data]
    latents = mixture(0.2).means[[5, 400, 77]].reshape(3, -1, height, width)
    image = pack["RESToyDecode"].execute({"samples": latents}, 2, 100).result[0]
    assert image.shape == (1, (2 * (height + 1) + 1) * scale, (2 * (width + 1) + 1) * scale, 3)
    pixels = image[0, ::scale, ::scale]
    for item, (row, column) in zip(latents, ((0, 0), (0, 1), (1, 0))):
        top, left = 1 + row * (height + 1), 1 + column * (width + 1)
        shown = pixels[top : top + height, left : left + width].permute(2, 0, 1)
        share = item / 2.0 + 0.5
        torch.testing.assert_close(shown, share if data == "emoji" else torch.cat([share**0.6, share**1.1, share**2.5]))
    assert (pixels[height + 1 :, width + 1 :] == 0.5).all() and (pixels[0] == 0.5).all()
    with pytest.raises(ValueError, match="samples must have the shape .*, got a nested latent"):
        pack["RESToyDecode"].execute({"samples": NestedTensor([latents] * 2)}, 2, 100)


@pytest.mark.parametrize("scheduler", ["logsnr_uniform", "simple"])
@pytest.mark.parametrize("cache", ["EasyCache", "LazyCache"])
@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", ["exp_res", "exp_res_2m", "exp_res_2s", "exp_res_3s"])
def test_caching_wrappers(toy, digit, name, kind, cache, scheduler):
    """The host's caches keep views of the model's inputs; a cache that never skips must not change any bit."""
    from comfy_extras import nodes_easycache

    def run(*thresholds):
        model = toy(kind, 0.2)
        if thresholds:
            model = getattr(nodes_easycache, f"{cache}Node").execute(model, *thresholds, False).result[0]
        return sample(model, name, schedule(model, 12, scheduler), noise_like((4, 1, 8, 8)), digit("3"), cfg=2.0)

    assert torch.equal(run(0.0, 0.0, 1.0), run())
    assert run(0.2, 0.1, 0.95).isfinite().all()
