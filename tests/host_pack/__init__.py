"""Nodes for the server tests: they count model calls, make latents and sigmas, and report results."""

import ast
import hashlib
import sys
import time
from pathlib import Path

import comfy.model_management
import comfy.model_sampling
import comfy.patcher_extension
import folder_paths
import torch
from comfy_api.v0_0_2 import ComfyExtension, io

sys.path.append(str(Path(__file__).resolve().parents[2]))
CALLS: dict[str, int] = {}


class CountCalls(io.ComfyNode):
    """A MODEL whose denoiser calls are counted under `run`; a new `run` also invalidates the server's cache.

    In its call number `wait_in` it waits for the server's interrupt, and from call number `nan_from` on it returns NaN.
    """

    @classmethod
    def define_schema(cls):
        inputs = [io.Model.Input("model"), io.String.Input("run")]
        inputs += [io.Int.Input(name, default=0, optional=True) for name in ("wait_in", "nan_from")]
        return io.Schema(node_id="TestCountCalls", category="test", inputs=inputs, outputs=[io.Model.Output()])

    @classmethod
    def execute(cls, model, run, wait_in=0, nan_from=0):
        CALLS[run] = 0

        def count(executor, *args, **kwargs):
            CALLS[run] += 1
            result = executor(*args, **kwargs)
            if CALLS[run] == wait_in:
                _wait_for_interrupt(run)
            return result * torch.nan if 0 < nan_from <= CALLS[run] else result

        model = model.clone()
        model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.PREDICT_NOISE, "test", count)
        return io.NodeOutput(model)


def _wait_for_interrupt(run):
    (Path(folder_paths.get_output_directory()) / f"{run} waits").touch()
    deadline = time.monotonic() + 60
    while not comfy.model_management.processing_interrupted() and time.monotonic() < deadline:
        time.sleep(0.01)


class ElementwiseModel(io.ComfyNode):
    """A MODEL whose denoiser works elementwise, so that the batch does not change a bit of an item."""

    @classmethod
    def define_schema(cls):
        inputs = [io.Model.Input("model")]
        return io.Schema(node_id="TestElementwiseModel", category="test", inputs=inputs, outputs=[io.Model.Output()])

    @classmethod
    def execute(cls, model):
        model = model.clone()
        model.set_model_unet_function_wrapper(lambda apply, args: 0.5 * torch.tanh(args["input"]))
        return io.NodeOutput(model)


class UnknownSampling(io.ComfyNode):
    """A MODEL with an unknown kind of model sampling."""

    @classmethod
    def define_schema(cls):
        inputs = [io.Model.Input("model")]
        return io.Schema(node_id="TestUnknownSampling", category="test", inputs=inputs, outputs=[io.Model.Output()])

    @classmethod
    def execute(cls, model):
        class Strange(comfy.model_sampling.ModelSamplingDiscrete):
            def noise_scaling(self, sigma, noise, latent_image, max_denoise=False):
                return noise

        model = model.clone()
        model.add_object_patch("model_sampling", Strange())
        return io.NodeOutput(model)


class Sigmas(io.ComfyNode):
    """SIGMAS from text."""

    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="TestSigmas", category="test", inputs=[io.String.Input("values")], outputs=[io.Sigmas.Output()])

    @classmethod
    def execute(cls, values):
        return io.NodeOutput(torch.tensor([float(v) for v in values.split()]))


class Number(io.ComfyNode):
    """A number that bypasses ComfyUI's check of widget ranges."""

    @classmethod
    def define_schema(cls):
        inputs, outputs = [io.Float.Input("value", min=-1e9, max=1e9)], [io.Int.Output(), io.Float.Output()]
        return io.Schema(node_id="TestNumber", category="test", inputs=inputs, outputs=outputs)

    @classmethod
    def execute(cls, value):
        return io.NodeOutput(int(value), value)


class Anything(io.ComfyNode):
    """Any Python value, for inputs of any type."""

    @classmethod
    def define_schema(cls):
        inputs = [io.String.Input("value")]
        return io.Schema(node_id="TestAnything", category="test", inputs=inputs, outputs=[io.AnyType.Output()])

    @classmethod
    def execute(cls, value):
        return io.NodeOutput(ast.literal_eval(value))


class RealDigits(io.ComfyNode):
    """The first digits of the data, optionally with their lower halves masked."""

    @classmethod
    def define_schema(cls):
        inputs = [io.Int.Input("count"), io.Boolean.Input("mask")]
        return io.Schema(node_id="TestRealDigits", category="test", inputs=inputs, outputs=[io.Latent.Output()])

    @classmethod
    def execute(cls, count, mask):
        from embedded.digits import digits

        latent = {"samples": digits().means[:count].reshape(count, 1, 8, 8).clone()}
        if mask:
            latent["noise_mask"] = torch.zeros(1, 1, 8, 8)
            latent["noise_mask"][..., 4:, :] = 1.0
        return io.NodeOutput(latent)


class NetworkModel(io.ComfyNode):
    """A network of training/ that the stock loaders do not recognise."""

    @classmethod
    def define_schema(cls):
        inputs = [io.String.Input("network")]
        return io.Schema(node_id="TestNetworkModel", category="test", inputs=inputs, outputs=[io.Model.Output()])

    @classmethod
    def execute(cls, network):
        from training import networks

        return io.NodeOutput(networks.load(network))


class NetworkCondition(io.ComfyNode):
    """CONDITIONING of a class for a network of training/."""

    @classmethod
    def define_schema(cls):
        inputs = [io.String.Input("network"), io.Int.Input("label")]
        return io.Schema(node_id="TestNetworkCondition", category="test", inputs=inputs, outputs=[io.Conditioning.Output()])

    @classmethod
    def execute(cls, network, label):
        from training import networks

        return io.NodeOutput(networks.conditioning(networks.NETWORKS[network], [label]))


class NetworkLatent(io.ComfyNode):
    """An empty LATENT for a network of training/."""

    @classmethod
    def define_schema(cls):
        inputs = [io.String.Input("network"), io.Int.Input("batch")]
        return io.Schema(node_id="TestNetworkLatent", category="test", inputs=inputs, outputs=[io.Latent.Output()])

    @classmethod
    def execute(cls, network, batch):
        from training import networks

        return io.NodeOutput({"samples": torch.zeros(batch, *networks.NETWORKS[network].shape)})


class Report(io.ComfyNode):
    """The result, as UI data."""

    @classmethod
    def define_schema(cls):
        inputs = [io.Latent.Input("latent"), io.String.Input("run")]
        return io.Schema(node_id="TestReport", category="test", inputs=inputs, outputs=[], is_output_node=True)

    @classmethod
    def execute(cls, latent, run):
        samples = latent["samples"].float().cpu().contiguous()
        digest = hashlib.sha256(samples.numpy().tobytes()).hexdigest()
        facts = {
            "calls": CALLS.get(run),
            "shape": list(samples.shape),
            "finite": bool(samples.isfinite().all()),
            "sha256": digest,
            "items": [hashlib.sha256(item.numpy().tobytes()).hexdigest() for item in samples],
            "top": samples[..., :4, :].flatten().tolist(),
            "std": float(samples.std()),
        }
        return io.NodeOutput(ui={"facts": [facts]})


class TestExtension(ComfyExtension):
    async def get_node_list(self):
        return [
            CountCalls,
            ElementwiseModel,
            UnknownSampling,
            Sigmas,
            Number,
            Anything,
            RealDigits,
            NetworkModel,
            NetworkCondition,
            Report,
            NetworkLatent,
        ]


async def comfy_entrypoint():
    return TestExtension()
