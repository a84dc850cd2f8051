"""The pack's words in the editor: locale files and help pages are complete and in step with the nodes."""

import json
import re
from functools import cache

import pytest

from dev.setup import ROOT

LOCALES = ROOT / "locales"
PAGES = ROOT / "web" / "docs"
LANGUAGES = sorted(folder.name for folder in LOCALES.iterdir())
_CHOSEN = ("model_", "told_", "wired_", "preset_")
_USED = re.compile(r"""\bword\(\s*["']([a-z_]+)["']""")


@cache
def read(language, name):
    return json.loads((LOCALES / language / name).read_text(encoding="utf-8"))


def leaves(value, path=()):
    """{path: text}."""
    if isinstance(value, str):
        return {path: value}
    return {p: text for key, inner in value.items() for p, text in leaves(inner, (*path, key)).items()}


def test_there_are_two_languages():
    assert {"en", "zh"} <= set(LANGUAGES)
    assert all({f.name for f in (LOCALES / language).iterdir()} == {"main.json", "nodeDefs.json"} for language in LANGUAGES)


def test_english_is_what_the_nodes_say(pack):
    """The file is what `python -m dev.generate` writes, and nothing lacks words."""
    from dev.generate import as_json, node_defs

    expected = node_defs(pack)
    assert (LOCALES / "en" / "nodeDefs.json").read_text(encoding="utf-8") == as_json(expected)
    assert all(node.define_schema().category.startswith("RES") for node in pack.values())
    for node in expected.values():
        assert node["display_name"] and node["description"]
        assert all(words.get("tooltip") for words in node["inputs"].values())


def test_words_of_the_pictures():
    """The words are exactly those that web/ uses, apart from groups of which it chooses one."""
    used = {word for file in (ROOT / "web").glob("*.js") for word in _USED.findall(file.read_text())}
    words = set(read("en", "main.json")["resPicture"])
    assert used | {name for name in words if name.startswith(_CHOSEN)} == words


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["main.json", "nodeDefs.json"])
def test_other_languages_translate_what_there_is(language, name):
    """There are no words for missing things, no empty words, and the same {placeholders}; Chinese is complete."""
    english, others = leaves(read("en", name)), leaves(read(language, name))
    assert set(others) <= set(english)
    assert language != "zh" or set(others) == set(english), sorted(set(english) - set(others))
    for path, text in others.items():
        assert text.strip()
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", english[path])), path


def test_what_stands_alike_in_english_does_in_chinese():
    """A text that several nodes share has one translation, so that a change of it is made in all of them."""
    english, chinese = leaves(read("en", "nodeDefs.json")), leaves(read("zh", "nodeDefs.json"))
    translations = {}
    for path, text in english.items():
        if path[-1] in ("tooltip", "description"):
            translations.setdefault(text, set()).add(chinese[path])
    assert {text: result for text, result in translations.items() if len(result) > 1} == {}


def test_help_pages_follow_the_nodes(pack):
    """There is one for every node, as `python -m dev.generate` writes it, with formula, source and an existing picture."""
    from dev.generate import page

    assert {page.stem for page in PAGES.glob("*.md")} == set(pack)
    pictures = set()
    for node_id, node in pack.items():
        text = (PAGES / f"{node_id}.md").read_text(encoding="utf-8")
        assert text == page(text, node), f"{node_id}: run python -m dev.generate"
        for part in ("## When to use it", "## Inputs", "## Formula", "Source"):
            assert part in text, f"{node_id}: no {part}"
        linked = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
        assert linked, f"{node_id}: no picture"
        pictures |= set(linked)
    assert pictures == {f"images/{picture.name}" for picture in (PAGES / "images").iterdir()}
