"""logSNR grids: their ends, their spacing, their errors."""

import math

import numpy as np
import pytest
import torch

from samplers.model_kinds import edm, flow, range_of_table, stable_diffusion
from samplers.reshaping import split
from samplers.schedules import FLOW_INTERIOR, SigmaRange, denoise_tail, directed, logsnr_grid
from samplers.spacings import SPACINGS
from samplers.time_maps import FLOW, VE

SD, SD3 = stable_diffusion(), flow(3.0)
ZSNR = SD._replace(sigma_max=4518.0, timesteps=(*SD.timesteps[:-1], 4518.0 / 4519.0))
MODELS = {"sd": (SD, VE), "zsnr": (ZSNR, VE), "edm": (edm(0.002, 80.0), VE), "flow": (SD3, FLOW)}


@pytest.mark.parametrize("steps", [1, 2, 3, 20, 1000])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("model", MODELS)
def test_ends_and_order(model, spacing, steps):
    sigma_range, time = MODELS[model]
    sigmas = logsnr_grid(steps, sigma_range, time, spacing)
    assert sigmas.shape == (steps + 1,) and sigmas.dtype == torch.float32
    assert float(sigmas[0]) == pytest.approx(sigma_range.sigma_max, rel=1e-6) and sigmas[-1] == 0
    assert (sigmas[1:] < sigmas[:-1]).all()
    if steps > 1 and time is VE and not SPACINGS[spacing].to_zero:
        assert float(sigmas[-2]) == pytest.approx(sigma_range.sigma_min, rel=1e-6)


def test_uniform_is_uniform_in_lambda_and_edm_rho_is_the_edm_grid():
    steps, rho = 12, 7.0
    lam = -logsnr_grid(20, SD, VE)[:-1].double().log()
    torch.testing.assert_close(lam.diff(), lam.diff().mean().expand(19), rtol=1e-4, atol=1e-6)
    u = torch.linspace(0, 1, steps, dtype=torch.float64)
    edm = (SD.sigma_max ** (1 / rho) + u * (SD.sigma_min ** (1 / rho) - SD.sigma_max ** (1 / rho))) ** rho
    torch.testing.assert_close(logsnr_grid(steps, SD, VE, "edm_rho")[:-1].double(), edm, rtol=1e-6, atol=0)


def test_flow_continues_from_a_finite_logsnr():
    """It goes from sigma_max to the measured interior, or to the model's own end if that lies inside."""
    for sigma_min, last in ((1e-4, FLOW_INTERIOR[1]), (0.05, math.log(0.95 / 0.05))):
        sigmas = logsnr_grid(50, SigmaRange(sigma_min, 1.0), FLOW).double()
        lam = ((1 - sigmas[1:-1]) / sigmas[1:-1]).log()
        assert float(lam[0] - lam.diff().mean()) == pytest.approx(FLOW_INTERIOR[0], abs=1e-3)
        assert float(lam[-1]) == pytest.approx(last, abs=1e-3)


@pytest.mark.parametrize("spacing, name", [(spacing, name) for spacing in SPACINGS for name in SPACINGS[spacing].parameters])
@pytest.mark.parametrize("model", MODELS)
def test_parameters_of_the_whole_range_give_falling_grids(model, spacing, name):
    for value in SPACINGS[spacing].parameters[name]:
        sigmas = logsnr_grid(30, *MODELS[model], spacing, {name: value})
        assert (sigmas[1:] < sigmas[:-1]).all()


@pytest.mark.parametrize("shift", [1.0, 3.0, 12.0])
@pytest.mark.parametrize("steps", [4, 10, 20, 50])
def test_logit_of_stretch_one_is_the_hosts_simple_on_flow(host, shift, steps):
    import comfy.model_sampling
    import comfy.samplers

    sampling = type("Flow", (comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST), {})()
    sampling.set_parameters(shift=shift)
    ours = logsnr_grid(steps, flow(shift), FLOW, "logit", {"stretch": 1.0})
    torch.testing.assert_close(ours, comfy.samplers.simple_scheduler(sampling, steps), rtol=1e-5, atol=0)


@pytest.mark.parametrize("shift", [1.0, 3.0, 12.0])
def test_logit_is_a_power_of_simple_on_flow(shift):
    """sigma / (1 - sigma) = shift ((1 - u) / u)^1.5, so that half of the steps are above the shift, for any number of steps."""
    sigmas = logsnr_grid(20, flow(shift), FLOW, "logit")[1:-1].double()
    u = torch.arange(1, 20, dtype=torch.float64) / 20.0
    torch.testing.assert_close(sigmas / (1.0 - sigmas), shift * ((1.0 - u) / u) ** 1.5, rtol=1e-3, atol=0)


@pytest.mark.parametrize("steps", [6, 10, 100])
def test_logit_on_eps_starts_at_the_model_and_ends_where_its_steps_lead_or_the_model_does(steps):
    """sigma = 5 ((1 - u) / u)^2, of which u covers a part in equal steps."""
    sigmas = logsnr_grid(steps, SD, VE, "logit").double()
    assert float(sigmas[0]) == pytest.approx(SD.sigma_max)
    place = 1.0 / (1.0 + (sigmas / 5.0) ** 0.5)
    torch.testing.assert_close(place.diff()[:-1], place.diff()[:-1].mean().expand(steps - 1), rtol=1e-3, atol=0)
    if steps < 9:  # the step to 0 is like the others
        assert float(place.diff()[-1]) == pytest.approx(float(place.diff()[0]), rel=1e-3)
    else:
        assert float(sigmas[-2]) == pytest.approx(SD.sigma_min, rel=1e-4)


@pytest.mark.parametrize("model, stretch", [("flow", 1.5), ("sd", 2.0)])
def test_stretch_0_is_the_recommended_one(model, stretch):
    grids = [logsnr_grid(9, *MODELS[model], "logit", {"stretch": value}) for value in (0.0, stretch)]
    assert torch.equal(*grids)


@pytest.mark.parametrize("boundary", [0.875, 0.9])
@pytest.mark.parametrize("steps", [10, 20])
def test_wan_22_switches_in_the_middle(steps, boundary):
    """At shift 8 each model gets half of the steps, as in ComfyUI's templates."""
    high, low = split(logsnr_grid(steps, flow(8.0), FLOW, "logit"), boundary, FLOW)
    assert abs((len(high) - 1) - steps / 2) <= 1 and len(high) + len(low) - 2 == steps


def test_logit_between_given_ends_keeps_its_middle():
    """The grid is a part of the same curve."""
    whole = logsnr_grid(20, flow(5.0), FLOW, "logit")
    part = logsnr_grid(11, flow(5.0), FLOW, "logit", logsnr_range=tuple(2.0 * FLOW.lam(float(s)) for s in whole[[5, 15]]))
    torch.testing.assert_close(part[:-1], whole[5:16], rtol=1e-4, atol=0)


def test_power_one_arctan_without_weight_and_large_rho_are_uniform():
    for model in MODELS.values():
        for spacing, value in (("power", {"power": 1.0}), ("arctan", {"weight": 0.0})):
            torch.testing.assert_close(logsnr_grid(12, *model, spacing, value), logsnr_grid(12, *model))
    torch.testing.assert_close(logsnr_grid(12, SD, VE, "edm_rho", {"rho": 100.0}), logsnr_grid(12, SD, VE), rtol=0.06, atol=0)


def test_the_pure_arctan_grid_is_kl_optimal(host):
    """This holds on VE models; on flow the host's grid is in sigma, and ours is in sigma / alpha."""
    import comfy.samplers

    ours = logsnr_grid(12, SD, VE, "arctan", {"weight": 1.0, "turn": 1.0})
    theirs = comfy.samplers.kl_optimal_scheduler(12, SD.sigma_min, SD.sigma_max)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", ["sd", "edm", "flow 1", "flow 3", "flux"])
@pytest.mark.parametrize("alpha, beta", [(0.6, 0.6), (0.5, 0.7), (1.0, 1.0), (2.0, 3.0)])
def test_beta_is_the_hosts_up_to_its_rounding_to_timesteps(host, model, alpha, beta):
    """Each sigma lies within one timestep of the host's, which is rounded to the nearest timestep."""
    import comfy.model_sampling as ms
    import comfy.samplers

    flows = {"flow 1": ms.ModelSamplingDiscreteFlow, "flow 3": ms.ModelSamplingDiscreteFlow, "flux": ms.ModelSamplingFlux}
    sampling = {"sd": ms.ModelSamplingDiscrete, "edm": ms.ModelSamplingContinuousEDM, **flows}[model]()
    if model == "flow 3":
        sampling.set_parameters(shift=3.0)
    table, time = sampling.sigmas.double().numpy(), FLOW if model in flows else VE
    theirs = comfy.samplers.beta_scheduler(sampling, 20, alpha, beta)
    ours = logsnr_grid(20, range_of_table(table, time), time, "beta", {"alpha": alpha, "beta": beta})
    assert len(theirs) == len(ours) and ours[0] == theirs[0] and ours[-1] == theirs[-1] == 0.0
    index = np.searchsorted(table, theirs[:-1].double().numpy() * (1 - 1e-6))
    places = np.interp(ours[:-1].double().numpy(), table, np.arange(len(table)))
    np.testing.assert_allclose(places, index, atol=0.6)


def test_the_model_kinds_are_the_hosts(host):
    import comfy.model_sampling as ms

    three = ms.ModelSamplingDiscreteFlow()
    three.set_parameters(shift=3.0)
    edm_model = ms.ModelSamplingContinuousEDM()
    for ours, sampling, time in ((SD, ms.ModelSamplingDiscrete(), VE), (edm(0.002, 120.0), edm_model, VE), (SD3, three, FLOW)):
        theirs = range_of_table(sampling.sigmas.double().numpy(), time)
        np.testing.assert_allclose([*ours[:2], *ours.timesteps], [*theirs[:2], *theirs.timesteps], rtol=1e-5)


def bong_tangent(steps):
    """The formula of RES4LYF's scheduler of that name."""
    n = steps + 2
    m, k = int(0.6 * n), 8.0 / n

    def arc(count, p, start, end):
        f = [(1.0 + 2.0 / math.pi * math.atan(-k * (x - p))) / 2.0 for x in range(count)]
        return [end + (start - end) * (value - f[-1]) / (f[0] - f[-1]) for value in f]

    return [*arc(m, m, 1.0, 0.5)[:-1], *arc(n - m, 0, 0.5, 0.0)]


@pytest.mark.parametrize("steps", [2, 4, 8, 10, 20, 50])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_tangent_is_bong_tangent_on_flow(steps, shift):
    """On eps it has the same levels below the model's largest."""
    expected = torch.tensor(bong_tangent(steps), dtype=torch.float64)
    ours = logsnr_grid(steps, flow(shift), FLOW, "tangent")
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=1e-7)
    sigmas = logsnr_grid(steps, SD, VE, "tangent").double()
    level = sigmas / (1.0 + sigmas)
    torch.testing.assert_close(level, level[0] * expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("composition", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_composition_is_the_share_of_the_steps_in_the_noisier_half(spacing, composition):
    """After that share of the steps the grid is at the middle of the grid without composition."""
    steps, model_range = 21 - SPACINGS[spacing].to_zero, edm(0.0002, 80.0)  # so small that no grid is cut there
    plain, biased = (logsnr_grid(steps, model_range, VE, spacing, composition=c)[:-1].double().log() for c in (0.5, composition))
    assert float(biased[round(20 * composition)]) == pytest.approx(float(plain[10]), abs=0.01)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("model", MODELS)
def test_given_ends(model, spacing):
    """The ends are in logSNR, twice lambda; a start below the model's largest sigma is a partial denoising."""
    sigma_range, time = MODELS[model]
    sigmas = logsnr_grid(9, sigma_range, time, spacing, logsnr_range=(-1.0, 6.0))
    assert 2.0 * time.lam(float(sigmas[0])) == pytest.approx(-1.0, abs=1e-5)
    assert 2.0 * time.lam(float(sigmas[-2])) == pytest.approx(6.0, abs=1e-4) and sigmas[-1] == 0.0


@pytest.mark.parametrize("denoise, length", [(1.0, 11), (0.5, 11), (0.33, 11), (0.0, 0)])
def test_denoise_keeps_the_tail(denoise, length):
    sigmas = denoise_tail(lambda n: logsnr_grid(n, SD, VE), 10, denoise)
    assert len(sigmas) == length
    if denoise == 0.5:
        assert torch.equal(sigmas, logsnr_grid(20, SD, VE)[-11:])


@pytest.mark.parametrize(
    "call, match",
    [
        (lambda: logsnr_grid(0, SD, VE), "steps must be 1 or more, got 0"),
        (lambda: logsnr_grid(3000, SD, VE, "power", {"power": 4.0}), "repeats sigma .* at 3000 steps; take fewer"),
        (lambda: logsnr_grid(5, SD, VE, "bogus"), "spacing must be one of"),
        (lambda: logsnr_grid(5, SD, VE, "power", {"power": 0.0}), "power of spacing 'power' must be between 0.25 and 4, got 0"),
        (
            lambda: logsnr_grid(5, SD, VE, "logit", {"stretch": 0.5}),
            "logit' must be between 0.75 and 4, or 0 for the .* value, got 0.5",
        ),
        (lambda: logsnr_grid(5, SD, VE, "edm_rho", {"rho": math.nan}), "between 1 and 100, got nan"),
        (lambda: logsnr_grid(5, SD, VE, "uniform", {"rho": 7.0}), "spacing 'uniform' has no rho; it has no parameters"),
        (lambda: logsnr_grid(5, SigmaRange(0.03, 14.6), VE, "beta"), "needs the model's timesteps"),
        (
            lambda: logsnr_grid(5, SD, VE, "beta", logsnr_range=(-1.0, 9.0)),
            "end_logsnr must be at most 7.069 for the spacing 'beta'",
        ),
        (lambda: logsnr_grid(5, SD, VE, composition=0.0), "composition must be between 0.1 and 0.9, got 0.0"),
        (lambda: logsnr_grid(5, SD, VE, logsnr_range=(-9.0, 7.0)), "start_logsnr must be -5.364 or more, .* got -9 and 7"),
        (lambda: logsnr_grid(5, SD, VE, logsnr_range=(3.0, 3.0)), "below end_logsnr"),
        (lambda: logsnr_grid(5, SD, VE, logsnr_range=(0.0, math.nan)), "got 0 and nan"),
        (lambda: logsnr_grid(5, SigmaRange(0.0, 1.0), VE), "0 < sigma_min < sigma_max"),
        *(
            (
                lambda way=way: directed(torch.tensor([1.0, 0.9995, 0.0]), FLOW, way),
                f"the direction '{way}' repeats sigma 0.999 at 2",
            )
            for way in ("invert", "denoise inverted")
        ),
        (lambda: denoise_tail(lambda n: logsnr_grid(n, SD, VE), 0, 1.0), "steps must be 1 or more, got 0"),
        (lambda: denoise_tail(None, 5, 1.5), "denoise must be between 0 and 1, got 1.5"),
        (lambda: denoise_tail(None, 5, 1e-12), "raise denoise"),
        (lambda: denoise_tail(None, 5, -0.1), "denoise must be between 0 and 1, got -0.1"),
    ],
)
def test_bad_input(call, match):
    with pytest.raises(ValueError, match=match):
        call()
