// What the pictures in nodes have in common: their place in the node, and a canvas over which pointer and arrow keys move, with a
// line of text below it.
import { app } from "../../scripts/app.js";
import { loadWords } from "./words.js";

const POLL = 250; // ms; undo, other extensions and themes change what is shown without a callback

const style = document.createElement("link");
style.rel = "stylesheet";
style.href = new URL("./picture.css", import.meta.url).href;
document.head.append(style);

export function element(tag, className, parent) {
    const made = document.createElement(tag);
    made.className = className;
    parent?.append(made);
    return made;
}

// after(...values) is called after object[name](...values).
export function chain(object, name, after) {
    const before = object[name];
    object[name] = function (...values) {
        const result = before?.apply(this, values);
        after.apply(this, values);
        return result;
    };
}

// A node's place, which stays the same when undo makes the node again.
export function place({ graph, id }) {
    return `${graph?.rootGraph?.id} ${graph?.id} ${id}`;
}

// Subclasses have draw() and refresh(), count() of the things under a pointer, and indexAt(x) of the nearest one.
export class NodePicture {
    constructor(node, className = "") {
        this.node = node;
        this.hover = null; // index of the thing under the pointer
        this.seen = "";
        this.root = element("div", `res-picture ${className}`);
    }

    addCanvas() {
        this.canvas = element("canvas", "", element("div", "res-picture-canvas", this.root));
        this.canvas.tabIndex = 0;
        this.canvas.setAttribute("role", "img");
        this.line = element("div", "res-picture-line", this.root);
        this.line.setAttribute("role", "status");
        const at = (index) => {
            this.hover = index;
            this.draw();
        };
        this.canvas.addEventListener("pointermove", (event) => {
            if (!this.count()) return;
            const { left, width } = this.canvas.getBoundingClientRect();
            at(this.indexAt(((event.clientX - left) * this.canvas.clientWidth) / width));
        });
        this.canvas.addEventListener("pointerleave", () => at(null));
        this.canvas.addEventListener("blur", () => at(null));
        this.canvas.addEventListener("keydown", (event) => {
            const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
            if (!move || !this.count()) return;
            event.preventDefault();
            event.stopPropagation();
            at(Math.max(0, Math.min(this.count() - 1, (this.hover ?? -1) + move)));
        });
    }

    // As the node's last widget, of this least size.
    addToNode(width, height) {
        const options = { serialize: false, hideInPanel: true, hideOnZoom: false, getMinHeight: () => height };
        const widget = this.node.addDOMWidget("picture", "res_picture", this.root, options);
        widget.serialize = false; // the option leaves it out of prompts, this out of saved workflows
        new ResizeObserver(() => this.draw()).observe(this.canvas);
        this.node.setSize([Math.max(this.node.size[0], width), Math.max(this.node.size[1], this.node.computeSize()[1])]);
    }

    // The text below the canvas.
    say(text) {
        this.line.textContent = this.line.title = text;
        this.canvas.setAttribute("aria-label", text);
    }

    // Undo makes the node again under its old id, and Nodes 2.0 still shows the element of the one that is gone.
    takePlace() {
        if (this.root.isConnected) return;
        document.querySelector(`[data-node-id="${CSS.escape(this.node.id)}"] .res-picture`)?.replaceWith(this.root);
    }

    // Whether the shown things or the theme have changed since the last call.
    isNew(...shown) {
        const seen = JSON.stringify([...shown, document.body.className, document.documentElement.className]);
        const changed = seen !== this.seen;
        this.seen = seen;
        return changed;
    }
}

// Gives every node of some classes a picture, and returns pictureOf(node). start(): other work to do first.
export function registerPictures(name, comfyClasses, Picture, start = () => {}) {
    const pictures = new WeakMap();
    app.registerExtension({
        name,
        async init() {
            await Promise.all([loadWords(), start()]);
            // One timer for the graph that is shown: the host makes nodes that it never adds to a graph, to copy them, and drops
            // those in subgraphs without a word.
            setInterval(() => app.canvas?.graph?.nodes?.forEach((node) => pictures.get(node)?.refresh()), POLL);
        },
        nodeCreated(node) {
            if (comfyClasses.includes(node.comfyClass)) pictures.set(node, new Picture(node));
        },
    });
    return (node) => pictures.get(node);
}
