"""Models of CLD and blurring diffusion in the real host, in this process."""

import shutil

import numpy as np
import pixelwise
import pytest
import torch
from exact import calls_per_step
from pixelwise import noise_like, schedule

from embedded.cld_checkpoint import DIGITS_CLD
from embedded.digits import digits
from samplers.catalogue import METHODS, SAMPLERS
from samplers.processes.cld import CLD
from samplers.processes.process_planner import gddim_on
from samplers.processes.process_sampler import PLANNERS, run_on

MODELS = {
    "CLD": ("RESDigitsProcessModel", {"process": "CLD", "kind": "R"}, 0.1),
    "CLD, L": ("RESDigitsProcessModel", {"process": "CLD", "kind": "L"}, 0.1),
    "blurring": ("RESDigitsProcessModel", {"process": "blurring", "blur": 10.0}, 0.1),
}
NETWORK = "RESLoadCLD", "digits (embedded)"
DETERMINISTIC = {"mode": "deterministic", "degree": 2, "corrector": "none"}
STOCHASTIC = {"mode": "stochastic", "lambda": 0.5, "s_noise": 1.0}
BATCH = 4


@pytest.fixture
def made(pack):
    """made(node, *inputs) -> MODEL."""
    return lambda node, *inputs: pack[node].execute(*inputs).result[0]


@pytest.fixture(params=MODELS)
def model(made, request):
    return made(*MODELS[request.param])


@pytest.fixture
def ksampler(host, digit, latent):
    """ksampler(model, name, steps, ...) -> samples of KSampler."""

    def ksampler(model, name, steps=4, seed=5, cfg=1.0, scheduler="simple"):
        arguments = digit("3"), digit(), latent(BATCH)
        return host.KSampler().sample(model, seed, steps, cfg, name, scheduler, *arguments)[0]["samples"]

    return ksampler


@pytest.mark.parametrize("mode", [DETERMINISTIC, {**DETERMINISTIC, "corrector": "PECE"}, STOCHASTIC], ids=str)
@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_samples_are_digits_of_the_class(model, gddim_sample, counted, mode, cfg):
    """A step makes one call; with PECE every step except the last makes two."""
    calls = counted(model)
    samples = gddim_sample(model, mode, 60, batch=16, cfg=cfg)
    assert samples.shape == (16, 1, 8, 8) and len(calls) == (119 if mode.get("corrector") == "PECE" else 60)
    distance, nearest = torch.cdist(samples.flatten(1), digits().means).min(dim=1)
    assert (digits().labels[nearest] == 3).float().mean() >= 0.9
    assert distance.median() < 1.3 * 0.1 * 8  # the width times the square root of the number of pixels


@pytest.mark.parametrize("cfg", [1.0, 2.0])
def test_the_digits_network_draws_the_class(made, gddim_sample, counted, cfg):
    """Most samples are nearest to a digit of the chosen class, at the paper's 50 calls."""
    model = made(*NETWORK)
    calls = counted(model)
    samples = gddim_sample(model, DETERMINISTIC, 50, batch=32, cfg=cfg, name="7")
    nearest = torch.cdist(samples.flatten(1), digits().means).argmin(dim=1)
    assert (digits().labels[nearest] == 7).float().mean() > 0.85 and len(calls) == 50
    assert 0.6 < samples.std() < 0.95


def test_a_network_in_a_file_of_the_host_s_folder(pack, made, folders):
    """The node offers it, and it loads like the embedded network."""
    shutil.copy(DIGITS_CLD, folders / "diffusion_models" / "mine.safetensors")
    [file] = [item for item in pack["RESLoadCLD"].define_schema().inputs if item.id == "file"]
    assert "mine.safetensors" in file.options and file.options[0] == "digits (embedded)"
    models, state = (made("RESLoadCLD", "mine.safetensors"), made(*NETWORK)), torch.randn(2, 2, 8, 8)
    torch.testing.assert_close(*(m.model.diffusion_model(state, torch.tensor([500.0, 20.0])) for m in models))


def _states(model, gddim_sample, *inputs, **more):
    """The states that the network gets, as wrappers of other nodes see them."""
    import comfy.patcher_extension

    seen = []

    def remember(executor, x, *args, **kwargs):
        seen.append(x)
        return executor(x, *args, **kwargs)

    model = model.clone()
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "test", remember)
    gddim_sample(model, DETERMINISTIC, *inputs, **more)
    return seen


def test_wrappers_of_other_nodes_see_the_network(made, gddim_sample):
    states = _states(made(*NETWORK), gddim_sample, 6, batch=2)
    assert [state.shape for state in states] == [(2, 2, 8, 8)] * 6


def test_the_host_s_path_is_the_core_s(cld, gddim_sample):
    """The latent is the position of the state that the core's plan gives from the same start."""
    sampling = cld.get_model_object("model_sampling")
    network, times = cld.model.diffusion_model, torch.tensor([1.0, 0.5, 0.2, 0.05, 0.001, 0.0])
    ours = gddim_sample(cld, DETERMINISTIC, sigmas=times)
    noise = torch.randn(BATCH, 1, 8, 8, generator=torch.manual_seed(3))
    condition = torch.nn.functional.one_hot(torch.full((BATCH, 1), 3), 10).float()

    def eps(u, t):
        return network(u, 999.0 * t, condition)

    # the pack draws the velocity itself, so both runs start with the state that the host's run started with
    begun = _states(cld, gddim_sample, sigmas=times)[0]
    torch.testing.assert_close(begun[:, :1], noise * float(np.sqrt(CLD().covariance(1.0)[0, 0])), rtol=1e-6, atol=1e-6)
    end = run_on(gddim_on(sampling.sde, times), eps, begun, times, disable=True)
    torch.testing.assert_close(ours, end[:, :1], rtol=1e-4, atol=1e-4)


def test_the_velocity_is_a_draw_of_its_prior(cld, gddim_sample):
    """Its variance is M, and it is independent of the position and of other items."""
    state = _states(cld, gddim_sample, batch=256, sigmas=torch.tensor([1.0, 0.5, 0.0]))[0]
    position, velocity = state[:, 0].flatten(1), state[:, 1].flatten(1)
    assert float(velocity.var()) == pytest.approx(0.25, rel=0.03)
    assert float(position.var()) == pytest.approx(1.0, rel=0.03)
    correlation = torch.corrcoef(torch.stack([position.flatten(), velocity.flatten(), velocity.roll(1, 0).flatten()]))
    assert correlation.fill_diagonal_(0.0).abs().max() < 0.03


@pytest.mark.parametrize("mode", [DETERMINISTIC, STOCHASTIC], ids=["deterministic", "stochastic"])
def test_an_item_is_the_same_in_any_batch(cld, gddim_sample, latent, mode):
    """All noise of an item, its velocity too, depends only on the seed and the item's own noise."""
    for item in (0, 3):
        alone = gddim_sample(cld, mode, start={**latent(1), "batch_index": [item]})
        torch.testing.assert_close(alone, gddim_sample(cld, mode)[item : item + 1], rtol=1e-4, atol=1e-4)
    assert (gddim_sample(cld, mode)[0] - gddim_sample(cld, mode, seed=4)[0]).abs().max() > 0.1


def test_both_parameterisations_are_one_model(made, gddim_sample):
    """A stochastic sampler uses eps at one time only, so its samples agree up to rounding."""
    samples = (gddim_sample(made(*MODELS[name]), STOCHASTIC) for name in ("CLD", "CLD, L"))
    torch.testing.assert_close(*samples, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name in PLANNERS])
@pytest.mark.parametrize("scheduler", ["simple", "normal"])
def test_registered_samplers_in_ksampler(ksampler, model, counted, name, scheduler):
    calls = counted(model)
    samples = ksampler(model, name, 40, cfg=2.0, scheduler=scheduler)
    assert samples.shape == (BATCH, 1, 8, 8)
    assert scheduler == "normal" or len(calls) == 39 * calls_per_step(name) + 1
    assert 0.6 < samples.std() < 1.0


@pytest.fixture
def by_node(pack, module):
    """by_node(model, node, name, *inputs) -> whether a node's SAMPLER makes the picture of a named sampler, bit by bit."""
    from comfy.samplers import KSAMPLER

    def equal(model, node, name, *inputs):
        arguments = schedule(model, 9, "simple"), noise_like((2, 1, 8, 8)), [[None, {}]]
        samplers = pack[node].execute(*inputs).result[0], KSAMPLER(module("nodes.registry").for_host(METHODS[name]))
        return torch.equal(*(pixelwise.sample(model, sampler, *arguments) for sampler in samplers))

    return equal


@pytest.mark.parametrize("order, corrector, name", [(2, False, "2m"), (3, False, "3m"), (2, True, "2mc"), (3, True, "3mc")])
def test_res_multistep_in_lambda_has_the_papers_methods_on_a_process(by_node, cld, order, corrector, name):
    in_lambda = {"interpolation": "lambda"}
    assert by_node(cld, "RESMultistep", f"exp_res_{name}", str(order), corrector, in_lambda)


def test_options_that_a_process_has_not_are_named(by_node, cld):
    for node, inputs, message in (
        ("RESMultistep", ("2", False, {"interpolation": "alpha"}), "interpolation must be 'lambda' on a CLD"),
        ("RESSingleStep", ({"stages": "2", "c2": 0.7},), "c2 must be 0.5 on a CLD model, got 0.7"),
    ):
        with pytest.raises(ValueError, match=message):
            by_node(cld, node, "exp_res_2m", *inputs)
    assert by_node(cld, "RESSingleStep", "exp_res_2s", {"stages": "2", "c2": 0.5})


@pytest.mark.parametrize("name, mode", [("exp_gddim", DETERMINISTIC), ("exp_gddim_sde", {**STOCHASTIC, "lambda": 1.0})])
def test_exp_gddim_is_gddim_sample(ksampler, model, gddim_sample, name, mode):
    samples = gddim_sample(model, mode, sigmas=schedule(model, 12, "simple"))
    assert torch.equal(ksampler(model, name, 12, seed=3), samples)


def test_from_a_latent(model, gddim_sample):
    start = gddim_sample(model, DETERMINISTIC, 60, batch=16, name="8")
    again = {"start": {"samples": start}, "name": "8", "seed": 4}
    near, far = (gddim_sample(model, DETERMINISTIC, 60, denoise=denoise, **again) for denoise in (0.3, 1.0))
    change = [float((end - start).flatten(1).norm(dim=1).median()) for end in (near, far)]
    assert change[0] < 0.7 * change[1]


def test_previews_are_data(model, pack, digit):
    """After every call the preview is the mean of the data, and the last one is the result."""
    seen = []
    times = pack["RESGDDIMTimes"].execute(model, 30, 1.0, 2.0, 0.0).result[0]
    sampler, noise = pack["RESGDDIM"].execute(DETERMINISTIC).result[0], noise_like((BATCH, 1, 8, 8))
    callback = lambda step, x0, x, total: seen.append((step, x0.clone(), x.clone()))  # noqa: E731
    samples = pixelwise.sample(model, sampler, times, noise, digit("3"), callback=callback)
    assert [step for step, *_ in seen] == list(range(30))
    assert all(x0.shape == x.shape == (BATCH, 1, 8, 8) for _, x0, x in seen)
    torch.testing.assert_close(seen[-1][1], samples, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"start": {"samples": torch.ones(1, 4, 8, 8)}}, r"items of shape \(4, 8, 8\), but this CLD model is made for 1 x 8 x 8"),
        ({"start": {"samples": torch.zeros(1, 1, 16, 16)}}, r"items of shape \(1, 16, 16\), but this CLD model"),
        ({"sigmas": torch.tensor([14.6, 1.0, 0.0])}, r"sigmas\[0\] is 14.6\d*, but a CLD model ends at sigma 1"),
        ({"mode": {**STOCHASTIC, "lambda": -0.5}}, "mode.lambda must be a number from 0 to 3, got -0.5"),
        ({"mode": {**STOCHASTIC, "s_noise": -0.5}}, "mode.s_noise must be a number from 0 to 10, got -0.5"),
        ({"mode": {**DETERMINISTIC, "degree": 4}}, "mode.degree must be a whole number from 0 to 3, got 4"),
        ({"start": {"samples": torch.zeros(1, 1, 8, 8), "noise_mask": torch.ones(1, 8, 8)}}, "latent_image has a noise_mask"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_errors_by_name(cld, gddim_sample, counted, change, message):
    calls = counted(cld)
    with pytest.raises(ValueError, match=message):
        gddim_sample(cld, **{"mode": DETERMINISTIC, **change})
    assert not calls


def test_other_models_and_schedules_are_refused(pack, toy, cld, gddim_sample):
    with pytest.raises(ValueError, match="model is a MixtureModel, not a model of CLD or blurring diffusion"):
        gddim_sample(toy(), DETERMINISTIC, sigmas=torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="model is a MixtureModel, not a model of CLD"):
        gddim_sample(toy(), DETERMINISTIC)
    with pytest.raises(ValueError, match="model is a CLD model: .* Use gDDIM Times as schedule"):
        pack["RESLogSNRSchedule"].execute(cld, 10, 1.0, {"spacing": "uniform"})


@pytest.mark.parametrize("name", ["euler", "dpmpp_2m", "exp_res", "exp_res_sde"])
def test_other_samplers_are_refused(ksampler, model, name):
    """They would take eps for a denoised output."""
    with pytest.raises(ValueError, match="model is a (CLD|blurring diffusion) model"):
        ksampler(model, name)


def test_times_of_a_partial_denoising_are_the_last_of_a_longer_grid(pack, model):
    times, whole = (pack["RESGDDIMTimes"].execute(model, *some, 3.0, 0.0).result[0] for some in ((10, 0.5), (20, 1.0)))
    assert torch.equal(times, whole[-11:]) and times[-1] == 0.0


@pytest.fixture
def advanced(host, digit, latent):
    """advanced(model, name, *parts) -> the last latent of KSampler (Advanced) on these parts of 20 steps, one after the other."""

    def advanced(model, name, *parts):
        result = latent(BATCH)
        for start, end in parts:
            noise, rest = "disable" if start else "enable", "disable" if end == 20 else "enable"
            common = 20, 1.0, name, "simple", digit("3"), digit("3"), result, start, end, rest
            result = host.NODE_CLASS_MAPPINGS["KSamplerAdvanced"]().sample(model, noise, 5, *common)[0]
        return result["samples"]

    return advanced


@pytest.mark.parametrize("at", [1, 8, 15])
@pytest.mark.parametrize("name", ["exp_res_2s", "exp_res_3s"])
def test_a_schedule_of_blurring_cut_in_two(made, advanced, name, at):
    model = made(*MODELS["blurring"])
    whole, parts = advanced(model, name, (0, 20)), advanced(model, name, (0, at), (at, 20))
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-3)


def test_a_schedule_of_cld_cannot_be_cut(cld, advanced):
    """A latent would lose the velocity; an error in either part says so."""
    with pytest.raises(ValueError, match="sigmas end at 0.*, where a CLD model's state has a velocity"):
        advanced(cld, "exp_res_2s", (0, 8))
    with pytest.raises(ValueError, match="add_noise is off, but the latent holds only a part"):
        advanced(cld, "exp_gddim", (1, 20))


@pytest.mark.parametrize("name", ["exp_gddim", "euler"])
def test_a_model_sampling_node_on_the_way_is_named(pack, ksampler, model, name):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    patched = ModelSamplingSD3().patch(model, 3.0)[0]
    message = "but a node has replaced its model_sampling .* Remove that Model Sampling node"
    with pytest.raises(ValueError, match=message):
        ksampler(patched, name)
    with pytest.raises(ValueError, match=message):
        pack["RESGDDIMTimes"].execute(patched, 10, 1.0, 2.0, 0.0)


def test_conditioning_that_does_not_fit(host, pack, model, digit, latent):
    times = pack["RESGDDIMTimes"].execute(model, 4, 1.0, 2.0, 0.0).result[0]
    area = host.NODE_CLASS_MAPPINGS["ConditioningSetArea"]().append(digit("3"), 32, 32, 0, 0, 1.0)[0]
    for positive, message in ((area, "Remove the area"), ([[torch.zeros(1, 77, 768), {}]], "tokens of length 768")):
        with pytest.raises(ValueError, match=message):
            pack["RESGDDIMSample"].execute(model, 3, 1.0, positive, digit("3"), times, latent(1), DETERMINISTIC)


def test_previews_of_more_channels(pack, module):
    model = module("nodes.processes.process_model").process_model(CLD(), "R", (3, 8, 8), torch.nn.Identity())
    assert len(model.model.latent_format.latent_rgb_factors) == 3
