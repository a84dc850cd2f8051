// Edits the points of a curve, which are the JSON in a widget. The curve between them is the server's.
import { colors, prepared, short } from "./canvas.js";
import { element } from "./picture.js";
import { word } from "./words.js";

const MIN_GAP = 0.001; // samplers/curve.py refuses less, and more points or text
const MAX_POINTS = 64;
const MAX_TEXT = 10000;
const KEY_STEP = 0.01;
const MOST_MOVE = 4; // CSS pixels between press and release of a click
const DOUBLE_CLICK = 600; // ms
// Curves to start from. The second is the EDM (Karras) grid of rho 7 over the sigmas of Stable Diffusion.
const PRESETS = {
    uniform: "[[0, 0], [1, 1]]",
    karras: "[[0, 0], [0.25, 0.18], [0.5, 0.39], [0.75, 0.66], [1, 1]]",
    detail: "[[0, 0], [0.4, 0.6], [1, 1]]",
    composition: "[[0, 0], [0.6, 0.4], [1, 1]]",
};

// Points of the widget's text, or null if they cannot be dragged; Python says why.
function parsed(text) {
    if (text?.length > MAX_TEXT) return null;
    try {
        const points = JSON.parse(text);
        const isPoint = (p) => Array.isArray(p) && p.length === 2 && p.every((v) => typeof v === "number" && v >= 0 && v <= 1);
        return Array.isArray(points) && points.length >= 2 && points.length <= MAX_POINTS && points.every(isPoint) ? points : null;
    } catch {
        return null;
    }
}

const written = (points) => `[${points.map(([u, share]) => `[${+u.toFixed(4)}, ${+share.toFixed(4)}]`).join(", ")}]`;
const between = (value, low, high) => Math.max(low, Math.min(high, value));

export class CurveEditor {
    // read() gives the widget's text, or null if another node gives the curve; write(text, finished) sets it, and finished is true
    // at the end of a drag or a key press
    constructor(read, write) {
        this.read = read;
        this.write = write;
        this.samples = [];
        this.handles = [];
        this.added = null; // the index of the point that a click has added, and when
        this.element = element("div", "res-curve");
        this.canvas = element("canvas", "", this.element);
        this.bar = element("div", "res-curve-bar");
        element("span", "", this.bar).textContent = word("curve_help");
        this.addPresets();
        this.listenToClicks();
        new ResizeObserver(() => this.draw()).observe(this.element);
    }

    addPresets() {
        const select = element("select", "", this.bar);
        select.add(new Option(word("presets"), ""));
        for (const name of Object.keys(PRESETS)) select.add(new Option(word(`preset_${name}`), name));
        select.title = word("presets_help");
        select.addEventListener("pointerdown", (event) => event.stopPropagation()); // no drag of the node
        select.addEventListener("change", () => {
            if (this.read() !== null) this.write(PRESETS[select.value], true);
            select.value = "";
            this.draw();
        });
    }

    // A click away from all points adds one.
    listenToClicks() {
        let pressed = null;
        this.canvas.addEventListener("pointerdown", (event) => {
            event.stopPropagation();
            pressed = event.button === 0 ? event : null;
        });
        this.canvas.addEventListener("pointerup", (event) => {
            const moved = pressed && Math.hypot(event.clientX - pressed.clientX, event.clientY - pressed.clientY);
            if (pressed && moved < MOST_MOVE) this.added = { index: this.add(...this.shares(event)), at: event.timeStamp };
            pressed = null;
        });
    }

    // samples: the curve at equal distances of u, from the server
    show(samples) {
        this.samples = samples ?? [];
        this.draw();
    }

    draw() {
        this.points = parsed(this.read());
        const surface = prepared(this.canvas);
        if (surface) this.drawCurve(surface);
        this.placeHandles();
    }

    drawCurve({ context, width, height }) {
        const color = colors();
        context.strokeStyle = color.axis;
        context.lineWidth = 1;
        for (const part of [0, 0.25, 0.5, 0.75, 1]) {
            context.strokeRect(0.5, 0.5, part * (width - 1), height - 1);
            context.strokeRect(0.5, 0.5, width - 1, part * (height - 1));
        }
        context.strokeStyle = color.line;
        context.lineWidth = 2;
        context.beginPath();
        const last = this.samples.length - 1;
        this.samples.forEach((share, index) => context.lineTo((index / last) * width, (1 - share) * height));
        context.stroke();
        // in the corners that a rising curve leaves empty
        context.fillStyle = color.text;
        context.textAlign = "left";
        context.textBaseline = "top";
        context.fillText(word("curve_y"), 6, 6);
        context.textAlign = "right";
        context.textBaseline = "bottom";
        context.fillText(word("curve_x"), width - 6, height - 5);
    }

    placeHandles() {
        const points = this.points ?? [];
        while (this.handles.length > points.length) this.handles.pop().remove();
        while (this.handles.length < points.length) this.handles.push(this.newHandle(this.handles.length));
        points.forEach(([u, share], index) => {
            const handle = this.handles[index];
            handle.style.left = `${u * 100}%`;
            handle.style.top = `${(1 - share) * 100}%`;
            const values = { number: index + 1, count: points.length, u: short(u), share: short(share) };
            handle.setAttribute("aria-label", word("point", values));
            handle.title = word("point", values);
        });
    }

    newHandle(index) {
        const handle = element("button", "res-handle", this.element);
        handle.type = "button";
        handle.addEventListener("pointerdown", (event) => {
            event.stopPropagation();
            if (event.button === 0) handle.setPointerCapture(event.pointerId);
        });
        handle.addEventListener("pointermove", (event) => {
            if (!handle.hasPointerCapture(event.pointerId)) return;
            event.stopPropagation();
            this.move(index, ...this.shares(event), false);
        });
        handle.addEventListener("lostpointercapture", () => this.write(this.read(), true));
        handle.addEventListener("dblclick", (event) => {
            event.stopPropagation();
            // the second click of a double click falls on the point that the first has added
            if (this.added?.index !== index || event.timeStamp - this.added.at > DOUBLE_CLICK) this.remove(index);
        });
        handle.addEventListener("keydown", (event) => this.key(index, event));
        return handle;
    }

    key(index, event) {
        const step = event.shiftKey ? 5 * KEY_STEP : KEY_STEP;
        const [u, share] = this.points[index];
        const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
        if (event.key in moves) this.move(index, u + moves[event.key][0], share + moves[event.key][1], true);
        else if (event.key === "Delete" || event.key === "Backspace") this.remove(index);
        else if (event.key === "Enter" || event.key === "+") this.addAfter(index);
        else return;
        event.preventDefault();
        event.stopPropagation(); // otherwise the editor of workflows would delete the node
    }

    // The shares of the steps and of the range at the place of an event.
    shares(event) {
        const { left, top, width, height } = this.canvas.getBoundingClientRect();
        return [between((event.clientX - left) / width, 0, 1), between(1 - (event.clientY - top) / height, 0, 1)];
    }

    // The ends do not move, and a point stays between its neighbours.
    move(index, u, share, finished) {
        const points = this.points;
        if (!points || index === 0 || index === points.length - 1) return;
        const [before, after] = [points[index - 1], points[index + 1]];
        points[index] = [
            between(u, before[0] + MIN_GAP, after[0] - MIN_GAP),
            between(share, before[1] + MIN_GAP, after[1] - MIN_GAP),
        ];
        this.write(written(points), finished);
        this.draw();
    }

    // The index of the new point, or null if there is no room for it.
    add(u, share) {
        const points = this.points;
        if (!points || points.length >= MAX_POINTS) return null;
        const index = points.findIndex((point) => point[0] > u);
        if (index < 1) return null;
        const [before, after] = [points[index - 1], points[index]];
        const fits = (axis) => after[axis] - before[axis] > 2 * MIN_GAP;
        if (!fits(0) || !fits(1)) return null;
        points.splice(index, 0, [u, share]);
        this.points = points;
        this.move(index, u, share, true);
        this.handles[index]?.focus();
        return index;
    }

    addAfter(index) {
        const [here, after] = [this.points[index], this.points[index + 1]];
        if (after) this.add((here[0] + after[0]) / 2, (here[1] + after[1]) / 2);
    }

    remove(index) {
        if (!this.points || index === 0 || index === this.points.length - 1) return;
        this.points.splice(index, 1);
        this.write(written(this.points), true);
        this.draw();
        this.handles[Math.min(index, this.handles.length - 2)]?.focus();
    }
}
