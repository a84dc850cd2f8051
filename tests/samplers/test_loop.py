"""The guarantees of the loop: calls, callbacks, unchanged tensors, no host reads, few buffers."""

import math

import pytest
import torch
from exact import DETERMINISTIC, MIXTURE, CountingModel, calls_per_step, denoiser, grid

from samplers import sample_res_churn, sample_res_multistep
from samplers.catalogue import ADAPTIVE_SAMPLERS, METHODS, SOLVERS
from samplers.interpolation import InAlpha
from samplers.loop import run
from samplers.multistep import multistep_plan
from samplers.plan import Noise, Plan, Stage
from samplers.single_step import single_step_plan
from samplers.tableaus import res_2s, res_3s
from samplers.time_maps import FLOW, VE
from testbed.operations import count_operations

# maximum number of denoised outputs and earlier states that an update combines
TERMS = {"exp_res": 12, "exp_res_2m": 2, "exp_res_3m": 3, "exp_res_2mc": 3, "exp_res_3mc": 4, "exp_res_2s": 2, "exp_res_3s": 2}
TERMS["exp_gddim"] = 5
SIGMAS = torch.tensor([10.0, 3.0, 1.0, 0.3, 0.0])


def _sample(name, model, x=None, sigmas=SIGMAS, **options):
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)) if x is None else x
    return (METHODS | ADAPTIVE_SAMPLERS)[name].sample(model, x, sigmas, disable=True, **options)


@pytest.mark.parametrize("name", DETERMINISTIC)
@pytest.mark.parametrize("sigmas", [SIGMAS.tolist(), [9.0, 3.0, 1.0, 0.3], [3.0, 0.3]], ids=str)
def test_calls_as_announced_and_a_callback_as_of_the_hosts_samplers(name, sigmas):
    """A step to 0 has one call. Bars show i + 1 of the number of steps."""
    seen, model, sigmas = [], CountingModel(lambda x, sigma: x / 2), torch.tensor(sigmas)
    _sample(name, model, sigmas=sigmas, callback=seen.append)
    assert [info["i"] for info in seen] == [i for i, t in enumerate(sigmas[1:]) for _ in range(calls_per_step(name) if t else 1)]
    assert len(seen) == len(model.sigmas) and all(type(info["i"]) is int for info in seen)
    for info, sigma in zip(seen, model.sigmas):
        assert sigma.shape == (3,) and sigma.dtype == torch.float32
        assert info["x"].shape == info["denoised"].shape == (3, 2)
        assert float(info["sigma_hat"]) == float(sigma[0])
        assert float(info["sigma"]) == float(sigmas[info["i"]])


def test_the_bar_in_the_terminal_ends_full(capsys):
    METHODS["exp_res_2s"].sample(lambda x, sigma: x / 2, torch.ones(1, 2), SIGMAS, disable=False)
    assert "7/7" in capsys.readouterr().err


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_nothing_is_read_from_the_device(name, monkeypatch):
    """Tensors on the meta device have no values to read: any host read of the latent fails, also under churn."""
    monkeypatch.setattr("samplers.finite.FiniteCheck.note", lambda self, state: None)  # reads after the last call
    x = torch.empty(2, 4, 8, 8, device="meta")
    churn = {"solver": name, "s_churn": 1.0, "noise_sampler": lambda a, b: torch.empty_like(x)}
    for sample, options in ((METHODS[name].sample, {}), (sample_res_churn, churn))[: 1 + (name in SOLVERS)]:
        assert sample(lambda x, sigma: torch.empty_like(x), x, SIGMAS, disable=True, **options).device.type == "meta"


@pytest.mark.parametrize("name", [*DETERMINISTIC, *ADAPTIVE_SAMPLERS, *(f"{solver}, churned" for solver in SOLVERS)])
def test_tensors_given_away_are_never_written(name):
    kept = []

    def keep(tensor):
        kept.append((tensor, tensor.clone()))
        return tensor

    x, sigmas, noise = keep(torch.randn(3, 2)), keep(SIGMAS.clone()), keep(torch.ones(3, 2))
    model = CountingModel(lambda x, sigma: keep(keep(x) / 2 + keep(sigma)[:, None]))
    callback = lambda info: [keep(info[k]) for k in ("x", "denoised", "sigma_hat")]  # noqa: E731
    if name.endswith("churned"):
        options = {"solver": name.partition(",")[0], "s_churn": 1.0, "noise_sampler": lambda a, b: noise}
        result = sample_res_churn(model, x, sigmas, None, callback, True, **options)
    else:
        result = _sample(name, model, x, sigmas, callback=callback)
    assert all(torch.equal(tensor, copy) for tensor, copy in kept)
    assert result is not x


def test_nearly_repeated_sigmas_do_not_amplify_rounding():
    """A node at a ten-thousandth of the step has no information beyond rounding; its weight would be 10^4."""
    x = torch.randn(16, 2, generator=torch.Generator().manual_seed(0)) * 9
    exact = denoiser(False, MIXTURE.to(torch.float32))
    plain = _sample("exp_res_3m", exact, x, torch.tensor([9.0, 3.0, 1.0, 0.4, 0.0]))
    near = _sample("exp_res_3m", exact, x, torch.tensor([9.0, 3.0, 2.9999, 1.0, 0.99999, 0.4, 0.0]))
    assert (plain - near).abs().max() < 0.01


def test_noise_of_a_stage_is_drawn_once_and_carried():
    """A stage may reuse the noises drawn earlier in its step; the next step starts again."""
    stages = (
        Stage(0, 2.0, 1.0, 0.0, ((0, 0.0),), False, (2.0,), (2.0, 1.5)),
        Stage(0, 1.5, 1.0, 1.0, ((1, 0.0),), True, (3.0, 5.0), (1.5, 1.0)),
        Stage(1, 1.0, 1.0, 1.0, ((2, 0.0),), True, (7.0,), (1.0, 0.5)),
    )
    draws, sigmas = iter([1.0, 10.0, 100.0]), torch.tensor([2.0, 1.0, 0.5])
    options = {"disable": True, "noise_sampler": lambda sigma, sigma_next: torch.full((1, 1), next(draws))}
    result = run(Plan("by hand", VE, 2, stages), lambda x, s: x, torch.zeros(1, 1), sigmas, **options)
    assert float(result) == 3.0 * 1.0 + 5.0 * 10.0 + 7.0 * 100.0


def test_refused_before_the_first_call_or_at_it():
    model, plan = CountingModel(lambda x, sigma: x), single_step_plan(SIGMAS, res_3s(), VE, Noise(1.0))
    with pytest.raises(ValueError, match="noise_sampler must be given: RES-3S"):
        run(plan, model, torch.zeros(1, 1), SIGMAS, disable=True)
    assert not model.sigmas
    with pytest.raises(ValueError, match="model must return one denoised output, got a tuple"):
        _sample("exp_res", lambda x, sigma: (x, x))


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_no_host_reads_and_one_operation_per_term(name):
    sigmas = torch.linspace(10.0, 0.1, 9)
    x = torch.ones(1, 4, 64, 64)
    counts = count_operations(lambda model: METHODS[name].sample(model, x, sigmas, disable=True), x.numel())
    assert counts.host_reads_in_loop == 0
    assert counts.latent_operations <= (1 + TERMS[name]) * counts.model_calls
    # x, the step's anchor, the state and its successor, and the outputs and earlier states combined
    assert counts.peak_buffers <= 4 + TERMS[name]
    assert counts.float64_on_device == 0


@pytest.mark.parametrize("order", [2, 3])
def test_a_single_step_start_costs_the_calls_of_its_stages(order):
    plan = multistep_plan(torch.linspace(10, 1, 7), order, VE, start=res_2s() if order == 2 else res_3s())
    assert plan.calls == 6 + (order - 1) ** 2


@pytest.mark.parametrize(
    "options, match",
    [
        ({"order": 5}, "order must be one of 1, 2, 3, 4, got 5"),
        ({"interpolation": "x"}, "interpolation must be one of"),
        ({"data_scale": 0.0}, "data_scale must be between 0.01 and 100, got 0.0"),
        ({"power": 0.5}, "power must be between 1 and 4, got 0.5"),
        ({"eps_share": 1.5}, "eps_share must be between 0 and 1, got 1.5"),
    ],
)
def test_multistep_options_out_of_range(options, match):
    with pytest.raises(ValueError, match=match):
        sample_res_multistep(None, torch.ones(1), SIGMAS, **options)


def test_flow_from_sigma_one_has_finite_weights():
    plan = multistep_plan(grid("flow from 1, rho", 6), 3, FLOW)
    assert plan.calls == 6 and all(abs(w) < 10 for stage in plan.stages for _, w in stage.weights)


def test_a_printed_plan_shows_every_number():
    plan = single_step_plan(SIGMAS, res_3s())
    text = str(plan)
    assert text.startswith("RES-3S(0.333333,0.666667) in ve time: 4 steps, 10 model calls")
    assert len(text.splitlines()) == 2 + plan.calls
    for stage, line in zip(plan.stages, text.splitlines()[2:]):
        assert all(f"{call}: {weight:+.9f}" in line for call, weight in stage.weights)
        assert f"{-math.log(stage.sigma) + 0.0:.5f}" in line and "-0.00000" not in line and f"{stage.h:.5f}" in line


@pytest.mark.parametrize(
    "options, plan",
    [
        ({"interpolation": "alpha", "data_scale": 0.7}, {"interpolation": InAlpha(0.7, 1.5), "eps_share": 0.33}),
        ({"interpolation": "alpha", "power": 2.5}, {"interpolation": InAlpha(6.0, 2.5), "eps_share": 0.33}),
        ({"interpolation": "alpha", "eps_share": 0.1}, {"interpolation": InAlpha(6.0, 1.5), "eps_share": 0.1}),
        ({"corrector": True}, {"corrector": True}),
    ],
    ids=lambda v: next(iter(v)),
)
def test_multistep_options_reach_the_plan(options, plan):
    x = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 10
    model = denoiser(False)
    expected = run(multistep_plan(SIGMAS, 3, VE, **plan), model, x, SIGMAS, disable=True)
    result = sample_res_multistep(model, x, SIGMAS, disable=True, order=3, **options)
    assert torch.equal(result, expected)
    assert not torch.equal(result, sample_res_multistep(model, x, SIGMAS, disable=True, order=3))
