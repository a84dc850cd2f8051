"""Plans of many steps in the real host: an interrupt ends them before the first call, and progress is shown past one second."""

import itertools

import pytest
import torch
from pixelwise import noise_like, sample


def _sample(pack, cld, name, steps):
    """A run on CLD, whose plans take longest."""
    sigmas = pack["RESGDDIMTimes"].execute(cld, steps, 1.0, 2.0, 0.0).result[0]
    return sample(cld, name, sigmas, noise_like((1, 1, 8, 8)), [[None, {}]])


@pytest.mark.parametrize("name", ["exp_res_3s", "exp_gddim", "exp_gddim_sde", "calibrate"])
def test_an_interrupt_ends_the_planning(pack, cld, toy, latent, counted, monkeypatch, name):
    """Planning 1,000 steps takes seconds; the model is not called."""
    import comfy.model_management

    model = toy() if name == "calibrate" else cld
    calls, steps = counted(model), []

    def interrupted():
        steps.append(1)
        if len(steps) == 3:
            comfy.model_management.interrupt_current_processing(True)
        real()

    real = comfy.model_management.throw_exception_if_processing_interrupted  # which also ends the interrupt
    monkeypatch.setattr(comfy.model_management, "throw_exception_if_processing_interrupted", interrupted)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        if name == "calibrate":
            sigmas = torch.cat([torch.linspace(1.0, 0.01, 1000), torch.zeros(1)])
            pack["RESLabCalibrate"].execute(model, latent(1), 0, sigmas, 2, "mine")
        else:
            _sample(pack, model, name, 1000)
    assert len(steps) == 3 and not calls


def test_progress_is_shown_past_one_second(pack, cld, module, monkeypatch):
    """The clock moves 0.3 s whenever it is read, so progress is shown after 4, 6, 8 and so on."""
    import comfy.utils

    clock, shown = itertools.count(1), []
    monkeypatch.setattr(module("nodes.planning").time, "monotonic", lambda: 0.3 * next(clock))
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: shown.append((value, total)))
    _sample(pack, cld, "exp_res_3s", 11)
    assert [value for value, total in shown if total == 11][:4] == [3, 5, 7, 9]
