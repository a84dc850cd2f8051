"""The pictures in the schedule nodes follow the widgets, in every place of a node, and change nothing."""

import pytest
from editor import WHOLE, Picture, checkpoint, into_a_subgraph, undo


class Drawn(Picture):
    """A schedule node with a model and, if something must run, a plot; and the picture in the schedule node."""

    def __init__(self, editor, kind="eps", node="RESLogSNRSchedule", plot=False):
        model = editor.add("RESToyModel", 40, 120, kind=kind)
        self.id = editor.add(node, 400, 60, {"model": (model, 0)})
        if plot:
            editor.add("RESSigmasPlot", 820, 60, {"sigmas": (self.id, 0), "model": (model, 0)})
        super().__init__(editor)


@pytest.mark.parametrize("node", ["RESLogSNRSchedule", "RESLogSNRCurve"])
def test_follows_every_widget(editor, node):
    picture = Drawn(editor, node=node)
    picture.wait_for("20 steps, 20 model calls with exp_res")
    changes = {"steps": 9, "denoise": 0.5, "direction": "invert", "composition": 0.8}
    changes |= {"spacing": "power", "spacing.power": 2.0} if node == "RESLogSNRSchedule" else {"curve": "[[0,0],[0.2,0.6],[1,1]]"}
    for name, value in {**changes, "range": "logSNR", "range.start_logsnr": -3.0}.items():
        picture.changes(lambda name=name, value=value: editor.write(picture.id, name, value))
    picture.wait_for("9 steps")


def test_values_typed_by_the_user(editor):
    picture = Drawn(editor)
    if editor.renderer == "classic":
        code = "(id) => { const n = app.graph.getNodeById(+id); return [...n.pos, n.size[0], n.widgets[0].last_y]; }"
        box = editor.js(code, picture.id)
        editor.page.mouse.dblclick(box[0] + box[2] / 2, box[1] + box[3] + 10)
        field = editor.page.locator(".graphdialog input")
    else:
        field = editor.page.locator(f'[data-node-id="{picture.id}"] input').first
        field.click(force=True)  # the element that drags the value lies over it
    field.fill("12")
    field.press("Enter")
    picture.wait_for("12 steps, 12 model calls")


def test_values_written_by_others(editor):
    """Undo and other extensions change values without a callback."""
    picture = Drawn(editor)
    code = "(id) => { app.graph.getNodeById(+id).widgets.find((w) => w.name === 'steps').value = 7; }"
    picture.changes(lambda: editor.js(code, picture.id))
    picture.wait_for("7 steps")


def test_choices_of_the_picture_are_no_part_of_the_prompt(editor):
    picture = Drawn(editor)
    before = editor.prompt()
    assert not any("picture" in name for name in before[picture.id]["inputs"])
    picture.changes(lambda: picture.root.locator("button").click())
    picture.changes(lambda: picture.root.locator("select").nth(0).select_option("flow"))
    picture.wait_for("Flux")
    picture.root.locator("select").nth(1).select_option("exp_res_3s")
    picture.wait_for("58 model calls with exp_res_3s")
    assert editor.prompt() == before
    workflow = editor.saved()
    [node] = [node for node in workflow["nodes"] if str(node["id"]) == picture.id]
    assert len(node["widgets_values"]) == len(before[picture.id]["inputs"]) - 1, "nothing of the picture among the widgets"
    assert all(isinstance(value, str) for name, value in node["properties"].items() if name.startswith("picture"))
    editor.open(workflow)
    picture = Picture(editor)
    picture.wait_for("58 model calls with exp_res_3s")
    assert picture.root.locator("button").inner_text() == "sigma"
    assert editor.prompt() == before


def test_exact_values_under_the_pointer(editor):
    picture = Drawn(editor)
    box = picture.canvas.bounding_box()
    picture.changes(lambda: editor.page.mouse.move(box["x"] + 46, box["y"] + 30))
    picture.wait_for("sigma 0: 14.61, logSNR -5.364, next step h =")
    editor.page.mouse.move(box["x"] + box["width"] - 8, box["y"] + 30)
    picture.wait_for("sigma 20: 0, logSNR ∞")
    editor.page.mouse.move(10, 500)
    picture.wait_for("20 steps")
    picture.canvas.focus()
    for expected in ("sigma 0:", "sigma 1:", "sigma 2:"):
        editor.page.keyboard.press("ArrowRight")
        picture.wait_for(expected)


def test_the_range_of_the_model_after_a_run(editor):
    picture = Drawn(editor, "flow", plot=True)
    node = picture.id
    picture.wait_for("connected model: flow, shift 3, from Toy Model")
    select = picture.root.locator("select").nth(0)
    assert "from the graph" in select.locator("option").nth(0).inner_text()
    editor.run()
    picture.wait_for("connected model: sigma 0.003 to 1")
    assert "the connected model" in select.locator("option").nth(0).inner_text()
    editor.open(editor.saved())
    picture = Picture(editor)
    picture.wait_for("connected model: sigma 0.003 to 1")
    other = editor.add("RESToyModel", 40, 400)
    editor.wire(other, 0, node, "model")
    picture.wait_for("connected model: eps, from Toy Model")


def test_no_model_wired(editor):
    """The picture says so and follows the kind chosen in the node, which then runs without one."""
    schedule = editor.add("RESLogSNRSchedule", 400, 60, spacing="beta")
    picture = Picture(editor)
    picture.wait_for("no model connected: drawn for SD 1.5, SDXL")
    assert picture.root.locator(".res-picture-line").evaluate(WHOLE)
    assert "no model connected" in picture.root.locator("select").nth(0).locator("option").nth(0).inner_text()
    picture.changes(lambda: editor.write(schedule, "without_model", "flow"))
    picture.wait_for("no model connected: flow, as chosen in without_model")
    picture.changes(lambda: editor.write(schedule, "without_model.shift", 8.0))
    plot = editor.add("RESSigmasPlot", 820, 60, {"sigmas": (schedule, 0)})
    assert editor.run()[plot]["images"]
    picture.wait_for("no model connected: flow")


def test_what_the_graph_tells_of_the_model(editor):
    """The nearest node that the model passes through decides, before anything runs."""
    loader = editor.add("UNETLoader", 40, 60)
    sampling = editor.add("ModelSamplingSD3", 40, 260, {"model": (loader, 0)}, shift=8.0)
    schedule = editor.add("RESLogSNRSchedule", 400, 60, {"model": (loader, 0)})
    picture = Picture(editor)
    picture.wait_for("the connected model is known after a run; typical: SD 1.5")
    code = "(id) => { app.graph.getNodeById(+id).widgets.find((w) => w.name === 'unet_name').value = 'flux1-dev.safetensors'; }"
    picture.changes(lambda: editor.js(code, loader))
    picture.wait_for("connected model: flow, shift 3, from flux1-dev.safetensors")
    editor.wire(sampling, 0, schedule, "model")
    picture.wait_for("connected model: flow, shift 8, from ModelSamplingSD3")
    editor.errors[:] = [error for error in editor.errors if "flux1-dev" not in error]


def test_a_linked_input_shows_what_it_was_in_the_last_run(editor):
    picture = Drawn(editor, plot=True)
    number = editor.add("PrimitiveInt", 40, 400, value=13)
    editor.wire(number, 0, picture.id, "steps")
    picture.wait_for("steps is connected: unknown before a run")
    editor.run()
    picture.wait_for("13 steps")
    picture.wait_for("steps: value of the last run")
    other = editor.add("PrimitiveInt", 40, 600, value=9)
    editor.wire(other, 0, picture.id, "steps")
    picture.wait_for("unknown before a run")


def test_errors_are_said_in_the_node(editor):
    picture = Drawn(editor)
    editor.write(picture.id, "range", "logSNR")
    editor.write(picture.id, "range.start_logsnr", 9.0)
    picture.wait_for("below end_logsnr")
    editor.write(picture.id, "range.start_logsnr", -4.0)
    picture.wait_for("20 steps")
    refused = [error for error in editor.errors if "400" in error and "/comfyui_res/grid" in error]
    assert refused == editor.errors, "the browser notes the route's refusal, and nothing else"
    editor.errors.clear()


def test_copied_and_pasted(editor):
    picture = Drawn(editor)
    editor.write(picture.id, "steps", 11)
    picture.wait_for("11 steps")
    editor.js("(id) => { app.canvas.selectNode(app.graph.getNodeById(+id)); app.canvas.copyToClipboard(); }", picture.id)
    editor.js("() => app.canvas.pasteFromClipboard()")
    editor.until(lambda: editor.page.locator(".res-picture").count() == 2, "the pasted picture")
    for index in (0, 1):
        Picture(editor, index=index).wait_for("11 steps")


def test_undone(editor):
    picture = Drawn(editor)
    checkpoint(editor)
    editor.write(picture.id, "steps", 5)
    checkpoint(editor)
    picture.wait_for("5 steps")
    undo(editor)
    editor.until(lambda: editor.read(picture.id, "steps") == 20, "the old value")
    Picture(editor).wait_for("20 steps")


def test_inside_a_subgraph(editor):
    """The picture is made again there, follows widgets, and gets results under the longer id of nodes inside."""
    into_a_subgraph(editor, Drawn(editor, "flow", plot=True).id)
    picture = Picture(editor)
    code = "(n) => { const w = app.canvas.graph.nodes[0].widgets.find((w) => w.name === 'steps'); w.value = n; w.callback?.(n); }"
    picture.changes(lambda: editor.js(code, 6))
    picture.wait_for("6 steps")
    editor.run()
    editor.until(lambda: "typical" not in picture.text(), "the model's range")


def test_themes(editor):
    set_theme = "(theme) => app.extensionManager.setting.set('Comfy.ColorPalette', theme)"
    Drawn(editor).changes(lambda: editor.js(set_theme, "light"))
    editor.screenshot(f"theme-light-{editor.renderer}")
    editor.js(set_theme, "dark")
    editor.page.wait_for_timeout(800)
    editor.screenshot(f"theme-dark-{editor.renderer}")


def test_plot_shows_its_picture_in_the_node(editor):
    Drawn(editor, plot=True)
    outputs = editor.run()
    [image] = [image for output in outputs.values() for image in output.get("images", [])]
    if editor.renderer == "nodes2":
        shown = editor.page.locator(f'img[src*="{image["filename"]}"]').first
        editor.until(lambda: shown.evaluate("(img) => img.naturalWidth") == 840, "the plot")
    else:
        code = "() => app.graph.nodes.find((n) => n.type === 'RESSigmasPlot').imgs?.[0]?.naturalWidth"
        editor.until(lambda: editor.js(code) == 840, "the plot")


def test_running_is_no_edit(editor):
    """There is nothing to undo or to save, because the node is unchanged. (The host resizes the node of a preview.)"""
    picture = Drawn(editor, "flow", plot=True)
    editor.write(picture.id, "steps", 17 if editor.renderer == "classic" else 18)  # otherwise the run is cached and sends nothing

    def saved():
        [node] = [node for node in editor.saved()["nodes"] if str(node["id"]) == picture.id]
        return {key: value for key, value in node.items() if key != "order"}  # order of execution, which the host sets in a run

    before = saved()
    editor.run()
    editor.until(lambda: "typical" not in picture.text(), "the model's range")
    assert saved() == before


def test_nothing_stays_behind(editor):
    """No timer stays for nodes that are copied, reloaded or deleted, also inside a subgraph."""
    code = """() => {
        window.timers = 0;
        const set = window.setInterval;
        window.setInterval = (...values) => {
            timers += new Error().stack.includes("/extensions/ComfyUI-RES/");
            return set(...values);
        };
    }"""
    editor.js(code)
    node = Drawn(editor).id
    editor.js("(id) => { app.canvas.selectNode(app.graph.getNodeById(+id)); app.canvas.copyToClipboard(); }", node)
    editor.js("(id) => { app.graph.convertToSubgraph(new Set([app.graph.getNodeById(+id)])); }", node)
    editor.open(editor.saved())
    editor.start()
    assert editor.js("() => timers") == 0
