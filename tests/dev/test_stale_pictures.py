"""The pictures of README, the docs, the help pages and the templates show what the code draws today."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from dev import pictures, thumbnails
from testbed.paths import ROOT

REMEDY = "run .host/venv/bin/python -m dev.pictures {}, and look at the picture"
SLOW = {"calibration", "few_calls"}
DRAWN = [
    pytest.param(part, path, id=path.name, marks=[pytest.mark.long] if path.name in SLOW else [])
    for part, drawn in pictures.DRAWN.items()
    for path in drawn
]


def same(image, path):
    """Whether a stored picture looks as an image does; fonts and rounding move few pixels, and palettes change them little."""
    stored = Image.open(path)
    if stored.size != image.size:
        return False
    difference = np.abs(np.asarray(stored.convert("RGB"), dtype=float) - np.asarray(image.convert("RGB"), dtype=float))
    return (difference.max(-1) > 80.0).mean() < 0.003


@pytest.mark.parametrize("part, path", DRAWN)
def test_a_drawn_picture_is_as_the_code_draws_it(part, path):
    assert same(pictures.as_picture(pictures.DRAWN[part][path]()), path.with_suffix(".png")), REMEDY.format(part)


@pytest.mark.parametrize("name", thumbnails.CARDS)
def test_a_card_is_as_the_code_draws_it(name):
    assert same(thumbnails.card(name), pictures.EXAMPLES / f"{name}.jpg"), REMEDY.format("cards")


@pytest.mark.long
@pytest.mark.timeout(700)
@pytest.mark.parametrize("name", thumbnails.PICTURES)
def test_a_thumbnail_is_what_its_example_gives(server, name):
    assert same(thumbnails.pictures(server, name), pictures.EXAMPLES / f"{name}.jpg"), REMEDY.format("thumbnails")


def test_pictures_of_a_server_show_the_examples_of_today():
    recorded, now = json.loads(pictures.RECORD.read_text("utf-8")), pictures.digests()
    stale = sorted(name for name in now | recorded if recorded.get(name) != now.get(name))
    assert not stale, REMEDY.format("thumbnails editor")


def test_a_changed_picture_is_noticed():
    path = pictures.HELP / "schedule"
    assert not same(pictures.as_picture(pictures.DRAWN["help"][pictures.HELP / "curve"]()), path.with_suffix(".png"))


def test_every_picture_is_used():
    """A page, the registry or a template of the same name uses it."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("web/docs/*.md"), ROOT / "pyproject.toml"]
    named = set(re.findall(r"[\w.-]+\.(?:png|jpg|webp)", " ".join(page.read_text("utf-8") for page in pages)))
    for path in [*pictures.DOCS.glob("*.png"), *pictures.HELP.iterdir()]:
        assert path.name in named, f"{path} is in no page"
    assert all(path.with_suffix(".json").exists() for path in pictures.EXAMPLES.glob("*.jpg"))
