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


@pytest.mark.parametrize("node", NAMES)
def test_added_from_the_search_box(editor, node):
    editor.page.mouse.dblclick(800, 500)
    field = editor.page.locator('input[type="text"]:focus, input[role="combobox"]:focus, input:focus').first
    field.fill(NAMES[node])
    editor.page.wait_for_timeout(600)
    editor.page.keyboard.press("Enter")
    editor.until(lambda: editor.js("() => app.graph.nodes.length") == 1, "the node", 5)
    editor.page.mouse.click(500, 300)  # where it hangs on the pointer it is put down
    assert editor.js("() => app.graph.nodes[0].type") == node
    size = editor.js("() => [...app.graph.nodes[0].size]")
    assert size[0] > 100 and size[1] > 30
