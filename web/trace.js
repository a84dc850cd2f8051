// RES Lab: Trace shows the steps of its run in the node, each as it ends.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { short } from "./plot.js";
import { drawTrace, rowAt } from "./trace_plot.js";
import { loadWords, word } from "./words.js";

const NODE = "RESLabTrace";
const HEIGHT = 330;
const POLL = 250; // ms; a node that comes back by undo, and another theme, are told to nobody
const traces = new Map(); // a node's place -> { rows, steps, file }, as long as the page lives
const pictures = new WeakMap();

// A node's place, which it keeps when undo makes it anew.
function place(node) {
    return `${node.graph?.rootGraph?.id} ${node.graph?.id} ${node.id}`;
}

// The node that runs under an id; inside subgraphs "10:2".
function nodeOf(id) {
    let graph = app.rootGraph ?? app.graph?.rootGraph ?? app.graph;
    let node = null;
    for (const part of String(id).split(":")) {
        node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part));
        graph = node?.subgraph;
    }
    return node?.comfyClass === NODE ? node : null;
}

function element(tag, className, parent) {
    const made = document.createElement(tag);
    made.className = className;
    parent?.append(made);
    return made;
}

class TracePicture {
    constructor(node) {
        this.node = node;
        this.hover = null;
        this.seen = "";
        this.root = element("div", "res-picture res-trace");
        this.canvas = element("canvas", "", element("div", "res-picture-canvas", this.root));
        this.line = element("div", "res-picture-line", this.root);
        this.line.setAttribute("role", "status");
        this.file = element("div", "res-trace-file", this.root);
        this.listen();
        const options = { serialize: false, hideInPanel: true, hideOnZoom: false, getMinHeight: () => HEIGHT };
        node.addDOMWidget("picture", "res_trace", this.root, options).serialize = false;
        new ResizeObserver(() => this.draw()).observe(this.canvas);
    }

    listen() {
        this.canvas.tabIndex = 0;
        this.canvas.setAttribute("role", "img");
        const at = (index) => {
            this.hover = index;
            this.draw();
        };
        this.canvas.addEventListener("pointermove", (event) => {
            const { left, width } = this.canvas.getBoundingClientRect();
            const trace = this.trace();
            if (trace.rows.length) at(rowAt(this.canvas, trace, ((event.clientX - left) * this.canvas.clientWidth) / width));
        });
        this.canvas.addEventListener("pointerleave", () => at(null));
        this.canvas.addEventListener("blur", () => at(null));
        this.canvas.addEventListener("keydown", (event) => {
            const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
            const { length } = this.trace().rows;
            if (!move || !length) return;
            event.preventDefault();
            event.stopPropagation();
            at(Math.max(0, Math.min(length - 1, (this.hover ?? -1) + move)));
        });
    }

    trace() {
        return traces.get(place(this.node)) ?? { rows: [], steps: 0 };
    }

    // Draws anew where it was not told of a change.
    refresh() {
        // undo makes the node anew under its old id, and Nodes 2.0 goes on showing the element of the one that is gone
        if (!this.root.isConnected) document.querySelector(`[data-node-id="${this.node.id}"] .res-trace`)?.replaceWith(this.root);
        const { rows, file } = this.trace();
        const seen = [place(this.node), rows.length, file, document.body.className, document.documentElement.className].join();
        if (seen === this.seen) return;
        this.seen = seen;
        this.draw();
    }

    draw() {
        const trace = this.trace();
        const labels = {
            d_change: word("trace_d_change"),
            local_error: word("trace_local_error"),
            acceleration_sigma: word("trace_acceleration_sigma"),
            acceleration_lambda: word("trace_acceleration_lambda"),
        };
        drawTrace(this.canvas, trace, labels, this.hover);
        const row = trace.rows[this.hover ?? trace.rows.length - 1];
        this.line.textContent = row ? summary(row) : word("trace_hint");
        this.file.textContent = trace.file ? word("trace_file", { file: trace.file }) : "";
        this.file.title = this.file.textContent;
        this.canvas.setAttribute("aria-label", this.line.textContent);
    }
}

function summary(row) {
    const known = Object.entries(row).map(([name, value]) => [name, value === null ? "–" : short(value)]);
    const lambda = row.lambda === null ? "-∞" : short(row.lambda); // that of pure noise
    return word("trace_step", { ...Object.fromEntries(known), lambda });
}

// A step has ended, or the run has and is saved. The first step of a run, or of one told anew, takes the place of all.
function receive({ node: id, row, steps, file }) {
    const node = nodeOf(id);
    if (!node) return;
    const known = traces.get(place(node)) ?? { rows: [], steps: 0 };
    const rows = row ? [...known.rows.filter(({ step }) => step < row.step), row] : known.rows;
    traces.set(place(node), { rows, steps: steps ?? known.steps, file });
    pictures.get(node)?.draw();
}

app.registerExtension({
    name: "comfyui_res.trace", // its style sheet is that of the schedules' pictures
    async init() {
        await loadWords();
        api.addEventListener("comfyui_res.trace", ({ detail }) => receive(detail));
        setInterval(() => app.canvas?.graph?.nodes?.forEach((node) => pictures.get(node)?.refresh()), POLL);
    },
    nodeCreated(node) {
        if (node.comfyClass !== NODE) return;
        const picture = new TracePicture(node);
        pictures.set(node, picture);
        const before = node.onExecuted;
        node.onExecuted = function (output) {
            before?.apply(this, arguments);
            if (!output?.res_trace) return;
            traces.set(place(node), JSON.parse(output.res_trace[0]));
            picture.draw();
        };
        node.setSize([Math.max(node.size[0], 360), Math.max(node.size[1], node.computeSize()[1])]);
    },
});
