"""The frame of the pack's own models: the host's wrappers around the network, a latent format, and devices."""

import comfy.latent_formats
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.patcher_extension
import comfy.supported_models_base
import torch


class Network(torch.nn.Module):
    """A network whose `_forward`, which subclasses have, the host calls through the wrappers of other nodes."""

    dtype = torch.float32  # half precision cannot distinguish states near the data

    def forward(self, x, timesteps, context=None, control=None, transformer_options={}, **kwargs):
        kind = comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL
        wrappers = comfy.patcher_extension.get_all_wrappers(kind, transformer_options)
        executor = comfy.patcher_extension.WrapperExecutor.new_class_executor(self._forward, self, wrappers)
        return executor.execute(x, timesteps, context, control, transformer_options, **kwargs)


class _Pixels(comfy.latent_formats.LatentFormat):
    """A latent format without scaling."""

    spacial_downscale_ratio = 1


class _Config(comfy.supported_models_base.BASE):
    unet_config = {"disable_unet_model_creation": True}
    unet_extra_config = {}
    latent_format = _Pixels
    memory_usage_factor = 0.001


def model_config(channels: int) -> comfy.supported_models_base.BASE:
    """The configuration of a BaseModel whose network is set afterwards.

    Previews show three channels as red, green and blue, and the mean of another number of channels in grey.
    """
    config = _Config({**_Config.unet_config, "in_channels": channels})
    config.latent_format.latent_channels = channels
    factors = torch.eye(3) if channels == 3 else torch.full((channels, 3), 1.0 / channels)
    config.latent_format.latent_rgb_factors = factors.tolist()
    return config


def as_model(model: comfy.model_base.BaseModel) -> comfy.model_patcher.ModelPatcher:
    """A MODEL on the host's devices."""
    return comfy.model_patcher.ModelPatcher(
        model.eval(),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
