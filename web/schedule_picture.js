// The live picture in the nodes that build SIGMAS, and the editor in RES LogSNR Curve.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { CurveEditor } from "./curve_editor.js";
import { gridRequester } from "./grid_request.js";
import { drawGrid, indexAt, short } from "./plot.js";
import { loadWords, word } from "./words.js";

const HEIGHTS = { RESLogSNRSchedule: 235, RESLogSNRCurve: 415 };
const POLL = 250; // ms; undo, and other extensions, write values without calling anything
// Choices of the picture, kept in the node's properties: they are saved with the workflow and no part of a prompt.
const AXIS = "picture axis";
const MODEL = "picture model";
const SAMPLER = "picture sampler";
const LAST_RUN = "picture last run";
let samplers = ["exp_res"]; // those that the server can count the calls of

function chain(object, name, after) {
    const before = object[name];
    object[name] = function (...values) {
        const result = before?.apply(this, values);
        after.apply(this, values);
        return result;
    };
}

function element(tag, className, parent) {
    const made = document.createElement(tag);
    made.className = className;
    parent?.append(made);
    return made;
}

class Picture {
    constructor(node) {
        this.node = node;
        this.grid = null;
        this.hover = null;
        this.seen = "";
        this.request = gridRequester((answer) => this.receive(answer));
        this.root = element("div", "res-picture");
        if (node.comfyClass === "RESLogSNRCurve") this.addEditor();
        this.addBar();
        this.addCanvas();
        this.line = element("div", "res-picture-line", this.root);
        this.line.setAttribute("role", "status");
        const options = { serialize: false, hideInPanel: true, hideOnZoom: false, getMinHeight: () => HEIGHTS[node.comfyClass] };
        const widget = node.addDOMWidget("picture", "res_picture", this.root, options);
        widget.serialize = false; // the option leaves it out of prompts, this out of saved workflows
        this.widget = widget;
        this.observer = new ResizeObserver(() => this.draw());
        this.observer.observe(this.canvas);
        this.timer = setInterval(() => this.refresh(), POLL);
        chain(node, "onExecuted", (output) => this.executed(output?.res_grid?.[0]));
        chain(node, "onRemoved", () => this.remove());
    }

    remove() {
        clearInterval(this.timer);
        this.observer.disconnect();
        this.root.dataset.removed = "";
    }

    // Undo makes the node anew under its old id, and Nodes 2.0 goes on showing the element of the one that is gone.
    takePlace() {
        if (this.root.isConnected) return;
        document.querySelector(`[data-node-id="${this.node.id}"] .res-picture[data-removed]`)?.replaceWith(this.root);
    }

    addEditor() {
        const widget = () => this.node.widgets.find(({ name }) => name === "curve");
        const write = (text, finished) => {
            widget().value = text;
            widget().callback?.(text, app.canvas, this.node);
            this.refresh();
            this.node.graph?.setDirtyCanvas(true, false);
            if (finished) rememberForUndo();
        };
        this.editor = new CurveEditor(() => String(widget()?.value ?? ""), write);
        this.root.append(this.editor.element);
    }

    addBar() {
        const bar = element("div", "res-picture-bar", this.root);
        this.axisButton = element("button", "", bar);
        this.axisButton.type = "button";
        this.axisButton.addEventListener("click", () => this.choose(AXIS, this.axis() === "sigma" ? "logsnr" : "sigma"));
        this.modelSelect = this.addSelect(bar, MODEL);
        this.samplerSelect = this.addSelect(bar, SAMPLER);
        for (const name of samplers) this.samplerSelect.add(new Option(name, name));
        this.axisButton.title = word("axis_help");
        this.modelSelect.title = word("model_help");
        this.samplerSelect.title = word("sampler_help");
        // a press on a control is no drag of the node
        for (const control of bar.children) control.addEventListener("pointerdown", (event) => event.stopPropagation());
    }

    addSelect(bar, property) {
        const select = element("select", "", bar);
        select.addEventListener("change", () => this.choose(property, select.value));
        return select;
    }

    addCanvas() {
        const holder = element("div", "res-picture-canvas", this.root);
        this.canvas = element("canvas", "", holder);
        this.canvas.tabIndex = 0;
        this.canvas.setAttribute("role", "img");
        const at = (index) => {
            this.hover = index;
            this.draw();
        };
        this.canvas.addEventListener("pointermove", (event) => {
            if (!this.grid) return;
            const { left, width } = this.canvas.getBoundingClientRect();
            at(indexAt(this.canvas, this.grid, ((event.clientX - left) * this.canvas.clientWidth) / width));
        });
        this.canvas.addEventListener("pointerleave", () => at(null));
        this.canvas.addEventListener("blur", () => at(null));
        this.canvas.addEventListener("keydown", (event) => {
            const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
            if (!move || !this.grid) return;
            event.preventDefault();
            event.stopPropagation();
            at(Math.max(0, Math.min(this.grid.sigmas.length - 1, (this.hover ?? -1) + move)));
        });
    }

    choose(property, value) {
        this.node.properties[property] = value;
        this.refresh();
        rememberForUndo();
    }

    axis() {
        return this.node.properties[AXIS] === "sigma" ? "sigma" : "logsnr";
    }

    // What the last run said, if the model is still wired to the same place.
    lastRun() {
        try {
            const last = JSON.parse(this.node.properties[LAST_RUN] ?? "null");
            return last?.origin === this.origin() ? last : null;
        } catch {
            return null;
        }
    }

    origin() {
        const slot = this.node.inputs?.find(({ name }) => name === "model");
        const link = slot?.link != null ? this.node.graph?.getLink?.(slot.link) : null;
        return link ? `${link.origin_id}:${link.origin_slot}` : "";
    }

    executed(said) {
        if (!said) return;
        this.node.properties[LAST_RUN] = JSON.stringify({ ...said, origin: this.origin() });
        this.refresh();
    }

    // The widgets' values; of those wired to another node, what they were in the last run.
    inputs(last) {
        const values = {};
        for (const { name, value } of this.node.widgets) if (name !== "picture") values[name] = value;
        for (const { name, link, widget } of this.node.inputs ?? []) {
            const of = widget?.name ?? name;
            if (link != null && of in values && last?.inputs && of in last.inputs) values[of] = last.inputs[of];
        }
        return values;
    }

    // Asks for the grid anew where anything it depends on has changed.
    refresh() {
        this.takePlace();
        const properties = this.node.properties;
        const last = this.lastRun();
        const chosen = properties[MODEL] || "auto";
        const typical = chosen === "flow" || chosen === "eps" ? chosen : "eps";
        const model = chosen === "auto" && last ? last.model : typical;
        const sampler = samplers.includes(properties[SAMPLER]) ? properties[SAMPLER] : samplers[0];
        const body = { node: this.node.comfyClass, inputs: this.inputs(last), model, sampler };
        const seen = JSON.stringify([body, this.axis(), document.body.className, document.documentElement.className]);
        if (seen === this.seen) return;
        this.seen = seen;
        this.body = body;
        this.showChoices(chosen, last, sampler);
        this.request(body);
    }

    showChoices(chosen, last, sampler) {
        this.axisButton.textContent = this.axis() === "sigma" ? "sigma" : "logSNR";
        const auto = last ? word("model_last_run") : word("model_unknown");
        const names = { auto, eps: word("model_eps"), flow: word("model_flow") };
        this.modelSelect.replaceChildren(...Object.entries(names).map(([key, text]) => new Option(text, key)));
        this.modelSelect.value = chosen in names ? chosen : "auto";
        this.samplerSelect.value = sampler;
    }

    receive(answer) {
        this.error = answer.error ?? null;
        if (!this.error) this.grid = answer;
        this.editor?.show(answer.curve ?? []);
        this.draw();
    }

    draw() {
        this.line.classList.toggle("res-error", Boolean(this.error));
        this.canvas.style.opacity = this.error ? 0.3 : 1;
        if (this.grid) drawGrid(this.canvas, this.grid, this.axis(), this.hover);
        this.line.textContent = this.error ?? (this.grid ? this.summary() : "");
        this.canvas.setAttribute("aria-label", this.line.textContent);
    }

    summary() {
        const { sigmas, logsnr, h, calls, typical } = this.grid;
        if (this.hover !== null && this.hover < sigmas.length) {
            const of = { index: this.hover, sigma: short(sigmas[this.hover]), logsnr: signed(logsnr, this.hover) };
            return word("hover", of) + (this.hover < h.length ? word("hover_h", { h: short(h[this.hover]) }) : "");
        }
        const values = { steps: Math.max(0, sigmas.length - 1), calls, sampler: this.body.sampler };
        const { model } = this.body;
        const range = typical ? word(`model_${model}`) : word("range", { low: short(model.sigma_min), high: short(model.sigma_max) });
        return `${word("summary", values)}; ${range}`;
    }
}

function signed(logsnr, index) {
    if (logsnr[index] !== null) return short(logsnr[index]);
    return index === 0 ? "-∞" : "∞";
}

// Changes made outside the host's widgets; it looks at the graph by itself only after some events.
function rememberForUndo() {
    const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
    (tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker);
}

async function fetchSamplers() {
    try {
        return await (await api.fetchApi("/comfyui_res/samplers")).json();
    } catch {
        return samplers;
    }
}

app.registerExtension({
    name: "comfyui_res.schedule_picture",
    async init() {
        const link = document.createElement("link");
        link.rel = "stylesheet";
        link.href = new URL("./picture.css", import.meta.url).href;
        document.head.append(link);
        [samplers] = await Promise.all([fetchSamplers(), loadWords()]);
    },
    nodeCreated(node) {
        if (!(node.comfyClass in HEIGHTS)) return;
        const picture = new Picture(node);
        chain(node, "onConfigure", () => picture.refresh());
        chain(node, "onWidgetChanged", () => picture.refresh());
        node.setSize([Math.max(node.size[0], 320), Math.max(node.size[1], node.computeSize()[1])]);
    },
});
