// The live picture in the nodes that build SIGMAS, and the editor in RES LogSNR Curve.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { short } from "./canvas.js";
import { CurveEditor } from "./curve_editor.js";
import { toldModel } from "./model_kind.js";
import { gridRequester } from "./grid_request.js";
import { drawGrid, indexAt } from "./grid_plot.js";
import { chain, element, NodePicture, place, registerPictures } from "./picture.js";
import { word } from "./words.js";

const WIDTH = 320;
const HEIGHTS = { RESLogSNRSchedule: 235, RESLogSNRCurve: 445 };
// Choices of the picture, kept in the node's properties: they are saved with the workflow and no part of a prompt.
const AXIS = "picture axis";
const MODEL = "picture model";
const SAMPLER = "picture sampler";
const SD = "SD, SDXL"; // a choice of nodes/without_model.py
let samplers = ["exp_res"]; // samplers whose calls the server can count

class SchedulePicture extends NodePicture {
    constructor(node) {
        super(node);
        this.grid = null;
        this.request = gridRequester((answer) => this.receive(answer));
        if (node.comfyClass === "RESLogSNRCurve") this.addEditor();
        this.addBar();
        this.addCanvas();
        this.addToNode(WIDTH, HEIGHTS[node.comfyClass]);
        chain(node, "onExecuted", (output) => this.executed(output?.res_grid?.[0]));
        chain(node, "onConfigure", () => this.refresh());
        chain(node, "onWidgetChanged", () => this.refresh());
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
        const read = () => (this.origin("curve") ? null : String(widget()?.value ?? ""));
        this.editor = new CurveEditor(read, write);
        this.root.append(this.editor.bar, this.editor.element);
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

    count() {
        return this.grid?.sigmas.length ?? 0;
    }

    indexAt(x) {
        return indexAt(this.canvas, this.grid, x);
    }

    choose(property, value) {
        this.node.properties[property] = value;
        this.refresh();
        rememberForUndo();
    }

    axis() {
        return this.node.properties[AXIS] === "sigma" ? "sigma" : "logsnr";
    }

    // What the last run said about the model and the connected inputs, as long as the connections are the same.
    lastRun() {
        const last = JSON.parse(sessionStorage.getItem(this.key()) ?? "null");
        return last && last.origins.model === this.origin("model") ? last : null;
    }

    // Kept outside of the workflow, because a run is not an edit that could be undone or saved.
    key() {
        return `comfyui_res ${place(this.node)}`;
    }

    // Where an input's value comes from: "" for its own widget.
    origin(name) {
        const slot = this.node.inputs?.find((input) => (input.widget?.name ?? input.name) === name);
        const link = slot?.link != null ? this.node.graph?.getLink?.(slot.link) : null;
        return link ? `${link.origin_id}:${link.origin_slot}` : "";
    }

    executed(said) {
        if (!said) return;
        const { model, inputs } = JSON.parse(said);
        const origins = Object.fromEntries(["model", ...Object.keys(inputs)].map((name) => [name, this.origin(name)]));
        sessionStorage.setItem(this.key(), JSON.stringify({ model, inputs, origins }));
        this.refresh();
    }

    // The widgets' values; for connected inputs, the values of the last run, if known.
    inputs(last) {
        const values = {};
        this.wired = [];
        for (const { name, value } of this.node.widgets) {
            if (name === "picture") continue;
            const origin = this.origin(name);
            const known = origin && last?.origins[name] === origin;
            values[name] = known ? last.inputs[name] : value;
            if (origin) this.wired.push({ name, known });
        }
        return values;
    }

    // Requests the grid again if anything that it depends on has changed.
    refresh() {
        this.takePlace();
        const properties = this.node.properties;
        const last = this.lastRun();
        const chosen = ["eps", "flow"].includes(properties[MODEL]) ? properties[MODEL] : "auto";
        const inputs = this.inputs(last);
        const of = this.model(chosen, last, inputs);
        const sampler = samplers.includes(properties[SAMPLER]) ? properties[SAMPLER] : samplers[0];
        const body = { node: this.node.comfyClass, inputs: { ...inputs, ...of.inputs }, model: of.model ?? null, sampler };
        if (!this.isNew(body, of.says, this.wired, this.axis())) return;
        this.body = body;
        this.says = of.says;
        this.showChoices(chosen, of.auto, sampler);
        this.request(body);
    }

    // The model to draw for: the data for the server, the text about it, and the words of the choice "auto".
    model(chosen, last, inputs) {
        const wired = this.origin("model") !== "";
        const told = wired ? toldModel(this.node) : null;
        const typical = (kind, shift = 3) => {
            for (const name of Object.keys(inputs)) if (name.startsWith("without_model")) delete inputs[name];
            return kind === "eps" ? { without_model: SD } : { without_model: "flow", "without_model.shift": shift };
        };
        const auto = word(!wired ? "model_none" : last ? "model_last_run" : told ? "model_told" : "model_unknown");
        if (chosen !== "auto") return { auto, inputs: typical(chosen), says: word(`model_${chosen}`) };
        if (!wired) {
            const kind = inputs.without_model;
            return { auto, says: kind === "none" ? word("no_model") : word("no_model_but", { kind }) };
        }
        if (last) {
            const range = { low: short(last.model.sigma_min), high: short(last.model.sigma_max) };
            return { auto, model: last.model, says: word("range", range) };
        }
        if (!told) return { auto, inputs: typical("eps"), says: `${word("not_run")}; ${word("model_eps")}` };
        const says = word(told.kind === "flow" ? "told_flow" : "told_eps", { by: told.by, shift: short(told.shift ?? 1) });
        return { auto, inputs: typical(told.kind, told.shift), says };
    }

    showChoices(chosen, auto, sampler) {
        this.axisButton.textContent = this.axis() === "sigma" ? "sigma" : "logSNR";
        const names = { auto, eps: word("model_eps"), flow: word("model_flow") };
        this.modelSelect.replaceChildren(...Object.entries(names).map(([key, text]) => new Option(text, key)));
        this.modelSelect.value = chosen;
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
        this.say(this.error ?? (this.grid ? this.summary() : ""));
    }

    summary() {
        const { sigmas, logsnr, h, calls } = this.grid;
        if (this.hover !== null && this.hover < sigmas.length) {
            const of = { index: this.hover, sigma: short(sigmas[this.hover]), logsnr: signed(logsnr, this.hover) };
            return word("hover", of) + (this.hover < h.length ? word("hover_h", { h: short(h[this.hover]) }) : "");
        }
        const values = { steps: Math.max(0, sigmas.length - 1), calls, sampler: this.body.sampler };
        const wired = this.wired.map(({ name, known }) => word(known ? "wired_known" : "wired_unknown", { name }));
        return [word("summary", values), this.says, ...wired].join("; ");
    }
}

function signed(logsnr, index) {
    if (logsnr[index] !== null) return short(logsnr[index]);
    return index === 0 ? "-∞" : "∞";
}

// Report changes made outside the host's widgets, because the host checks the graph only after some events.
function rememberForUndo() {
    const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
    (tracker?.captureCanvasState ?? tracker?.checkState)?.call(tracker);
}

async function fetchSamplers() {
    try {
        samplers = await (await api.fetchApi("/comfyui_res/samplers")).json();
    } catch {
        // the one known before the server answers
    }
}

registerPictures("comfyui_res.schedule_picture", Object.keys(HEIGHTS), SchedulePicture, fetchSamplers);
