"""The subgraphs that the editor offers as nodes, run on a server."""

import json

import pytest

from testbed.paths import ROOT

BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))


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
