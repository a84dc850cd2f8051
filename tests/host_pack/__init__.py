"""Nodes for the server tests: they count model calls, make latents and sigmas, and report results."""

import ast
import ctypes
import gc
import hashlib
import sys
import time
import types
from pathlib import Path

import comfy.latent_formats
import comfy.model_management
import comfy.model_sampling
import comfy.patcher_extension
import folder_paths
import psutil
import torch
from comfy_api.v0_0_2 import ComfyExtension, io

sys.path.append(str(Path(__file__).resolve().parents[2]))
CALLS: dict[str, int] = {}
NODES = []


def node(node_id, inputs, outputs=()):
    """Makes a node of a function that takes the inputs and returns the outputs; without outputs it returns UI data."""

    def decorate(function):
        class Node(io.ComfyNode):
            @classmethod
            def define_schema(cls):
                more = {"outputs": [*outputs], "is_output_node": not outputs}
                return io.Schema(node_id=node_id, category="test", inputs=inputs, **more)

            @classmethod
            def execute(cls, **values):
                result = function(**values)
                return io.NodeOutput(*result) if outputs else io.NodeOutput(ui=result)

        NODES.append(Node)
        return function

    return decorate


_NUMBERS = [io.Int.Input(name, default=0, optional=True) for name in ("wait_in", "nan_from")]


@node("TestCountCalls", [io.Model.Input("model"), io.String.Input("run"), *_NUMBERS], [io.Model.Output()])
def count_calls(model, run, wait_in=0, nan_from=0):
    """A MODEL whose denoiser calls are counted under `run`; a new `run` also invalidates the server's cache.

    In its call number `wait_in` it waits for the server's interrupt, and from call number `nan_from` on it returns NaN.
    """
    CALLS[run] = 0

    def count(executor, *args, **kwargs):
        CALLS[run] += 1
        result = executor(*args, **kwargs)
        if CALLS[run] == wait_in:
            (Path(folder_paths.get_output_directory()) / f"{run} waits").touch()
            deadline = time.monotonic() + 60
            while not comfy.model_management.processing_interrupted() and time.monotonic() < deadline:
                time.sleep(0.01)
        return result * torch.nan if 0 < nan_from <= CALLS[run] else result

    model = model.clone()
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "test", count)
    return [model]


@node("TestElementwiseModel", [io.Model.Input("model"), io.String.Input("latent_format", optional=True)], [io.Model.Output()])
def elementwise_model(model, latent_format=None):
    """A MODEL whose denoiser works elementwise, so that the batch does not change a bit of an item; also of another format."""
    model = model.clone()
    model.set_model_unet_function_wrapper(lambda apply, args: 0.5 * torch.tanh(args["input"]))
    if latent_format:
        model.add_object_patch("latent_format", getattr(comfy.latent_formats, latent_format)())
    return [model]


FACTOR = types.SimpleNamespace(value=1.0)


@node("TestUnseenPatch", [io.Model.Input("model")], [io.Model.Output()])
def unseen_patch(model):
    """A MODEL with a patch that reads an object of its module, which no fingerprint covers."""

    def unchanged(executor, *args, **kwargs):
        return executor(*args, **kwargs) * FACTOR.value

    model = model.clone()
    model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "test", unchanged)
    return [model]


@node("TestUnknownSampling", [io.Model.Input("model")], [io.Model.Output()])
def unknown_sampling(model):
    """A MODEL with an unknown kind of model sampling."""

    class Strange(comfy.model_sampling.ModelSamplingDiscrete):
        def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
            return noise

    model = model.clone()
    model.add_object_patch("model_sampling", Strange())
    return [model]


@node("TestSigmas", [io.String.Input("values")], [io.Sigmas.Output()])
def sigmas(values):
    """SIGMAS from text."""
    return [torch.tensor([float(v) for v in values.split()])]


@node("TestAnything", [io.String.Input("value")], [io.AnyType.Output()])
def anything(value):
    """Any Python value, for inputs of any type."""
    return [ast.literal_eval(value)]


@node("TestRealDigits", [io.Int.Input("count"), io.Boolean.Input("mask")], [io.Latent.Output()])
def real_digits(count, mask):
    """The first digits of the data, optionally with their lower halves masked."""
    from embedded.digits import digits

    latent = {"samples": digits().means[:count].reshape(count, 1, 8, 8).clone()}
    if mask:
        latent["noise_mask"] = torch.zeros(1, 1, 8, 8)
        latent["noise_mask"][..., 4:, :] = 1.0
    return [latent]


@node("TestNetworkModel", [io.String.Input("network")], [io.Model.Output()])
def network_model(network):
    """A network of training/ that the stock loaders do not recognise."""
    from training import networks

    return [networks.load(network)]


@node("TestNetworkCondition", [io.String.Input("network"), io.Int.Input("label")], [io.Conditioning.Output()])
def network_condition(network, label):
    """CONDITIONING of a class for a network of training/."""
    from training import networks

    return [networks.conditioning(networks.NETWORKS[network], [label])]


@node("TestNetworkLatent", [io.String.Input("network"), io.Int.Input("batch")], [io.Latent.Output()])
def network_latent(network, batch):
    """An empty LATENT for a network of training/."""
    from training import networks

    return [{"samples": torch.zeros(batch, *networks.NETWORKS[network].shape)}]


@node("TestReport", [io.Latent.Input("latent"), io.String.Input("run")])
def report(latent, run):
    samples = latent["samples"].float().cpu().contiguous()
    facts = {
        "calls": CALLS.get(run),
        "shape": list(samples.shape),
        "finite": bool(samples.isfinite().all()),
        "sha256": hashlib.sha256(samples.numpy().tobytes()).hexdigest(),
        "top": samples[..., :4, :].flatten().tolist(),
        "std": float(samples.std()),
    }
    return {"facts": [facts]}


@node("TestMemory", [io.String.Input("run")])
def memory(run):
    """The memory that the server uses, in bytes, and the number of its tensors."""
    gc.collect()
    if sys.platform == "linux":  # give free memory back to the system
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    tensors = sum(type(thing) is torch.Tensor for thing in gc.get_objects())
    return {"memory": [{"tensors": tensors, "bytes": psutil.Process().memory_info().rss}]}


class TestExtension(ComfyExtension):
    async def get_node_list(self):
        return NODES


async def comfy_entrypoint():
    return TestExtension()
