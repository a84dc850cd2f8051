"""Draws docs/emoji_networks.png: what the networks draw for each class, and emoji that they learned from.

.host/venv/bin/python -m training.samples
"""

import torch
from PIL import Image

from embedded.emoji import CLASSES, emoji
from testbed.in_process import load
from testbed.paths import ROOT

from . import networks
from .networks import NETWORKS

PICTURE = ROOT / "docs" / "emoji_networks.png"
NAMES = ("emoji_sd", "emoji_ddpm", "emoji_ddpm_early", "emoji_flow")
STEPS, CFG = 20, 3.0
ITEMS = 4
ENLARGED = 2
GAP = 16


def sample(name: str, classes: torch.Tensor, seed: int = 0, sampler: str = "dpmpp_2m", cfg: float = CFG) -> torch.Tensor:
    """Pictures (batch, 3, 32, 32) in [-1, 1] that a network draws with STEPS steps on karras, or on simple for flow.

    Args:
        name: key of NETWORKS.
        classes: (batch,), the class of each picture.
        seed: seed for the noise.
        sampler: name of a sampler that ComfyUI knows.
        cfg: guidance over no class.
    """
    import comfy.sample
    import comfy.samplers

    network, model = NETWORKS[name], networks.load(name)
    scheduler = "simple" if network.kind == "flow" else "karras"
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, STEPS)
    noise = torch.randn(len(classes), *network.shape, generator=torch.Generator().manual_seed(seed))
    conditions = networks.conditioning(network, classes), networks.conditioning(network, [network.no_class])
    options = {"disable_pbar": True, "seed": seed}
    latents = comfy.sample.sample_custom(
        model, noise, cfg, comfy.samplers.sampler_object(sampler), sigmas, *conditions, torch.zeros_like(noise), **options
    )
    return networks.to_pictures(latents.float(), network)


def sheet(pictures: torch.Tensor) -> torch.Tensor:
    """(classes * ITEMS, 3, height, width) to one picture (3, ...), a row per class."""
    rows = pictures.reshape(len(CLASSES), ITEMS, *pictures.shape[1:])
    return rows.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)


def main() -> None:
    """Draw the picture: the emoji on the left, then a block per network."""
    load()
    classes = torch.arange(len(CLASSES)).repeat_interleave(ITEMS)
    data = emoji()
    some = torch.cat([data.means[data.labels == label][:ITEMS] for label in range(len(CLASSES))])
    blocks = [sheet(some.reshape(-1, *NETWORKS[NAMES[0]].data.shape)), *(sheet(sample(name, classes)) for name in NAMES)]
    gap = torch.ones(3, blocks[0].shape[1], GAP)
    joined = torch.cat([part for block in blocks for part in (gap, block)][1:], dim=2)
    pixels = ((joined.clamp(-1.0, 1.0) + 1.0) * 127.5).round().byte().permute(1, 2, 0).numpy()
    image = Image.fromarray(pixels)
    image.resize((image.width * ENLARGED, image.height * ENLARGED), Image.Resampling.NEAREST).save(PICTURE, optimize=True)
    print(PICTURE)


if __name__ == "__main__":
    main()
