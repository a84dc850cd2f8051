"""The picture in RES Lab: Trace: it shows the steps as they end, and keeps showing them."""

import itertools

import pytest

HINT = "Run the graph"
_seeds = itertools.count()  # so that the host computes every run again


class Traced:
    """A graph with a trace, and the picture in it."""

    def __init__(self, editor, steps=12, sampler="exp_res_2s", kind="eps", **counter):
        self.editor = editor
        model = editor.add("RESToyModel", 40, 60, kind=kind)
        if counter:
            model = editor.add("TestCountCalls", 40, 760, {"model": (model, 0)}, **counter)
        latent = editor.add("RESToyLatent", 40, 300)
        self.select = editor.add("KSamplerSelect", 40, 460, sampler_name=sampler)
        wires = {"model": (model, 0)}
        self.sigmas = editor.add("BasicScheduler", 40, 600, wires, scheduler="karras", steps=steps)
        wires |= {"latent_image": (latent, 0), "sampler": (self.select, 0), "sigmas": (self.sigmas, 0)}
        self.id = editor.add("RESLabTrace", 480, 60, wires, seed=next(_seeds))
        self.find()

    def find(self):
        self.root = self.editor.page.locator(".res-trace").first
        self.editor.until(lambda: self.root.is_visible() and self.text(), "the picture")

    def text(self):
        return self.root.locator(".res-picture-line").inner_text()

    def pixels(self):
        return self.root.locator("canvas").evaluate("(canvas) => canvas.toDataURL()")

    def wait_for(self, text):
        self.editor.until(lambda: text in self.text(), f"{text!r} instead of {self.text()!r} in the picture")

    def rerun(self):
        """Run again with another seed."""
        self.editor.write(self.id, "seed", next(_seeds))
        return self.editor.run()


def listen(editor):
    """Keep the rows and the ends of nodes as the browser receives them."""
    code = """async () => {
        const { api } = await import("/scripts/api.js");
        const before = window.heard;
        window.heard = [];
        if (before) return; // listening since an earlier test
        api.addEventListener("comfyui_res.trace", ({ detail }) => heard.push(detail.row?.step ?? "saved"));
        api.addEventListener("executed", ({ detail }) => heard.push(detail.output?.res_trace ? "end" : "other"));
    }"""
    editor.js(code)


def test_every_step_is_drawn_as_it_ends(editor):
    traced = Traced(editor)
    traced.wait_for(HINT)
    empty = traced.pixels()
    listen(editor)
    outputs = editor.run()
    traced.wait_for("step 11: sigma 0.02917")
    assert editor.js("() => heard") == [*range(12), "saved", "end"], "every row came before the node had ended"
    assert traced.pixels() != empty
    saved = traced.root.locator(".res-trace-file").inner_text()
    assert outputs[traced.id]["text"][0] in saved and "res_lab/trace_0" in saved


def test_while_it_runs_and_when_it_is_interrupted(editor):
    """The model waits in its sixth call, the second of the third step."""
    run = f"trace {editor.renderer}"
    traced = Traced(editor, run=run, wait_in=6)
    editor.js("() => app.queuePrompt(0, 1)")
    editor.until((editor.server.base / "output" / f"{run} waits").exists, "the call", 60.0)
    traced.wait_for("step 1: sigma 9.945")
    assert not traced.root.locator(".res-trace-file").inner_text()
    editor.server.post("/interrupt", {})
    traced.wait_for("step 2: sigma")
    editor.until(lambda: "res_lab/trace_0" in traced.root.locator(".res-trace-file").inner_text(), "the file")
    assert "model calls: 2" in traced.text() and "local error –" in traced.text()


@pytest.mark.parametrize("kind, sampler", [("flow", "dpm_adaptive"), ("flow", "euler"), ("eps", "exp_res_sde")])
def test_other_samplers_and_models(editor, kind, sampler):
    traced = Traced(editor, sampler=sampler, kind=kind)
    editor.run()
    traced.wait_for("step ")


def test_the_shares_of_the_rules_that_exp_res_chose(editor):
    traced = Traced(editor, sampler="exp_res")
    editor.run()
    traced.wait_for("step 11")
    shares = traced.text().split("rules: ")[1].split()
    assert len(shares) == 5 and abs(sum(map(float, shares)) - 1.0) < 0.021
    editor.write(traced.select, "sampler_name", "exp_res_2m")
    chosen = traced.pixels()
    editor.run()
    editor.until(lambda: "rules" not in traced.text(), "a run without a choice")
    traced.wait_for("step 11")
    assert traced.pixels() != chosen


def test_a_step_under_the_pointer(editor):
    traced = Traced(editor)
    editor.run()
    traced.wait_for("step 11")
    canvas = traced.root.locator("canvas")
    box, before = canvas.bounding_box(), traced.pixels()
    editor.page.mouse.move(box["x"] + 46, box["y"] + 30)
    traced.wait_for("step 0: sigma 14.61")
    assert "|D change| –" in traced.text() and "model calls: 2" in traced.text() and traced.pixels() != before
    editor.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    editor.until(lambda: "step 5" in traced.text() or "step 6" in traced.text(), "a step in the middle")
    editor.page.mouse.move(10, 900)
    traced.wait_for("step 11")
    canvas.focus()
    for step in (0, 1, 2):
        editor.page.keyboard.press("ArrowRight")
        traced.wait_for(f"step {step}:")


def test_a_shorter_run_takes_the_place_of_the_last(editor):
    traced = Traced(editor)
    editor.run()
    traced.wait_for("step 11")
    editor.write(traced.sigmas, "steps", 4)
    editor.run()
    traced.wait_for("step 3: sigma 0.02917")
    traced.root.locator("canvas").focus()
    for _ in range(9):
        editor.page.keyboard.press("ArrowRight")
    traced.wait_for("step 3")


def test_it_is_no_part_of_prompt_or_workflow(editor):
    traced = Traced(editor)
    before, saved = editor.prompt(), editor.saved()
    editor.run()
    traced.wait_for("step 11")
    assert editor.prompt() == before and not any("picture" in name for name in before[traced.id]["inputs"])
    [node] = [node for node in editor.saved()["nodes"] if str(node["id"]) == traced.id]
    [unrun] = [node for node in saved["nodes"] if str(node["id"]) == traced.id]
    assert node["widgets_values"] == unrun["widgets_values"] and node["size"] == unrun["size"]


def test_it_stays_through_undo_and_reloading_the_graph(editor):
    traced = Traced(editor)
    tracker = "app.extensionManager.workflow.activeWorkflow.changeTracker"
    capture = f"() => ({tracker}.captureCanvasState ?? {tracker}.checkState).call({tracker})"
    editor.js(capture)
    editor.run()
    traced.wait_for("step 11")
    editor.write(traced.sigmas, "steps", 5)
    editor.js(capture)
    editor.js(f"() => {tracker}.undo()")
    editor.until(lambda: editor.read(traced.sigmas, "steps") == 12, "the old value")
    traced.find()
    traced.wait_for("step 11")
    traced.rerun()
    traced.wait_for("step 11")


def test_steps_of_another_workflow_are_not_taken(editor):
    """A node of another workflow may have the same id."""
    traced = Traced(editor)
    code = """async ([node, other]) => {
        const { api } = await import("/scripts/api.js");
        const workflow = other ?? app.graph.id;
        const row = { step: 0, sigma: 1, lambda: 0, calls: 1, ms_per_call: 1 };
        api.dispatchEvent(new CustomEvent("comfyui_res.trace", { detail: { node, workflow, row, steps: 4 } }));
    }"""
    editor.js(code, [traced.id, "another"])
    traced.wait_for(HINT)
    editor.js(code, [traced.id, None])
    traced.wait_for("step 0: sigma 1")


def test_inside_a_subgraph(editor):
    """The rows arrive under the longer id that nodes have inside."""
    traced = Traced(editor)
    code = """(id) => {
        const made = app.graph.convertToSubgraph(new Set([app.graph.getNodeById(+id)]));
        app.canvas.openSubgraph ? app.canvas.openSubgraph(made.subgraph, made.node) : app.canvas.setGraph(made.subgraph);
    }"""
    editor.js(code, traced.id)
    editor.page.wait_for_timeout(700)
    listen(editor)
    editor.run()
    traced.find()
    traced.wait_for("step 11")
    assert editor.js("() => heard")[:12] == list(range(12))
