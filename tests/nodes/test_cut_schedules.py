"""A schedule sampled in parts, by KSampler (Advanced) with leftover noise and without new noise."""

import pytest
import torch
from exact import REGISTERED, calls_per_step
from pixelwise import KINDS, PLAIN, assert_right, condition, gaussian_model, schedule, solution, steps_of

STEPS, MEAN = 36, 0.7
SINGLE_STEP = [name for name in REGISTERED if calls_per_step(name) > 1]


@pytest.fixture
def run(host, pack):
    """run(model, name, cuts) -> the latent after every part of a schedule of STEPS steps, cut at the given steps.

    Every step is divided for a sampler that needs more steps.
    """

    def run(model, name, cuts):
        steps, bounds = steps_of(name, STEPS), [steps_of(name, cut) for cut in (0, *cuts, STEPS)]
        latent, latents = {"samples": torch.zeros(2, 2, 64, 64)}, []
        for begin, end in zip(bounds, bounds[1:]):
            [latent] = host.NODE_CLASS_MAPPINGS["KSamplerAdvanced"]().sample(
                model, "enable" if begin == 0 else "disable", 3, steps, 1.0, name, "logsnr_uniform", condition(MEAN),
                condition(MEAN), latent, begin, end, "disable" if end == steps else "enable",
            )  # fmt: skip
            latents.append(latent["samples"])
        return latents

    return run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SINGLE_STEP)
def test_a_single_step_method_cannot_tell_that_a_schedule_was_cut(run, name, kind):
    model = gaussian_model(kind)
    [whole] = run(model, name, [])
    torch.testing.assert_close(run(model, name, [7, 20])[-1], whole, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REGISTERED)
def test_leftover_noise_is_that_of_the_sigma_the_part_ends_at(run, name, kind):
    """Flow latents with leftover noise are kept divided by alpha, which the next part undoes."""
    import comfy.sample

    model = gaussian_model(kind)
    sigmas, noise = schedule(model, STEPS), comfy.sample.prepare_noise(torch.zeros(2, 2, 64, 64), 3)
    for latent, step in zip(run(model, name, [12, 24]), (12, 24, STEPS)):
        state = latent * (1.0 - sigmas[step] if kind == "flow" else 1.0)
        expected = solution(model, sigmas, noise, MEAN, end=sigmas[step])
        assert float((state - expected).norm() / expected.norm()) < 6e-3


@pytest.mark.parametrize("cuts", [[], [18], [12, 24], [6, 12, 18, 24, 30]], ids=len)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [name for name in PLAIN if PLAIN[name].stochastic])
def test_parts_of_one_seed_add_independent_noise(host, run, name, kind, cuts):
    """So does KSampler with denoise 0.7 on the result of a run.

    With the same noise in every part, the spread would be 1.2 times the data's from three parts on.
    """
    model = gaussian_model(kind)
    latent = {"samples": run(model, name, cuts)[-1]}
    assert_right(name, latent["samples"], torch.zeros(2, 2, 64, 64), MEAN)
    inputs = 3, steps_of(name, STEPS), 1.0, name, "logsnr_uniform", condition(MEAN), condition(MEAN), latent, 0.7
    [refined] = host.NODE_CLASS_MAPPINGS["KSampler"]().sample(model, *inputs)
    assert_right(name, refined["samples"], latent["samples"], MEAN)
