"""Figures of the pack as IMAGEs, and latents as pictures."""

import importlib
from collections.abc import Callable

import latent_preview
import numpy as np
import torch


def check_matplotlib(node_name: str) -> None:
    """Raise a RuntimeError if matplotlib is not installed, before a node's work, because the picture is drawn last."""
    try:
        importlib.import_module("matplotlib.figure")  # slow
    except ImportError as error:
        raise RuntimeError(
            f"{node_name} needs matplotlib ({error}); run pip install matplotlib in ComfyUI's environment."
        ) from None


def as_image(pixels: np.ndarray) -> torch.Tensor:
    """(height, width, 3) in [0, 1] as IMAGE, float32, of shape (1, height, width, 3)."""
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32))[None]


def decoder(model, vae=None) -> Callable[[torch.Tensor], np.ndarray]:
    """A function from an item's latent, (channels, ...) as the model sees it, to (height, width, 3) in [0, 1].

    Args:
        model: a ModelPatcher.
        vae: a VAE, or None for the latent's own colours, as in previews. A video shows its first frame.
    """
    if vae is not None:
        return lambda latent: _frame(vae.decode(model.model.process_latent_out(latent[None])))
    form = model.model.latent_format
    factors = getattr(form, "latent_rgb_factors", None)
    if factors is None:
        return _as_grey
    shown = latent_preview.Latent2RGBPreviewer(factors, form.latent_rgb_factors_bias, form.latent_rgb_factors_reshape)
    return lambda latent: np.asarray(shown.decode_latent_to_preview(latent[None]), dtype=np.float32)[..., :3] / 255.0


def _frame(images: torch.Tensor) -> np.ndarray:
    """The first image of (batch, height, width, 3) or (batch, frames, height, width, 3)."""
    return images.reshape(-1, *images.shape[-3:])[0].float().cpu().numpy()


def _as_grey(latent: torch.Tensor) -> np.ndarray:
    """The mean of the channels in grey, from its smallest value to its largest; of sound, which has no height, all channels."""
    latent = latent[None] if latent.ndim == 2 else latent
    grey = latent.reshape(latent.shape[0], -1, *latent.shape[-2:])[:, 0].float().mean(dim=0).cpu().numpy()
    grey = (grey - grey.min()) / max(grey.max() - grey.min(), 1e-6)
    return np.repeat(grey[..., None], 3, axis=-1)
