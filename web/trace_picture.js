// RES Lab: Trace shows the steps of its run in the node, each when it ends.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { short } from "./canvas.js";
import { chain, element, NodePicture, place, registerPictures } from "./picture.js";
import { drawTrace, rowAt, sharesOf } from "./trace_plot.js";
import { word } from "./words.js";

const NODE = "RESLabTrace";
const [WIDTH, HEIGHT] = [360, 344];
const traces = new Map(); // a node's place -> { rows, steps, file, warning }, as long as the page lives

// The node that runs under an id (inside subgraphs "10:2") in the workflow with an id; null if another workflow is shown.
function nodeOf(id, workflow) {
    let graph = app.rootGraph ?? app.graph?.rootGraph ?? app.graph;
    let node = null;
    if (workflow && graph?.id && workflow !== graph.id) return null;
    for (const part of String(id).split(":")) {
        node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part));
        graph = node?.subgraph;
    }
    return node?.comfyClass === NODE ? node : null;
}

class TracePicture extends NodePicture {
    constructor(node) {
        super(node, "res-trace");
        this.addCanvas();
        this.file = element("div", "res-trace-file", this.root);
        this.addToNode(WIDTH, HEIGHT);
        chain(node, "onExecuted", (output) => this.executed(output?.res_trace?.[0]));
    }

    executed(said) {
        if (!said) return;
        traces.set(place(this.node), JSON.parse(said));
        this.draw();
    }

    count() {
        return this.trace().rows.length;
    }

    indexAt(x) {
        return rowAt(this.canvas, this.trace(), x);
    }

    trace() {
        return traces.get(place(this.node)) ?? { rows: [], steps: 0 };
    }

    // Draws again after a change without a callback.
    refresh() {
        this.takePlace();
        const { rows, file, warning } = this.trace();
        if (this.isNew(place(this.node), rows.length, file, warning)) this.draw();
    }

    draw() {
        const trace = this.trace();
        const labels = {
            d_change: word("trace_d_change"),
            local_error: word("trace_local_error"),
            acceleration_sigma: word("trace_acceleration_sigma"),
            acceleration_lambda: word("trace_acceleration_lambda"),
            shares: word("trace_shares"),
        };
        drawTrace(this.canvas, trace, labels, this.hover);
        const row = trace.rows[this.hover ?? trace.rows.length - 1];
        this.say(row ? summary(row) : word("trace_hint"));
        this.file.textContent = trace.file ? word("trace_file", { file: trace.file }) : (trace.warning ?? "");
        this.file.title = this.file.textContent;
    }
}

function summary(row) {
    const known = Object.entries(row).map(([name, value]) => [name, value === null ? "–" : short(value)]);
    const lambda = row.lambda === null ? "-∞" : short(row.lambda); // lambda of pure noise
    const shares = sharesOf(row).map((share) => share.toFixed(2)).join(" ");
    return word("trace_step", { ...Object.fromEntries(known), lambda }) + (shares && word("trace_chose", { shares }));
}

// A step has ended, or the run has ended and is saved. The first step of a run, also of one that is sent again, replaces all.
function receive({ node: id, workflow, row, steps, file, warning }) {
    const node = nodeOf(id, workflow);
    if (!node) return;
    const known = traces.get(place(node)) ?? { rows: [], steps: 0 };
    const rows = row ? [...known.rows.filter(({ step }) => step < row.step), row] : known.rows;
    traces.set(place(node), { rows, steps: steps ?? known.steps, file, warning });
    pictureOf(node)?.draw();
}

const pictureOf = registerPictures("comfyui_res.trace", [NODE], TracePicture);
api.addEventListener("comfyui_res.trace", ({ detail }) => receive(detail));
