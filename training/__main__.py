"""Trains a network on the digits and writes its weights, on one CPU thread.

.host/venv/bin/python -m training             # what there is, and how long it takes
.host/venv/bin/python -m training unet        # trains one; the weights go to output/
.host/venv/bin/python -m training unet --help
"""

import argparse
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch

from benchmarks.pages import OUTPUT, ROOT
from embedded.cld_checkpoint import DIGITS_CLD

from . import cld, train
from .networks import NETWORKS


class Recipe(NamedTuple):
    """How a network is trained.

    Attributes:
        what: in words.
        minutes: that it takes.
        ours: the file with the pack's own weights.
        module: with `add_options(parser)` and `run(options)`.
    """

    what: str
    minutes: int
    ours: Path
    module: ModuleType


RECIPES = {
    "sd3": Recipe("Stable Diffusion 3's transformer, flow", 5, NETWORKS["sd3"].file, train),
    "unet": Recipe("Stable Diffusion 1.5's UNet, eps", 7, NETWORKS["unet"].file, train),
    "cld": Recipe("a UNet for critically-damped Langevin diffusion", 12, DIGITS_CLD, cld),
}


def listing() -> str:
    """A network a line, and below it the file of the pack that holds its weights."""
    lines = [__doc__.strip(), ""]
    for name, recipe in RECIPES.items():
        lines.append(f"{name:<5}{recipe.minutes:>3} min  {recipe.what}")
        lines.append(f"{'':<14}the pack's own: --output {recipe.ours.relative_to(ROOT).as_posix()}")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m training", description="Without a network: lists them.")
    networks = parser.add_subparsers(dest="network", metavar="NETWORK", help=", ".join(RECIPES))
    for name, recipe in RECIPES.items():
        recipe.module.add_options(networks.add_parser(name, description=f"Trains {recipe.what}."))
    options = parser.parse_args(arguments)
    if options.network is None:
        print(listing())
        return
    torch.set_num_threads(1)
    OUTPUT.mkdir(exist_ok=True)
    RECIPES[options.network].module.run(options)


if __name__ == "__main__":
    main()
