"""The picture in RES Lab: Trace: it shows the steps as they end, and keeps showing them."""

import itertools

import pytest
from editor import WHOLE, Picture, checkpoint, into_a_subgraph, undo

HINT = "Run the graph"
_seeds = itertools.count()  # so that the host computes every run again


class Traced(Picture):
    """A graph with a trace, and the picture in it."""

    def __init__(self, editor, steps=12, sampler="exp_res_2s", kind="eps", **counter):
        model = editor.add("RESToyModel", 40, 60, kind=kind)
        if counter:
            model = editor.add("TestCountCalls", 40, 760, {"model": (model, 0)}, **counter)
        latent = editor.add("RESToyLatent", 40, 300)
        self.select = editor.add("KSamplerSelect", 40, 460, sampler_name=sampler)
        wires = {"model": (model, 0)}
        self.sigmas = editor.add("BasicScheduler", 40, 600, wires, scheduler="karras", steps=steps)
        wires |= {"latent_image": (latent, 0), "sampler": (self.select, 0), "sigmas": (self.sigmas, 0)}
        self.id = editor.add("RESLabTrace", 480, 60, wires, seed=next(_seeds))
        super().__init__(editor, ".res-trace")

    def run(self):
        """Run the graph to the last of its steps, of which there are 12 at first."""
        outputs = self.editor.run()
        self.wait_for("step 11: sigma 0.02917")
        return outputs

    def file(self):
        return self.root.locator(".res-trace-file").inner_text()


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
    outputs = traced.run()
    assert editor.js("() => heard") == [*range(12), "saved", "end"], "every row came before the node had ended"
    assert traced.pixels() != empty
    assert outputs[traced.id]["text"][0] in traced.file() and "res_lab/trace_0" in traced.file()


def test_while_it_runs_and_when_it_is_interrupted(editor):
    """The model waits in its sixth call, the second of the third step."""
    run = f"trace {editor.renderer}"
    traced = Traced(editor, run=run, wait_in=6)
    editor.js("() => app.queuePrompt(0, 1)")
    editor.until((editor.server.base / "output" / f"{run} waits").exists, "the call", 60.0)
    traced.wait_for("step 1: sigma 9.945")
    assert not traced.file()
    editor.server.post("/interrupt", {})
    traced.wait_for("step 2: sigma")
    editor.until(lambda: "res_lab/trace_0" in traced.file(), "the file")
    assert "model calls: 2" in traced.text() and "local error –" in traced.text()


@pytest.mark.parametrize("kind, sampler", [("flow", "dpm_adaptive"), ("flow", "euler"), ("eps", "exp_res_sde")])
def test_other_samplers_and_models(editor, kind, sampler):
    traced = Traced(editor, sampler=sampler, kind=kind)
    editor.run()
    traced.wait_for("step ")


def test_the_shares_of_the_rules_that_exp_res_chose(editor):
    traced = Traced(editor, sampler="exp_res")
    traced.run()
    shares = traced.text().split("rules: ")[1].split()
    assert len(shares) == 5 and abs(sum(map(float, shares)) - 1.0) < 0.021
    traced.canvas.press("ArrowRight")
    traced.wait_for("step 0:")
    assert traced.root.locator(".res-picture-line").evaluate(WHOLE)
    traced.canvas.blur()
    editor.write(traced.select, "sampler_name", "exp_res_2m")
    chosen = traced.pixels()
    editor.run()
    editor.until(lambda: "rules" not in traced.text(), "a run without a choice")
    traced.wait_for("step 11")
    assert traced.pixels() != chosen


def test_a_step_under_the_pointer(editor):
    traced = Traced(editor)
    traced.run()
    box, before = traced.canvas.bounding_box(), traced.pixels()
    editor.page.mouse.move(box["x"] + 46, box["y"] + 30)
    traced.wait_for("step 0: sigma 14.61")
    assert "|D change| –" in traced.text() and "model calls: 2" in traced.text() and traced.pixels() != before
    editor.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    editor.until(lambda: "step 5" in traced.text() or "step 6" in traced.text(), "a step in the middle")
    editor.page.mouse.move(10, 900)
    traced.wait_for("step 11")
    traced.canvas.focus()
    for step in (0, 1, 2):
        editor.page.keyboard.press("ArrowRight")
        traced.wait_for(f"step {step}:")


def test_a_shorter_run_takes_the_place_of_the_last(editor):
    traced = Traced(editor)
    traced.run()
    editor.write(traced.sigmas, "steps", 4)
    editor.run()
    traced.wait_for("step 3: sigma 0.02917")
    traced.canvas.focus()
    for _ in range(9):
        editor.page.keyboard.press("ArrowRight")
    traced.wait_for("step 3")


def test_it_is_no_part_of_prompt_or_workflow(editor):
    traced = Traced(editor)
    before, saved = editor.prompt(), editor.saved()
    traced.run()
    assert editor.prompt() == before and not any("picture" in name for name in before[traced.id]["inputs"])
    [node] = [node for node in editor.saved()["nodes"] if str(node["id"]) == traced.id]
    [unrun] = [node for node in saved["nodes"] if str(node["id"]) == traced.id]
    assert node["widgets_values"] == unrun["widgets_values"] and node["size"] == unrun["size"]


def test_it_stays_through_undo_and_reloading_the_graph(editor):
    traced = Traced(editor)
    checkpoint(editor)
    traced.run()
    editor.write(traced.sigmas, "steps", 5)
    checkpoint(editor)
    undo(editor)
    editor.until(lambda: editor.read(traced.sigmas, "steps") == 12, "the old value")
    traced.wait_for("step 11")
    editor.write(traced.id, "seed", next(_seeds))
    traced.run()


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
    into_a_subgraph(editor, traced.id)
    listen(editor)
    traced.run()
    assert editor.js("() => heard")[:12] == list(range(12))
