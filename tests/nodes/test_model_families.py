"""All ways in which the host's models add noise are sampled correctly or refused, with the host's own model-sampling classes.

The solution comes from the host's Heun in many steps. The models of all families have the same exact denoiser.
"""

import pytest
import torch
from exact import REGISTERED
from pixelwise import noise_like, sample, schedule
from process_examples import distance

from embedded.digits import digits
from samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS, SOLVERS

FAMILIES = ["EPS", "V_PREDICTION", "V_PREDICTION_DDPM", "EDM", "STABLE_CASCADE", "V_PREDICTION_EDM", "V_PREDICTION_CONTINUOUS"]
FAMILIES += ["FLOW", "FLUX", "FLOW_COSMOS", "IMG_TO_IMG"]
SETTINGS = {"FLOW": {"shift": 3.0}, "FLUX": {"shift": 1.15}}
ANY = [[torch.ones(1, 1, 10), {}]]  # CONDITIONING of any digit


@pytest.fixture
def family(module):
    """family(name, **sampling settings) -> MODEL, or a skip where the host has no such family."""
    import comfy.model_base

    toy_model = module("nodes.toy_model")

    def make(name, **settings):
        kind = getattr(comfy.model_base.ModelType, name, None)
        if kind is None:
            pytest.skip(f"this host has no {name}")
        config = toy_model.model_config(1)
        config.sampling_settings = settings or SETTINGS.get(name, {})
        return _on_cpu(toy_model.MixtureModel(config, kind, toy_model.MixtureNet(digits(0.2))))

    return make


def _on_cpu(model):
    """The MODEL of a model of the host."""
    import comfy.model_patcher

    return comfy.model_patcher.ModelPatcher(model.eval(), load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


def _sample(model, sampler, steps, scheduler="logsnr_uniform", batch=16):
    """Latents; `sampler` is a name or a SAMPLER."""
    return sample(model, sampler, schedule(model, steps, scheduler), noise_like((batch, 1, 8, 8), 5), ANY, seed=5)


def _check_moments(model, sampler):
    """Samples have the mean and the spread of the data, which are -0.389 and 0.752; the mixture adds its width to the spread."""
    result, data = _sample(model, sampler, 60, batch=256), digits(0.2).means
    assert float(result.mean()) == pytest.approx(float(data.mean()), abs=0.03), sampler
    assert float(result.std()) == pytest.approx((float(data.var()) + 0.04) ** 0.5, abs=0.03), sampler


@pytest.mark.parametrize("name", FAMILIES)
def test_deterministic_samplers_agree_with_heun_in_many_steps(family, name):
    _check_solution(family(name), 60, 0.015)


def test_zero_terminal_snr(family):
    """The sigma_max is 4518 instead of 14.6."""
    model = family("V_PREDICTION", zsnr=True)
    assert float(model.get_model_object("model_sampling").sigma_max) > 4000
    _check_solution(model, 80, 0.02)


def _check_solution(model, steps, most):
    truth = _sample(model, "heun", 5 * steps)
    for sampler in (*REGISTERED, *ADAPTIVE_SAMPLERS):
        assert distance(_sample(model, sampler, steps), truth) < most, sampler


@pytest.mark.parametrize("name", FAMILIES)
def test_stochastic_samplers_give_the_datas_mean_and_spread(family, name):
    model = family(name)
    for sampler in (name for name, s in SAMPLERS.items() if s.stochastic):
        _check_moments(model, sampler)


def _churn(pack, solver="exp_res_2m"):
    return pack["RESStochasticChurn"].execute(solver, 5.0, 0.0, 100_000.0, 1.0).result[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_churn_gives_the_datas_mean_and_spread_and_stays_below_sigma_max(family, pack, name):
    model, called = family(name), []
    sampling = model.get_model_object("model_sampling")
    model.add_wrapper("predict_noise", lambda executor, x, sigma, *rest: called.append(sigma) or executor(x, sigma, *rest))
    for solver in SOLVERS if name in ("EPS", "FLOW") else ("exp_res", "exp_res_2s"):  # the models differ, not the solver
        _check_moments(model, _churn(pack, solver))
    sigmas = torch.stack([sigma[0] for sigma in called])
    assert float(sigmas.max()) == pytest.approx(float(sampling.sigma_max)) and len(sigmas.unique()) > 60


def test_a_flow_models_noise_scale_scales_the_noise(family, pack):
    """The host scales the initial noise of models that were trained on noise of another size, and samplers their added noise."""
    model = family("FLOW", shift=3.0, noise_scale=0.5)
    if getattr(model.get_model_object("model_sampling"), "noise_scale", 1.0) == 1.0:
        pytest.skip("this host has no noise_scale")
    for sampler in ("exp_res_2m_sde", _churn(pack)):
        assert float(_sample(model, sampler, 60, batch=256).std()) == pytest.approx(0.778, abs=0.03)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_image_goes_to_the_noise_and_comes_back(pack, family, name):
    model = family(name)
    image = digits(0.2).sample(8, torch.Generator().manual_seed(0)).reshape(8, 1, 8, 8)
    latent, ways = image, []
    for direction in ("invert", "denoise inverted"):
        sigmas = pack["RESLogSNRSchedule"].execute(model, 40, 1.0, {"spacing": "uniform"}, direction).result[0]
        latent = sample(model, "exp_res", sigmas, torch.zeros_like(image), ANY, latent=latent)
        ways.append(latent)
    assert (ways[0] - image).abs().mean() > 1.0
    assert distance(ways[1], image) < 0.02


def _velocity(family):
    """What versions of the host after 0.33 have as IMG_TO_IMG_VELOCITY."""
    import comfy.model_sampling as ms

    class ImageToImageVelocity(ms.CONST):
        def calculate_denoised(self, sigma, model_output, model_input):
            return model_input - model_output

        def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
            return latent_image

    model = family("FLOW")
    sampling = type("Sampling", (ms.ModelSamplingDiscreteFlow, ImageToImageVelocity), {})()
    model.add_object_patch("model_sampling", sampling)
    return model


@pytest.mark.parametrize("kind", ["IMG_TO_IMG_FLOW", "ImageToImageVelocity"])
def test_image_to_image_models_go_straight_to_the_output(family, pack, kind):
    """They are subclasses of CONST without noise, so one step gives the network's output, inverted as in the host."""
    model = family(kind) if kind.isupper() else _velocity(family)
    ours, hosts = (_sample(model, sampler, 1, "simple") for sampler in ("exp_res_2m", "euler"))
    torch.testing.assert_close(ours, hosts)
    for sampler in ("exp_res_2m_sde", _churn(pack)):
        with pytest.raises(ValueError, match=f"{kind}.*Use a deterministic one"):
            _sample(model, sampler, 4, "simple")


@pytest.fixture
def hunyuan(pack):
    """hunyuan(refiner, mean_flow) -> MODEL: the host's HunyuanImage 2.1 or its refiner with one small block of each kind."""
    import comfy.supported_models

    def make(refiner, mean_flow):
        kind = comfy.supported_models.HunyuanImage21Refiner if refiner else comfy.supported_models.HunyuanImage21
        config = kind({
            "image_model": "hunyuan_video", "in_channels": 128 if refiner else 64, "out_channels": 64, "vec_in_dim": None,
            "context_in_dim": 32, "hidden_size": 128, "mlp_ratio": 2.0, "num_heads": 1, "depth": 1, "depth_single_blocks": 1,
            "axes_dim": [16, 56, 56] if refiner else [64, 64], "theta": 256, "patch_size": [1, 1, 1] if refiner else [1, 1],
            "qkv_bias": True, "guidance_embed": False, "byt5": False, "meanflow": mean_flow, "use_cond_type_embedding": False,
            "vision_in_dim": None, "meanflow_sum": False,
        })  # fmt: skip
        config.set_inference_dtype(torch.float32, None)
        model = config.get_model({})
        for parameter in model.diffusion_model.parameters():
            parameter.data.fill_(0.01)
        return _on_cpu(model)

    return make


@pytest.mark.parametrize("sampler", [*SAMPLERS, *ADAPTIVE_SAMPLERS])
def test_mean_flow_is_refused(hunyuan, sampler):
    """The network gets the next sigma and gives the mean over the step; the refiner's network does not."""

    def finite(sampler, refiner, mean_flow):
        sigmas, noise = torch.tensor([1.0, 0.8, 0.4, 0.0]), torch.ones(1, 64, *[1] * refiner, 4, 4)
        return sample(hunyuan(refiner, mean_flow), sampler, sigmas, noise, [[torch.ones(1, 2, 32), {}]]).isfinite().all()

    assert finite("euler", False, True) and finite(sampler, False, False) and finite(sampler, True, True)
    with pytest.raises(ValueError, match="model is a MeanFlow network.*Use euler"):
        finite(sampler, False, True)
