"""Every node of the pack: found in the search box, drawn, described in the help panel."""

import json

import pytest

from dev.setup import ROOT

WORDS = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
NAMES = {node: words["display_name"] for node, words in WORDS.items()}


def test_every_node_wired_and_run(editor):
    """Six samplers run on five SIGMAS made from each other, with two models of processes, the lab, and pictures.

    RES Calibrated has no file before the lab writes one; `nodes/test_lab_on_a_server.py` runs it.
    """
    add, wire = editor.add, editor.wire
    model = add("RESToyModel", 20, 60, data="digits")
    wired = {"model": (model, 0)}
    schedule = add("RESLogSNRSchedule", 300, 60, wired, steps=8)
    curve = add("RESLogSNRCurve", 640, 60, wired, steps=6)
    blend = add("RESSigmasBlend", 980, 60, {**wired, "sigmas_a": (schedule, 0), "sigmas_b": (curve, 0)})
    resample = add("RESSigmasResample", 980, 260, {**wired, "sigmas": (curve, 0)}, steps=7)
    split = add("RESSigmasSplit", 980, 420, {**wired, "sigmas": (schedule, 0)}, **{"at.sigma": 1.0})
    plot = add("RESSigmasPlot", 1300, 60, {"sigmas": (schedule, 0), "sigmas_b": (blend, 0), "sigmas_c": (split, 1), **wired})
    condition, latent = add("RESToyCondition", 20, 240, data="digits"), add("RESToyLatent", 20, 360, data="digits", batch_size=4)
    conditions = {"positive": (condition, 0), "negative": (condition, 0), "latent_image": (latent, 0), **wired}
    samplers = {"RESMultistep": schedule, "RESSingleStep": curve, "RESSDE": blend, "RESStochasticChurn": resample}
    previews = []
    for row, (node, sigmas) in enumerate({**samplers, "RESAdaptive": split, "RESGDDIM": schedule}.items()):
        custom = add("SamplerCustom", 600, 700 + 300 * row, {**conditions, "sigmas": (sigmas, 0)})
        wire(add(node, 300, 700 + 300 * row), 0, custom, "sampler")
        previews.append(_preview(editor, custom, 700 + 300 * row))
    guider = add("CFGGuider", 20, 2300, {name: conditions[name] for name in ("model", "positive", "negative")})
    noise = {"noise": (add("RandomNoise", 20, 2500), 0), "guider": (guider, 0), "latent_image": (latent, 0)}
    previews.append(_preview(editor, add("RESAdaptive", 400, 2300, {**noise, "sigmas": (schedule, 0)}), 2300, 2))
    for row, process in enumerate((add("RESDigitsProcessModel", 20, 2700, process="blurring"), add("RESLoadCLD", 20, 3000))):
        y, wires = 2700 + 300 * row, {**conditions, "model": (process, 0)}
        times = add("RESGDDIMTimes", 300, y, {"model": (process, 0)}, steps=6)
        previews.append(_preview(editor, add("RESGDDIMSample", 600, y, {**wires, "sigmas": (times, 0)}), y))
    subject = {"model": (guider, 0), "latent_image": (latent, 0)}
    lab = add("RESLabMeasure", 20, 3400, subject, samplers="exp_res, euler", schedulers="karras", budgets="6")
    calibrate = add("RESLabCalibrate", 500, 3400, {**subject, "sigmas": (schedule, 0)}, pilots=4)
    trace = add("RESLabTrace", 950, 3400, {**subject, "sampler": (calibrate, 0), "sigmas": (calibrate, 1)})
    previews += [lab, calibrate, _preview(editor, trace, 3400)]
    add("RESShiftForSize", 20, 480)
    used = set(editor.js("() => app.graph.nodes.map((node) => node.type)"))
    known = editor.js("() => Object.keys(LiteGraph.registered_node_types).filter((name) => name.startsWith('RES'))")
    assert set(known) == set(NAMES) and set(NAMES) - used == {"RESCalibrated"}
    outputs = editor.run()
    assert all(outputs[node]["images"] for node in (plot, *previews))


def _preview(editor, sampled, y, output=0):
    decode = editor.add("RESToyDecode", 950, y, {"samples": (sampled, output)})
    return editor.add("PreviewImage", 1200, y, {"images": (decode, 0)})


def _search_box(editor):
    """The field of the search box; a double click while the editor is busy with the last test's graph opens nothing."""
    field = editor.page.locator("input:focus").first
    for _ in range(5):
        editor.page.mouse.dblclick(800, 500)
        editor.page.wait_for_timeout(400)
        if field.is_visible():
            return field
        editor.page.keyboard.press("Escape")
        editor.page.wait_for_timeout(600)
    raise AssertionError("no search box opens")


@pytest.mark.one_renderer
@pytest.mark.parametrize("node", NAMES)
def test_added_from_the_search_box(editor, node):
    field = _search_box(editor)
    field.fill(NAMES[node])
    editor.page.wait_for_timeout(600)
    editor.page.keyboard.press("Enter")
    editor.until(lambda: editor.js("() => app.graph.nodes.length") == 1, "the node", 5)
    editor.page.mouse.click(500, 300)  # a node that follows the pointer is placed
    assert editor.js("() => app.graph.nodes[0].type") == node
    size = editor.js("() => [...app.graph.nodes[0].size]")
    assert size[0] > 100 and size[1] > 30


# words that people type into the editor's node search, and the node that it shows first
SEARCHES = {
    "exp_res": "RES sampler (exp_res)",
    "exp_res_sde": "RES SDE",
    "res4lyf": "RES SDE",
    "res_2m": "RES Multistep",
    "compare samplers": "RES Lab: Measure",
    "sampler comparison": "RES Lab: Measure",
    "preview sigmas": "Sigmas Plot (RES)",
    "sigmas": "Sigmas Plot (RES)",
    "noise injection": "RES SDE",
    "inversion": "Inversion (RES unsample)",
    "unsample": "Inversion (RES unsample)",
    "cfg++": "CFG++ sampler (RES)",
}
_FOUND = """(words) => {
    const stores = document.querySelector("#vue-app").__vue_app__.config.globalProperties.$pinia._s;
    return stores.get("nodeDef").nodeSearchService.searchNode(words, []).map((node) => node.display_name);
}"""


@pytest.mark.parametrize("words", SEARCHES)
def test_the_search_finds_ours_first(editor, words):
    """It ranks names that start with the words before names that contain them. An alias finds a node, but ranks last."""
    editor.until(lambda: editor.js(_FOUND, words)[:1] == [SEARCHES[words]], f"{SEARCHES[words]} as the first of {words}")


@pytest.mark.one_renderer
@pytest.mark.parametrize("node", NAMES)
def test_help_page(editor, node):
    placed = editor.add(node, 400, 300)
    editor.js("(id) => { app.canvas.deselectAll(); app.canvas.selectNode(app.graph.getNodeById(+id)); }", placed)
    editor.page.locator('[data-testid="info-button"]').first.click()
    heading = editor.page.get_by_role("heading", name="When to use it")
    editor.until(heading.is_visible, "the help page")
    picture = editor.page.locator('img[src*="/docs/images/"]').first
    editor.until(lambda: picture.evaluate("(img) => img.naturalWidth") >= 640, "its picture")
    editor.page.locator('[data-testid="info-button"]').first.click()


def test_in_chinese(editor):
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
