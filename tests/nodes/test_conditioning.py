"""Conditions, masks and hooks of the host act at every call, on the grid and between its points."""

import bisect

import pytest
import torch
from exact import REGISTERED
from pixelwise import ALL, KINDS, STD, assert_right, condition, gaussian_model, noise_like, sample, schedule, solution, steps_of

from samplers.catalogue import SAMPLERS

SHAPE = (4, 2, 32, 64)


@pytest.fixture
def node(pack, host):
    """node(name, **inputs) -> the outputs of a node of the host."""
    return lambda name, **inputs: getattr(host.NODE_CLASS_MAPPINGS[name](), host.NODE_CLASS_MAPPINGS[name].FUNCTION)(**inputs)


@pytest.fixture
def both(node):
    """both(name, *parts) -> CONDITIONING of two parts, which are means and the inputs of the node that restricts them."""

    def both(name, *parts):
        one, two = (node(name, conditioning=condition(mean), **inputs)[0] for mean, inputs in parts)
        return node("ConditioningCombine", conditioning_1=one, conditioning_2=two)[0]

    return both


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL)
def test_areas_of_different_conditions(both, name, kind):
    model, noise = gaussian_model(kind), noise_like(SHAPE)
    sigmas, half = schedule(model, steps_of(name)), {"width": 256, "height": 256, "y": 0, "strength": 1.0}
    halves = both("ConditioningSetArea", (0.4, {**half, "x": 0}), (-0.6, {**half, "x": 256}))
    result = sample(model, name, sigmas, noise, halves, condition(0.0), cfg=1.5)
    mean = torch.full(SHAPE, 1.5 * 0.4)
    mean[..., 32:] = -1.5 * 0.6
    assert_right(name, result, solution(model, sigmas, noise, mean), mean)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL)
def test_conditions_blended_by_masks(both, name, kind):
    model, noise = gaussian_model(kind), noise_like(SHAPE)
    sigmas, ramp = schedule(model, steps_of(name)), torch.linspace(0.1, 0.9, 64).expand(1, 32, 64)
    masks = ({"mask": mask, "strength": 1.0, "set_cond_area": "default"} for mask in (ramp, 1.0 - ramp))
    blend, mean = both("ConditioningSetMask", *zip((1.0, -1.0), masks)), (2.0 * ramp - 1.0).expand(SHAPE)
    assert_right(name, sample(model, name, sigmas, noise, blend), solution(model, sigmas, noise, mean), mean)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL)
def test_partial_denoising_under_a_mask(node, name, kind):
    """KSampler with denoise 0.6 keeps the latent outside the mask and gives the ODE's solution inside."""
    import comfy.sample
    import comfy.samplers

    model, latent, steps = gaussian_model(kind), 0.3 + STD * noise_like((4, 2, 64, 64), 9), steps_of(name)
    mask = torch.zeros(1, 64, 64)
    mask[..., 20:] = 1.0
    [masked] = node("SetLatentNoiseMask", samples={"samples": latent}, mask=mask)
    [result] = node(
        "KSampler", model=model, seed=5, steps=steps, cfg=1.0, sampler_name=name, scheduler="logsnr_uniform",
        positive=condition(0.3), negative=condition(0.3), latent_image=masked, denoise=0.6,
    )  # fmt: skip
    sigmas = comfy.samplers.KSampler(model, steps, "cpu", name, "logsnr_uniform", 0.6).sigmas
    expected = solution(model, sigmas, comfy.sample.prepare_noise(latent, 5), 0.3, latent)
    torch.testing.assert_close(result["samples"][..., :20], latent[..., :20], atol=2e-5, rtol=1e-5)
    assert_right(name, result["samples"][..., 20:], expected[..., 20:], 0.3)


@pytest.mark.parametrize("noise_mask", [False, True], ids=["whole latent", "masked latent"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL)
def test_models_for_inpainting(node, name, kind, noise_mask):
    """The network gets the noisy latent, and a mask and the picture around it for each item."""
    import comfy.sd

    model, noise = gaussian_model(kind, channels=3), noise_like((4, 3, 48, 48))
    model.model.set_inpaint()
    pixels = torch.rand(4, 48, 48, 3, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(1, 48, 48)
    mask[:, 16:, 24:] = 1.0
    vae = comfy.sd.VAE(sd={"pixel_space_vae": torch.tensor(1.0)})
    positive, negative, latent = node(
        "InpaintModelConditioning", positive=condition(0.4), negative=condition(-0.3), vae=vae, pixels=pixels, mask=mask,
        noise_mask=noise_mask,
    )  # fmt: skip
    sigmas, picture = schedule(model, steps_of(name)), latent["samples"]
    masks = {"noise_mask": latent["noise_mask"]} if noise_mask else {}
    result = sample(model, name, sigmas, noise, positive, negative, cfg=2.0, latent=picture, **masks)
    torch.testing.assert_close(result[:, :, :16], picture[:, :, :16], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(result[..., :24], picture[..., :24], atol=1e-5, rtol=1e-5)
    mean = -0.3 + 2.0 * 0.7
    expected = solution(model, sigmas, noise, mean, picture)
    assert_right(name, result[:, :, 16:, 24:], expected[:, :, 16:, 24:], mean)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REGISTERED)
def test_a_mask_that_opens_with_sigma(pack, name, kind):
    """With Differential Diffusion the output jumps where the mask opens, for eps models also in the very last call."""
    from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion

    model, noise = gaussian_model(kind), noise_like((1, 2, 8, 64))
    different = DifferentialDiffusion.execute(model, 1.0).result[0]
    mask = torch.linspace(-0.2, 1.2, 64).clamp(0.0, 1.0).expand(1, 1, 8, 64)
    inputs = {"noise": noise, "positive": condition(0.4), "latent": torch.full_like(noise, 2.0), "noise_mask": mask}
    expected = sample(different, "heun", schedule(model, 500), **inputs)
    error = sample(different, name, schedule(model), **inputs) - expected
    # Euler's is 0.024 and 0.17
    assert float(error.norm() / expected.norm()) < 0.025 and float(error.abs().max()) < 0.25


# --- what holds from one sigma to another ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL)
def test_a_condition_for_a_range_of_timesteps(both, name, kind):
    """Every call of every stage gets the condition of its sigma, and the result solves the ODE that changes there."""
    model, noise = gaussian_model(kind), noise_like((1, 2, 8, 8))
    sigmas, boundary = schedule(model, 200), float(model.get_model_object("model_sampling").percent_to_sigma(0.4))
    ranges = both("ConditioningSetTimestepRange", (1.0, {"start": 0.0, "end": 0.4}), (-1.0, {"start": 0.4, "end": 1.0}))
    result = sample(model, name, sigmas, noise, ranges)
    for call in model.model.diffusion_model.seen:
        assert call["means"] == [1.0 if call["sigma"] > boundary else -1.0]
    if name in REGISTERED:
        expected = solution(model, sigmas, noise, 1.0, changes=[(boundary, -1.0)])
        assert float((result - expected).norm() / expected.norm()) < 0.03


@pytest.mark.parametrize("name", ALL)
def test_a_controlnet_for_a_range_of_timesteps(node, name):
    """The host's ControlNet gets the sigma of every call, also between grid points."""
    import comfy.controlnet

    asked = []

    class ControlModel(torch.nn.Module):
        dtype = torch.float32

        def forward(self, x, hint, timesteps, context, **kwargs):
            asked.append(float(timesteps[0]))
            return {"middle": [torch.full_like(x[:, :1], 0.8)]}

    model, noise = gaussian_model("flow"), noise_like((2, 2, 8, 8))
    control = comfy.controlnet.ControlNet(ControlModel(), load_device=torch.device("cpu"))
    positive, negative = node(
        "ControlNetApplyAdvanced", positive=condition(0.1), negative=condition(0.1), control_net=control,
        image=torch.zeros(1, 64, 64, 3), strength=0.5, start_percent=0.2, end_percent=0.7,
    )  # fmt: skip
    sigmas, sampling = schedule(model, 200), model.get_model_object("model_sampling")
    first, last = (float(sampling.percent_to_sigma(p)) for p in (0.2, 0.7))
    result = sample(model, name, sigmas, noise, positive, negative)
    seen = model.model.diffusion_model.seen
    for call in seen:
        assert call["means"] == pytest.approx([0.5 if last <= call["sigma"] <= first else 0.1] * 2)
    inside = [call["sigma"] for call in seen if last <= call["sigma"] <= first]
    assert asked == pytest.approx([float(sampling.timestep(torch.tensor(s))) for s in inside])
    if name in REGISTERED:
        expected = solution(model, sigmas, noise, 0.1, changes=[(first, 0.5), (last, 0.1)])
        assert float((result - expected).norm() / expected.norm()) < 0.03


# --- context windows, which the host lays out again for every step of SIGMAS ---


@pytest.mark.parametrize("context_schedule", ["standard_static", "standard_uniform", "looped_uniform"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_all_calls_of_a_step_use_its_context_windows(pack, name, context_schedule):
    """They are Euler's windows of that step, which the host finds by the sigma in the schedule and keeps for other sigmas."""
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    def layouts(sampler):
        model.model.diffusion_model.seen.clear()
        samples = sample(windowed, sampler, sigmas, noise, condition(0.4))
        windows_by_sigma = {}
        for call in model.model.diffusion_model.seen:
            windows_by_sigma.setdefault(call["sigma"], set()).add(tuple(call["window"]))
        return samples, windows_by_sigma

    model, noise = gaussian_model("flow"), noise_like((1, 2, 11, 4, 4))
    sigmas, windows = schedule(model, 7), {"context_length": 4, "context_overlap": 2, "context_stride": 1, "closed_loop": False}
    windows |= {"context_schedule": context_schedule, "fuse_method": "pyramid", "dim": 2, "freenoise": False}
    windowed = ContextWindowsManualNode.execute(model, **windows).result[0]
    _, expected = layouts("euler")
    samples, windows_by_sigma = layouts(name)
    rising = sorted(expected)
    for sigma, layout in windows_by_sigma.items():
        assert layout == expected[rising[bisect.bisect_left(rising, sigma)]]
    # frames are independent in this model, so windows change nothing
    torch.testing.assert_close(samples, sample(model, name, sigmas, noise, condition(0.4)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_the_network_is_called_at_every_sigma_of_the_schedule_to_the_bit(pack, name, kind):
    """Hooks of the host and of other packs find sigmas in the schedule by equality, and expect them to fall."""
    for scheduler in ("simple", "normal", "karras", "beta", "kl_optimal", "logsnr_uniform", "logsnr_arctan"):
        model = gaussian_model(kind)
        sigmas = schedule(model, 9, scheduler)
        sample(model, name, sigmas, noise_like((1, 2, 2, 2)), condition(0.0))
        seen = [call["sigma"] for call in model.model.diffusion_model.seen]
        assert seen == sorted(seen, reverse=True), scheduler
        assert {float(sigma) for sigma in sigmas[:-1]} <= set(seen), scheduler
