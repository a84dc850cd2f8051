"""On a device without float64 every sampler, solver node, process and lab node gives the CPU's result."""

import pytest
import torch
from device import DEVICE, lacks_kernel, second_device
from pixelwise import noise_like, sample, schedule

from samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS

ALPHA = {"interpolation": "alpha", "data_scale": 6.0, "power": 1.5, "eps_share": 0.33}
PLAIN = {"interpolation": "lambda"}
DETERMINISTIC = {"mode": "deterministic", "degree": 2, "corrector": "PECE"}
STOCHASTIC = {"mode": "stochastic", "lambda": 0.5, "s_noise": 1.0}
# options that the registered samplers do not have
NODES = {
    "order 4": ("RESMultistep", (4, True, ALPHA)),
    "order 3 in lambda": ("RESMultistep", (3, False, PLAIN)),
    "tableau": ("RESSingleStep", ({"stages": "3", "c2": 0.4, "c3": 0.7},)),
    "path": ("RESSDE", ("3s", 0.7, 1.0, "brownian")),
    "churn": ("RESStochasticChurn", ("exp_res_3s", 2.0, 0.0, 1000.0, 1.0)),
    "adaptive": ("RESAdaptive", (0.05, 0.01, 60)),
    "gDDIM": ("RESGDDIM", (DETERMINISTIC,)),
}
PROCESSES = {"CLD": {"process": "CLD", "kind": "R"}, "blurring": {"process": "blurring", "blur": 10.0}}


@pytest.fixture
def on_both(pack):
    """on_both(work): work(device) on the CPU and on the second device, the same tensors or numbers."""

    def check(work):
        expected = work(torch.device("cpu"))
        with second_device() as operations:
            result = work(DEVICE)
        assert not [name for name in operations if lacks_kernel(name)]
        assert "aten::mul.Tensor" in operations, "it has run there"
        torch.testing.assert_close(result, expected)

    return check


def _on(device, output):
    """A new MODEL, from its node, that the host will load to the device."""
    model = output.result[0]
    model.load_device = device
    return model


def _digits(pack, device, kind="eps"):
    return _on(device, pack["RESToyModel"].execute("digits", {"kind": kind, "shift": 3.0}, 0.1))


def _conditions(pack):
    return [pack["RESToyCondition"].execute({"data": "digits", "class": digit}).result[0] for digit in ("3", "any")]


def _sampled(pack, model, sampler, steps=5):
    return sample(model, sampler, schedule(model, steps), noise_like((2, 1, 8, 8)), *_conditions(pack), cfg=3.0)


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", SAMPLERS | ADAPTIVE_SAMPLERS)
def test_samplers_by_name(pack, on_both, name, kind):
    on_both(lambda device: _sampled(pack, _digits(pack, device, kind), name))


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("node, inputs", NODES.values(), ids=NODES)
def test_samplers_of_nodes(pack, on_both, node, inputs, kind):
    sampler = pack[node].execute(*inputs).result[0]
    on_both(lambda device: _sampled(pack, _digits(pack, device, kind), sampler))


@pytest.mark.parametrize("mode", [DETERMINISTIC, STOCHASTIC], ids=["deterministic", "stochastic"])
@pytest.mark.parametrize("process", [*PROCESSES, "network"])
def test_processes(pack, on_both, process, mode):
    def work(device):
        made = pack["RESDigitsProcessModel"].execute(PROCESSES[process], 0.1) if process in PROCESSES else None
        model = _on(device, made or pack["RESLoadCLD"].execute("digits (embedded)"))
        times, latent = (
            pack["RESGDDIMTimes"].execute(model, 6, 1.0, 2.0, 0.0).result[0],
            pack["RESToyLatent"].execute("digits", 2).result[0],
        )
        arguments = model, 3, 2.0, *_conditions(pack), times, latent, mode
        return pack["RESGDDIMSample"].execute(*arguments).result[0]["samples"]

    on_both(work)


def _guider(pack, device):
    from comfy_extras.nodes_custom_sampler import CFGGuider

    return CFGGuider.execute(_digits(pack, device), *_conditions(pack), 3.0).result[0]


def _grid(pack):
    return pack["RESLogSNRSchedule"].execute(_digits(pack, torch.device("cpu")), 5, 1.0, {"spacing": "uniform"}).result[0]


def test_lab_trace(pack, folders, on_both):
    import comfy.samplers

    def work(device):
        latent, sampler = pack["RESToyLatent"].execute("digits", 2).result[0], comfy.samplers.sampler_object("exp_res_2m")
        return pack["RESLabTrace"].execute(_guider(pack, device), latent, 1, sampler, _grid(pack), "trace").result[0]["samples"]

    on_both(work)


def test_lab_measure(pack, folders, on_both):
    def work(device):
        latent, what = pack["RESToyLatent"].execute("digits", 2).result[0], ("exp_res, exp_res_sde, heun", "karras", "6")
        return pack["RESLabMeasure"].execute(_guider(pack, device), latent, 1, *what, fresh=True).result[1]

    on_both(work)


@pytest.mark.long
def test_lab_calibrate(pack, folders, on_both):
    """Its SAMPLER also samples on the device."""

    def work(device):
        latent, guider = pack["RESToyLatent"].execute("digits", 4).result[0], _guider(pack, device)
        sampler = pack["RESLabCalibrate"].execute(guider, latent, 1, _grid(pack), 4, "mine").result[0]
        return _sampled(pack, guider.model_patcher, sampler)

    on_both(work)
