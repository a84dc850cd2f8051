"""Plans of many steps in the real host: an interrupt ends them before the first call, and progress is shown past one second."""

import time

import pytest
import torch


@pytest.fixture
def model(pack):
    """The exact model of CLD, whose plans take longest, and its latent."""
    model = pack["RESDigitsProcessModel"].execute({"process": "CLD", "kind": "R"}, 0.1).result[0]
    return model, pack["RESToyLatent"].execute("digits", 1).result[0]


def _sample(pack, model, latent, name, steps):
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import SamplerCustom

    sigmas = pack["RESGDDIMTimes"].execute(model, steps, 1.0, 2.0, 0.0).result[0]
    nothing = [[None, {}]]
    return SamplerCustom.execute(model, True, 0, 1.0, nothing, nothing, comfy.samplers.ksampler(name), sigmas, latent)


def _calibrate(pack, model, latent, name, steps):
    sigmas = torch.cat([torch.linspace(1.0, 0.01, steps), torch.zeros(1)])
    pack["RESLabCalibrate"].execute(model, latent, 0, sigmas, 2, "mine")


@pytest.mark.parametrize("name", ["exp_res_3s", "exp_gddim", "exp_gddim_sde", "calibrate"])
def test_an_interrupt_ends_the_planning(pack, model, toy, counted, module, monkeypatch, name):
    """Planning 1,000 steps takes seconds; the model is not called."""
    import comfy.model_management

    patcher, latent = model
    run = _sample
    if name == "calibrate":
        patcher, run = toy(), _calibrate
    planning, calls, steps = module("nodes.planning"), counted(patcher), []

    def interrupted():
        steps.append(time.monotonic())
        if len(steps) == 3:
            comfy.model_management.interrupt_current_processing(True)
        real()

    real = comfy.model_management.throw_exception_if_processing_interrupted
    monkeypatch.setattr(planning.comfy.model_management, "throw_exception_if_processing_interrupted", interrupted)
    try:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            run(pack, patcher, latent, name, 1000)
    finally:
        comfy.model_management.interrupt_current_processing(False)
    assert len(steps) == 3 and not calls


def test_progress_is_shown_past_one_second(pack, model, module, monkeypatch):
    """The clock moves 0.3 s whenever it is read, so progress is shown after 4, 6, 8 and so on."""
    import comfy.utils

    planning, looks = module("nodes.planning"), []
    monkeypatch.setattr(planning.time, "monotonic", lambda: looks.append(None) or 0.3 * len(looks))
    shown = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: shown.append((value, total)))
    samples = _sample(pack, *model, "exp_res_3s", 11).result[0]["samples"]
    assert isinstance(samples, torch.Tensor)
    assert [value for value, total in shown if total == 11][:4] == [3, 5, 7, 9]
