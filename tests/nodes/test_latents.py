"""Latents of every shape and models of every dtype, through the host's own sampling."""

import gc

import pytest
import torch
from pixelwise import ALL, KINDS, assert_right, condition, gaussian_model, noise_like, sample, schedule, solution, steps_of

from samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS
from samplers.interpolation import InAlpha
from samplers.multistep import multistep_plan
from samplers.time_maps import FLOW, VE

STOCHASTIC = [name for name, sampler in SAMPLERS.items() if sampler.stochastic]
# video and audio of one item: channels, frames, height, width; channels, length
SHAPES = [(2, 3, 8, 8), (2, 40)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL)
def test_five_dimensional_latents(pack, name, kind):
    model, noise, mean = gaussian_model(kind), noise_like((3, 2, 6, 16, 16)), -0.3 + 2.0 * 0.7
    sigmas = schedule(model, steps_of(name))
    result = sample(model, name, sigmas, noise, condition(0.4), condition(-0.3), cfg=2.0)
    assert_right(name, result, solution(model, sigmas, noise, mean), mean)


def test_runs_leave_no_tensor_behind(pack):
    """Apart from what the first runs keep, such as plans, every run frees all that it used."""
    model, noise = gaussian_model("flow"), noise_like((1, 2, 4, 4))

    def held():
        for name in (*SAMPLERS, *ADAPTIVE_SAMPLERS):
            sample(model, name, schedule(model, 6), noise, condition(0.4), condition(-0.3), cfg=2.0)
        gc.collect()
        return sum(type(thing) is torch.Tensor for thing in gc.get_objects())

    held()
    assert held() == held()


# --- several latents of different shapes in one, which samplers get packed as (batch, 1, numbers) ---


def _sample_nested(model, name, sigmas, noises, latents=None, masks=None, **options):
    import comfy.sample
    import comfy.samplers
    from comfy.nested_tensor import NestedTensor

    noise, latent = NestedTensor([n.clone() for n in noises]), NestedTensor(latents or [torch.zeros_like(n) for n in noises])
    options["noise_mask"] = masks and NestedTensor(masks)
    inputs = comfy.samplers.sampler_object(name), sigmas, condition(0.4), condition(-0.3), latent
    return comfy.sample.sample_custom(model, noise, 2.0, *inputs, disable_pbar=True, seed=3, **options).unbind()


def _noises(batch):
    return [noise_like((batch, *shape), seed) for seed, shape in enumerate(SHAPES)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ALL)
def test_nested_latents(pack, name, kind):
    model, noises, mean = gaussian_model(kind), _noises(32), -0.3 + 2.0 * 0.7
    sigmas, seen = schedule(model, steps_of(name)), []
    results = _sample_nested(model, name, sigmas, noises, callback=lambda step, x0, x, total: seen.append(step))
    whole = torch.cat([r.flatten(1) for r in results], dim=1)
    assert_right(name, whole, torch.cat([solution(model, sigmas, n, mean).flatten(1) for n in noises], dim=1), mean)
    assert [r.shape[1:] for r in results] == list(SHAPES)
    assert seen == sorted(set(seen)) and seen[-1] == len(sigmas) - 2


@pytest.mark.parametrize("name", STOCHASTIC)
def test_an_item_of_nested_latents_has_the_same_noise_alone(pack, name):
    """The host keeps the initial noise packed, as the sampler gets the latents."""
    model, noises = gaussian_model("flow"), _noises(3)
    sigmas = schedule(model, 6)
    whole = _sample_nested(model, name, sigmas, noises)
    alone = _sample_nested(model, name, sigmas, [n[1:2] for n in noises])
    for part, item in zip(whole, alone):
        torch.testing.assert_close(item, part[1:2])
    assert not torch.allclose(whole[1][0], whole[1][1], atol=0.1)


@pytest.mark.parametrize("name", ALL)
def test_a_mask_of_nested_latents_keeps_what_is_outside(pack, name):
    model, noises = gaussian_model("flow"), _noises(2)
    latents = [torch.full_like(n, 5.0) for n in noises]
    masks = [torch.zeros_like(noises[0]), torch.ones_like(noises[1])]
    masks[0][..., 4:, :] = 1.0
    video, audio = _sample_nested(model, name, schedule(model, 6), noises, latents, masks)
    torch.testing.assert_close(video[..., :4, :], latents[0][..., :4, :])
    assert (video[..., 4:, :] - 5.0).abs().min() > 0.5 and (audio - 5.0).abs().min() > 0.5


# --- a network of the host in half precision ---


@pytest.fixture(scope="module")
def video_model(pack):
    """video_model(dtype of the weights, dtype of the computation) -> MODEL: a Wan 2.1 of one small block, always the same."""
    import comfy.model_patcher
    import comfy.ops
    import comfy.supported_models

    class Tiny(comfy.supported_models.WAN21_T2V):
        unet_config = {
            "image_model": "wan2.1", "model_type": "t2v", "dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 1,
            "in_dim": 16, "out_dim": 16, "text_dim": 32,
        }  # fmt: skip

    def make(weights, computation=None):
        config = Tiny(dict(Tiny.unet_config))
        config.set_inference_dtype(weights, computation)
        model = config.get_model({}).eval()
        generator = torch.Generator().manual_seed(0)
        for parameter in model.diffusion_model.parameters():
            value = torch.randn(parameter.shape, generator=generator) / max(parameter.shape[-1], 1) ** 0.5
            parameter.data.copy_(value if parameter.ndim > 1 else 1.0 + 0.1 * value)
        cpu = torch.device("cpu")
        return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)

    return make


def _sample_video(model, name):
    states = []
    noise, text = noise_like((2, 16, 3, 8, 8)), [[noise_like((1, 4, 32), 1), {}]]
    callback = lambda step, x0, x, total: states.append(x.dtype)  # noqa: E731
    return sample(model, name, schedule(model, 8), noise, text, callback=callback), states


# (dtype of the weights, of the computation, distance from the result in float32)
HALF = {
    "float16": (torch.float16, None, 2e-3),
    "bfloat16": (torch.bfloat16, None, 2e-2),
    "bfloat16 cast to float16": (torch.bfloat16, torch.float16, 2e-2),
    "float16 cast to float32": (torch.float16, torch.float32, 2e-3),
}


@pytest.mark.parametrize("weights, computation, tolerance", HALF.values(), ids=HALF)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_network_in_half_precision_gives_nearly_the_same(video_model, name, weights, computation, tolerance):
    """The state stays in float32, and a stochastic sampler adds the same noise; other noise would differ by its own size."""
    expected, _ = _sample_video(video_model(torch.float32), name)
    result, states = _sample_video(video_model(weights, computation), name)
    assert result.isfinite().all() and set(states) == {torch.float32}
    assert float((result - expected).norm() / expected.norm()) < tolerance


@pytest.mark.parametrize("steps", [20, 40])
@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("exp_res_3s", "exp_res_3s_sde")])
def test_many_steps_do_not_amplify_half_precision(pack, name, steps):
    """With closer steps, an extrapolation from adjacent outputs would amplify their rounding more."""
    from training import networks

    network, noise = networks.NETWORKS["unet"], noise_like((2, *networks.NETWORKS["unet"].shape))
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        model = networks.load("unet")
        model.model.diffusion_model.to(dtype)
        model.model.diffusion_model.dtype = dtype  # the dtype of the input that the host gives it
        results.append(sample(model, name, schedule(model, steps), noise, networks.conditioning(network, [3, 5])))
    assert float((results[1] - results[0]).norm() / results[0].norm()) < 0.012


@pytest.mark.parametrize("power, scale", [(1.5, 6.0), (2.0, 1.5)])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_interpolation_in_alpha_are_small_on_every_schedule(pack, kind, power, scale):
    """The sum of their absolute values bounds the amplification of an error in the outputs."""
    import comfy.samplers

    model, time = gaussian_model(kind), FLOW if kind == "flow" else VE
    for scheduler in comfy.samplers.SCHEDULER_NAMES:
        for steps in (4, 8, 12, 20, 40, 100):
            sigmas = schedule(model, steps, scheduler)
            plan = multistep_plan(sigmas, 4, time, interpolation=InAlpha(scale, power), corrector=True)
            *before, last = (sum(abs(weight) for _, weight in stage.weights) for stage in plan.stages)
            assert last < 4.0 and max(before, default=0.0) < 40.0, (scheduler, steps)
