"""The subgraphs that the editor offers as nodes: found in the search, and run on a server."""

import json

import pytest

from testbed.paths import ROOT

BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))
_NODES = """() => document.querySelector("#vue-app").__vue_app__.config.globalProperties.$pinia._s
    .get("nodeDef").nodeSearchService.searchNode("%s", []).map((node) => node.display_name)"""


@pytest.mark.parametrize("words, title", [("exp_res", "RES sampler (exp_res)"), ("unsample", "Unsample (RES inversion)")])
def test_the_search_finds_it_first(editor, words, title):
    editor.until(lambda: editor.js(_NODES % words)[0] == title, f"{title} as the first of {words}")


@pytest.mark.parametrize("blueprint", BLUEPRINTS, ids=lambda path: path.stem)
def test_it_runs(editor, blueprint):
    editor.open(json.loads(blueprint.read_text()))
    model = editor.add("RESToyModel", -800, 0)
    condition = editor.add("RESToyCondition", -800, 250)
    latent = editor.add("RESToyLatent", -800, 450)
    for source, name in ((model, "model"), (condition, "positive"), (condition, "negative"), (latent, "latent_image")):
        editor.wire(source, 0, "10", name)
    picture = editor.add("RESToyDecode", 500, 0, {"samples": ("10", 0)})
    shown = editor.add("PreviewImage", 500, 300, {"images": (picture, 0)})
    assert editor.run()[shown]["images"]
    sampled = next(node for node in editor.prompt().values() if node["class_type"] == "SamplerCustom")
    assert isinstance(sampled["inputs"]["sampler"], list) and isinstance(sampled["inputs"]["sigmas"], list)
