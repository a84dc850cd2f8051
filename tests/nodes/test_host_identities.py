"""If a sampler of the host is the same method, the results agree (float32, through the host's own sampling)."""

from functools import partial

import pixelwise
import pytest
import torch

from samplers.multistep import multistep_plan


@pytest.fixture
def sample(toy, digit):
    """sample(kind, sampler, sigmas, cfg, **sampler options) -> latents of 8 digits."""
    import comfy.samplers

    def run(kind, sampler, sigmas, cfg=1.0, **options):
        sampler = comfy.samplers.ksampler(sampler, options) if isinstance(sampler, str) else sampler
        noise = pixelwise.noise_like((8, 1, 8, 8), 11)
        return pixelwise.sample(toy(kind, 0.15), sampler, sigmas, noise, digit("4"), digit(), cfg, seed=11)

    return run


def _sigmas(kind, first=14.6):
    """A grid; that of flow begins below 1, where the host's functions need no special case."""
    falling = torch.linspace(0.9, 0.02, 12) if kind == "flow" else torch.linspace(first ** (1 / 7), 0.03 ** (1 / 7), 12) ** 7
    return torch.cat([falling, torch.zeros(1)])


# On flow models ComfyUI's res_multistep works in log sigma and its seeds in logSNR.
# RES-1 in log sigma time is exponential Euler in data prediction, which is DDIM.
CASES = {
    "1 = euler": ("res_multistep", "FLOW_LOG_SIGMA", {"order": 1}, "euler", {}),
    "2M = res_multistep": ("exp_res_2m", "FLOW_LOG_SIGMA", {}, "res_multistep", {}),
    "2S = seeds_2": ("exp_res_2s", "FLOW", {}, "seeds_2", {"eta": 0.0, "solver_type": "phi_2", "r": 0.5}),
    "2S(.3) = seeds_2(.3)": ("exp_res_2s", "FLOW", {"c2": 0.3}, "seeds_2", {"eta": 0.0, "solver_type": "phi_2", "r": 0.3}),
    "3S = seeds_3": ("exp_res_3s", "FLOW", {}, "seeds_3", {"eta": 0.0}),
}


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["eps", "edm", "flow"])
@pytest.mark.parametrize("case", CASES)
def test_same_method_same_result(sample, in_flow_time, case, kind, cfg):
    name, flow_time, own_options, theirs, options = CASES[case]
    sigmas = _sigmas(kind)
    ours = sample(kind, in_flow_time(name, flow_time, **own_options), sigmas, cfg)
    assert (ours - sample(kind, theirs, sigmas, cfg, **options)).abs().max() < (1e-4 if theirs == "euler" else 2e-4)


@pytest.mark.parametrize("kind", ["eps", "edm"])
def test_2m_is_the_heun_form_of_dpmpp_2m_sde_without_noise(sample, kind):
    sigmas = _sigmas(kind)
    theirs = sample(kind, "dpmpp_2m_sde", sigmas, eta=0.0, s_noise=0.0, solver_type="heun")
    assert (sample(kind, "exp_res_2m", sigmas) - theirs).abs().max() < 2e-4


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["eps", "v", "edm", "flow"])
def test_gddim_of_degree_0_is_ddim(sample, pack, kind, cfg):
    """This holds also on flow models from sigma 1, where the host's ddim is Euler's method."""
    import comfy.samplers

    sigmas = torch.cat([torch.linspace(1.0, 0.02, 12), torch.zeros(1)]) if kind == "flow" else _sigmas(kind)
    theirs = sample(kind, comfy.samplers.sampler_object("ddim"), sigmas, cfg)
    for degree, equal in ((0, True), (1, False)):
        ours = pack["RESGDDIM"].execute({"mode": "deterministic", "degree": degree, "corrector": "none"}).result[0]
        difference = (sample(kind, ours, sigmas, cfg) - theirs).abs().max()
        assert difference < 1e-4 if equal else difference > 5e-3


@pytest.mark.parametrize("kind", ["eps", "v", "edm"])
def test_gddim_at_lambda_1_is_ddpm(sample, pack, kind):
    def draws():
        generator = torch.Generator().manual_seed(3)
        return lambda sigma, sigma_next: torch.randn(8, 1, 8, 8, generator=generator)

    sigmas = _sigmas(kind)
    theirs = sample(kind, "ddpm", sigmas, 3.0, noise_sampler=draws())
    for strength, equal in ((1.0, True), (0.9, False)):
        ours = pack["RESGDDIM"].execute({"mode": "stochastic", "lambda": strength, "s_noise": 1.0}).result[0]
        ours.extra_options["noise_sampler"] = draws()
        assert ((sample(kind, ours, sigmas, 3.0) - theirs).abs().max() < 2e-4) == equal


@pytest.mark.parametrize("limits", [{}, {"s_tmin": 0.1, "s_tmax": 3.0, "s_noise": 1.007}], ids=["everywhere", "within limits"])
@pytest.mark.parametrize("kind", ["eps", "v", "edm"])
def test_first_order_under_churn_is_euler_under_churn(sample, kind, limits):
    """The noise is the same, and churn stays below sigma_max on this grid, because the host has no such bound."""
    import comfy.samplers

    from samplers import sample_res_churn

    def ours(model, x, sigmas, **options):
        options |= {"solver": partial(multistep_plan, order=1), "noise_sampler": lambda a, b: torch.randn_like(x)}
        return sample_res_churn(model, x, sigmas, **options)

    sigmas = _sigmas(kind, first=9.0)
    options = {"s_churn": 4.0, **limits}
    results = []
    for sampler in (comfy.samplers.KSAMPLER(ours, options), comfy.samplers.ksampler("euler", options)):
        torch.manual_seed(7)
        results.append(sample(kind, sampler, sigmas, 3.0))
    assert (results[0] - results[1]).abs().max() < 2e-4
    assert (results[1] - sample(kind, "euler", sigmas, 3.0)).abs().max() > 0.1, "the comparison can fail"


@pytest.mark.parametrize("theirs, ours", [("res_multistep", "exp_res"), ("seeds_3", "exp_res_2s")])
def test_the_comparison_can_fail(sample, theirs, ours):
    sigmas = _sigmas("eps")
    options = {"eta": 0.0} if theirs == "seeds_3" else {}
    assert (sample("eps", ours, sigmas) - sample("eps", theirs, sigmas, **options)).abs().max() > 5e-3


def test_basic_scheduler_denoise_rule(pack, toy):
    from comfy_extras.nodes_custom_sampler import BasicScheduler

    model = toy()
    for denoise in (1.0, 0.9, 0.5, 0.37, 0.01, 0.0):
        ours = pack["RESLogSNRSchedule"].execute(model, 7, denoise, {"spacing": "uniform"}).result[0]
        assert torch.equal(ours, BasicScheduler.execute(model, "logsnr_uniform", 7, denoise).result[0])
