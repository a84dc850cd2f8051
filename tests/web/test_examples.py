"""Every example loads from the template browser without a missing node, and those that need no checkpoint run."""

import json
import os
import re

import numpy as np
import pytest

from dev.setup import ROOT

EXAMPLES = sorted((ROOT / "example_workflows").glob("*.json"))
SUBGRAPHS = sorted((ROOT / "subgraphs").glob("*.json"))


def wanted_files(example):
    """Names of the checkpoints that an example needs."""
    values = [value for node in json.loads(example.read_text())["nodes"] for value in node.get("widgets_values") or []]
    return [value for value in values if str(value).endswith(".safetensors")]


# Titles of nodes that lie over each other, in pairs; a title is above its node.
_OVERLAPS = """() => {
    const title = LiteGraph.NODE_TITLE_HEIGHT;
    const boxes = app.graph.nodes.map(({ title: name, pos, size }) =>
        ({ name, left: pos[0], top: pos[1] - title, right: pos[0] + size[0], bottom: pos[1] + size[1] }));
    const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
    return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => meet(a, b)).map((b) => [a.name, b.name]));
}"""

# Titles of nodes that are not on a screen of 1600 x 1000 at 100 %, with the graph moved as the file says.
_OFF_SCREEN = """([x, y]) => app.graph.nodes.filter(({ pos, size }) => pos[0] + x < 60 || pos[1] + y < 120 ||
    pos[0] + size[0] + x > 1600 || pos[1] + size[1] + y > 1000).map(({ title }) => title)"""


def drawn(path):
    """Every graph of a file: its nodes by id, and its wires between them as (from, to)."""
    workflow = json.loads(path.read_text())
    yield {node["id"]: node for node in workflow["nodes"]}, [(link[1], link[3]) for link in workflow["links"]]
    for inner in workflow.get("definitions", {}).get("subgraphs", []):
        nodes = {node["id"]: node for node in inner["nodes"]}
        wires = [(link["origin_id"], link["target_id"]) for link in inner["links"]]
        yield nodes, [wire for wire in wires if set(wire) <= set(nodes)]


@pytest.mark.parametrize("path", EXAMPLES + SUBGRAPHS, ids=lambda path: path.stem)
def test_wires_run_from_left_to_right(path):
    for nodes, wires in drawn(path):
        right = {node["id"]: node["pos"][0] + node["size"][0] for node in nodes.values()}
        backward = [(source, target) for source, target in wires if right[source] >= nodes[target]["pos"][0]]
        assert not backward


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_texts_are_drawn_when_it_opens_from_the_template_browser(example):
    """On a screen of 1600 x 1000 the editor then fits the graph to three quarters of it, with margins of 10.

    The classic renderer leaves out all text below 8 pixels, whose size is 14 at 100 %.
    """
    boxes = np.array([[node["pos"], np.add(node["pos"], node["size"])] for node in json.loads(example.read_text())["nodes"]])
    width, height = boxes[:, 1].max(0) - boxes[:, 0].min(0) + [20, 50]  # a title has a height of 30
    assert 0.75 * min(1600 / width, 1000 / height) > 8 / 14


def test_those_that_need_a_checkpoint_link_to_it():
    """The editor offers the download of a file that is missing."""
    for example in EXAMPLES:
        nodes = json.loads(example.read_text())["nodes"]
        linked = [model["name"] for node in nodes for model in node["properties"].get("models", [])]
        assert sorted(linked) == sorted(wanted_files(example)), example.stem


def test_they_are_numbered():
    """The browser shows file names in order, and a link allows only names of letters, digits, points and dashes."""
    assert [int(example.stem[:2]) for example in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))
    assert all(re.fullmatch(r"[\w.-]+", example.stem) for example in EXAMPLES)


def test_each_says_what_it_shows_and_names_its_checkpoints():
    """Its note has no code, because Nodes 2.0 shows code unreadably."""
    for example in EXAMPLES:
        nodes = json.loads(example.read_text())["nodes"]
        [note] = [node["widgets_values"][0] for node in nodes if node["type"] == "MarkdownNote"]
        assert len(note) > 60 and "`" not in note and all(file in note for file in wanted_files(example)), example.stem


def _browse_templates(editor):
    """Show the pack's examples; they are opened again if a late Escape of the test before has closed them."""
    from playwright.sync_api import TimeoutError as TooLate

    def chosen():
        editor.js("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
        try:
            editor.page.get_by_text("ComfyUI-RES", exact=True).first.click(timeout=5000)
        except TooLate:
            return False
        return True

    editor.until(chosen, "the template browser", timeout=60)


def _check_room(editor, example):
    """Every node has room for what it shows, and is below the bar of tabs and to the right of the sidebar."""
    view = json.loads(example.read_text())["extra"]["ds"]
    editor.page.wait_for_timeout(500)  # Nodes 2.0 gives nodes their size as it draws them
    assert editor.js(_OVERLAPS) == [] and view["scale"] == 1
    if "COMFYUI_RES_FRONTEND" not in os.environ:  # older editors stretch every graph for Nodes 2.0
        assert editor.js(_OFF_SCREEN, view["offset"]) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_loaded_from_the_template_browser(editor, example, request):
    """It also runs in one renderer, and with --long in both; a run does not depend on the renderer."""
    page = editor.page
    _browse_templates(editor)
    card = page.locator(f'[data-testid="template-workflow-{example.stem}"]')
    card.scroll_into_view_if_needed()  # before that its picture is not loaded
    thumbnail = card.locator("img").first
    editor.until(lambda: thumbnail.evaluate("(img) => img.naturalWidth") > 0, "the thumbnail")
    card.click()
    wanted = {node["type"] for node in json.loads(example.read_text())["nodes"]}
    types = "() => app.graph.nodes.map((node) => node.type)"
    editor.until(lambda: set(editor.js(types)) == wanted, "the workflow")
    known = set(editor.js("() => Object.keys(LiteGraph.registered_node_types)"))
    assert wanted <= known, "no node is red"
    page.keyboard.press("Escape")
    _check_room(editor, example)
    runs = editor.renderer == "classic" or request.config.getoption("--long")
    if runs and not wanted_files(example):
        outputs = editor.run()
        assert any(output.get("images") for output in outputs.values())
        _check_room(editor, example)


@pytest.mark.parametrize("blueprint", SUBGRAPHS, ids=lambda path: path.stem)
def test_a_subgraph_runs(editor, blueprint):
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
