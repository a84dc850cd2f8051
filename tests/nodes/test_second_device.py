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
MODELS = {
    "CLD": ("RESDigitsProcessModel", {"process": "CLD", "kind": "R"}, 0.1),
    "blurring": ("RESDigitsProcessModel", {"process": "blurring", "blur": 10.0}, 0.1),
    "network": ("RESLoadCLD", "digits (embedded)"),
}


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


def _on(device, model):
    """The MODEL, which the host will load to the device."""
    model.load_device = device
    return model


@pytest.fixture
def sampled(digit):
    """sampled(model, sampler) -> two digits."""
    return lambda model, sampler: sample(
        model, sampler, schedule(model, 5), noise_like((2, 1, 8, 8)), digit("3"), digit("any"), cfg=3.0
    )


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("name", SAMPLERS | ADAPTIVE_SAMPLERS)
def test_samplers_by_name(toy, on_both, sampled, name, kind):
    on_both(lambda device: sampled(_on(device, toy(kind)), name))


@pytest.mark.parametrize("kind", ["eps", "flow"])
@pytest.mark.parametrize("node, inputs", NODES.values(), ids=NODES)
def test_samplers_of_nodes(pack, toy, on_both, sampled, node, inputs, kind):
    sampler = pack[node].execute(*inputs).result[0]
    on_both(lambda device: sampled(_on(device, toy(kind)), sampler))


@pytest.mark.parametrize("mode", [DETERMINISTIC, STOCHASTIC], ids=["deterministic", "stochastic"])
@pytest.mark.parametrize("node, inputs", [(node, inputs) for node, *inputs in MODELS.values()], ids=MODELS)
def test_processes(pack, gddim_sample, on_both, node, inputs, mode):
    made = pack[node].execute
    on_both(lambda device: gddim_sample(_on(device, made(*inputs).result[0]), mode, 6, batch=2, cfg=2.0))


@pytest.fixture
def lab(pack, folders, guided_digits, latent):
    """lab(node, device, batch, *inputs) -> the outputs of a node of the lab for a guider whose model is on the device."""

    def run(node, device, batch, *inputs, **more):
        guider = guided_digits()
        _on(device, guider.model_patcher)
        return pack[node].execute(guider, latent(batch), 1, *inputs, **more).result

    return run


def test_trace_and_measure(lab, toy, on_both):
    import comfy.samplers

    inputs = comfy.samplers.sampler_object("exp_res_2m"), schedule(toy(), 5), "trace"
    on_both(lambda device: lab("RESLabTrace", device, 2, *inputs)[0]["samples"])
    on_both(lambda device: lab("RESLabMeasure", device, 2, "exp_res, exp_res_sde, heun", "karras", "6", fresh=True)[1])


@pytest.mark.long
def test_calibrate(lab, toy, on_both, sampled):
    grid = schedule(toy(), 5)
    on_both(lambda device: sampled(_on(device, toy()), lab("RESLabCalibrate", device, 4, grid, 4, "mine")[0]))
