"""Trains a network on the emoji or the digits and writes its weights, on a GPU where there is one, else on one CPU thread.

.host/venv/bin/python -m training                   # lists the networks and how long they take
.host/venv/bin/python -m training emoji_sd          # trains one; the weights go to output/
.host/venv/bin/python -m training emoji_sd --help
"""

import argparse
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch

from embedded.cld_checkpoint import DIGITS_CLD
from testbed.paths import OUTPUT, ROOT

from . import cld_training, train
from .networks import NETWORKS


class Recipe(NamedTuple):
    """How a network is trained.

    Attributes:
        what: description.
        minutes: duration.
        ours: the file with the pack's own weights.
        module: with `add_options(parser)` and `run(options)`.
    """

    what: str
    minutes: int
    ours: Path
    module: ModuleType


RECIPES = {
    "emoji_sd": Recipe("Stable Diffusion 1.5's UNet, eps, from emoji_ddpm", 11, NETWORKS["emoji_sd"].file, train),
    "emoji_ddpm": Recipe("the same on DDPM's noise levels; also writes emoji_ddpm_early", 31, NETWORKS["emoji_ddpm"].file, train),
    "emoji_flow": Recipe("the same as flow, from emoji_sd", 11, NETWORKS["emoji_flow"].file, train),
    "sd3": Recipe("Stable Diffusion 3's transformer, flow", 5, NETWORKS["sd3"].file, train),
    "unet": Recipe("Stable Diffusion 1.5's UNet, eps", 7, NETWORKS["unet"].file, train),
    "cld": Recipe("a UNet for critically-damped Langevin diffusion", 12, DIGITS_CLD, cld_training),
}


def listing() -> str:
    """One line per network, and below it the file with the pack's own weights."""
    lines = [__doc__.strip(), ""]
    for name, recipe in RECIPES.items():
        lines.append(f"{name:<11}{recipe.minutes:>3} min  {recipe.what}")
        lines.append(f"{'':<19}the pack's own: --output {recipe.ours.relative_to(ROOT).as_posix()}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Without a network it lists them.")
    networks = parser.add_subparsers(dest="network", metavar="NETWORK", help=", ".join(RECIPES))
    for name, recipe in RECIPES.items():
        command = networks.add_parser(name, description=f"Trains {recipe.what}.")
        command.set_defaults(recipe_minutes=recipe.minutes)
        recipe.module.add_options(command)
    options = parser.parse_args(arguments)
    if options.network is None:
        print(listing())
        return
    torch.set_num_threads(1)
    OUTPUT.mkdir(exist_ok=True)
    RECIPES[options.network].module.run(options)


if __name__ == "__main__":
    main()
