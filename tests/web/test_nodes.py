"""Every node of the pack: found in the search box, drawn, described in the help panel."""

import pytest

NAMES = {
    "RESMultistep": "RES Multistep", "RESSingleStep": "RES Single-step", "RESSDE": "RES SDE",
    "RESStochasticChurn": "RES Stochastic (churn)", "RESAdaptive": "RES Adaptive", "RESAdaptiveGrid": "RES Adaptive Grid",
    "RESLogSNRSchedule": "RES LogSNR Schedule", "RESLogSNRCurve": "RES LogSNR Curve", "RESSigmasBlend": "RES Sigmas Blend",
    "RESSigmasResample": "RES Sigmas Resample", "RESSigmasSplit": "RES Sigmas Split", "RESSigmasPlot": "RES Sigmas Plot",
    "RESDigitsModel": "Digits Model", "RESDigitsCondition": "Digits Condition", "RESDigitsLatent": "Digits Latent",
    "RESDigitsDecode": "Digits Decode",
}  # fmt: skip


def test_every_node_is_here(editor):
    known = editor.js("() => Object.keys(LiteGraph.registered_node_types).filter((name) => name.startsWith('RES'))")
    assert set(known) == set(NAMES)


def _search_box(editor):
    """Its field; a double click while the editor is still busy with the last test's graph opens nothing."""
    field = editor.page.locator("input:focus").first
    for _ in range(5):
        editor.page.mouse.dblclick(800, 500)
        editor.page.wait_for_timeout(400)
        if field.is_visible():
            return field
        editor.page.keyboard.press("Escape")
        editor.page.wait_for_timeout(600)
    raise AssertionError("no search box opens")


@pytest.mark.parametrize("node", NAMES)
def test_added_from_the_search_box(editor, node):
    field = _search_box(editor)
    field.fill(NAMES[node])
    editor.page.wait_for_timeout(600)
    editor.page.keyboard.press("Enter")
    editor.until(lambda: editor.js("() => app.graph.nodes.length") == 1, "the node", 5)
    editor.page.mouse.click(500, 300)  # where it hangs on the pointer it is put down
    assert editor.js("() => app.graph.nodes[0].type") == node
    size = editor.js("() => [...app.graph.nodes[0].size]")
    assert size[0] > 100 and size[1] > 30


@pytest.mark.parametrize("node", NAMES)
def test_help_page(editor, node):
    """Its text and its picture, in the editor's panel."""
    placed = editor.add(node, 400, 300)
    editor.js("(id) => { app.canvas.deselectAll(); app.canvas.selectNode(app.graph.getNodeById(+id)); }", placed)
    editor.page.locator('[data-testid="info-button"]').first.click()
    heading = editor.page.get_by_role("heading", name="When to use it")
    editor.until(heading.is_visible, "the help page")
    picture = editor.page.locator('img[src*="/docs/images/"]').first
    editor.until(lambda: picture.evaluate("(img) => img.naturalWidth") == 640, "its picture")
    editor.page.locator('[data-testid="info-button"]').first.click()


def test_in_chinese(editor):
    """Names of nodes and inputs, and the words in a picture."""
    editor.set(**{"Comfy.Locale": "zh"})
    try:
        editor.load()
        editor.start()
        editor.add("RESLogSNRSchedule", 400, 120)
        line = editor.page.locator(".res-picture-line").first
        editor.until(lambda: "20 步" in line.inner_text(), "the picture's words")
        assert editor.js("() => app.graph.nodes[0].title") == "RES LogSNR 调度"
    finally:
        editor.set(**{"Comfy.Locale": "en"})
        editor.screenshot(f"in-chinese-{editor.renderer}")
        editor.load()
