"""The host's MultiGPU CFG Split, with the CPU as two devices: the conditionings go to two copies of the model.

"cpu" and "cpu:0" are different devices to the host, which gives each a copy of the model and a thread of its own.
"""

import pytest
import torch
from pixelwise import noise_like, sample, schedule

from samplers.catalogue import ADAPTIVE_SAMPLERS, SAMPLERS

DEVICES = [torch.device("cpu"), torch.device("cpu:0")]


@pytest.fixture
def split(pack, monkeypatch):
    """split(make) -> the MODEL that make() gives, over two devices; the devices' calls are counted in `split.calls`."""
    nodes = pytest.importorskip("comfy_extras.nodes_multigpu", reason="this host has no multi-GPU nodes")
    import comfy.model_management
    import comfy.patcher_extension

    monkeypatch.setattr(comfy.model_management, "get_all_torch_devices", lambda exclude_current=False: list(DEVICES))

    def count(executor, *args, **kwargs):
        apply.calls[args[-1]["multigpu_thread_device"]] += 1
        return executor(*args, **kwargs)

    def apply(make):
        apply.calls = dict.fromkeys(DEVICES, 0)
        model = make()
        model.cached_patcher_init = (make, ())  # the host's own loaders set this for the copies
        model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "test", count)
        return nodes.MultiGPUCFGSplitNode.execute(model, 2).result[0]

    return apply


@pytest.mark.parametrize("name", SAMPLERS | ADAPTIVE_SAMPLERS)
def test_samplers_give_what_they_give_on_one_device(toy, digit, split, name):
    """The results differ only by the rounding of batches of another size, which a run amplifies for items between pictures."""

    def sampled(model):
        return sample(model, name, schedule(model, 8), noise_like((2, 1, 8, 8)), digit("3"), digit("any"), cfg=3.0)

    torch.testing.assert_close(sampled(split(lambda: toy("flow"))), sampled(toy("flow")), rtol=0, atol=1e-4)
    calls = set(split.calls.values())
    assert len(calls) == 1 and calls.pop() >= 8, "each device answered for one conditioning at every call"


def test_process_models(pack, cld, gddim_sample, split):
    def make():
        return pack["RESDigitsProcessModel"].execute({"process": "CLD", "kind": "R"}, 0.1).result[0]

    mode = {"mode": "deterministic", "degree": 2, "corrector": "none"}
    ours, one_device = (gddim_sample(model, mode, 6, batch=2, cfg=2.0) for model in (split(make), cld))
    torch.testing.assert_close(ours, one_device, rtol=0, atol=1e-3)
    assert list(split.calls.values()) == [6, 6]
