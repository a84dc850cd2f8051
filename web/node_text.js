// Texts in nodes after a run, "res_text" of their outputs: the first line in bold, the others below it.
import { app } from "../../scripts/app.js";
import { chain, element } from "./picture.js";

const ROOM = { RESLabMeasure: 90 }; // height before the first run; other nodes grow when their first text comes
const MOST = 320; // a longer text is scrolled
const MARGIN = 2; // around the element in the classic renderer, whose own is larger

// Adds the widget, and returns show(lines).
function addText(node, least) {
    const root = element("div", "res-text");
    const box = element("div", "", root);
    root.setAttribute("role", "status");
    const height = () => Math.max(least, Math.min(MOST, box.offsetHeight + 2 * MARGIN)); // the rest of the room is the picture's
    const size = { margin: MARGIN, getMinHeight: height, getMaxHeight: height };
    const options = { serialize: false, hideInPanel: true, hideOnZoom: false, ...size };
    const widget = node.addDOMWidget("text", "res_text", root, options);
    widget.serialize = false; // the option leaves it out of prompts, this out of saved workflows
    const grow = () => {
        node.setSize([node.size[0], Math.max(node.size[1], node.computeSize()[1])]);
        node.graph?.setDirtyCanvas(true, true);
    };
    grow();
    // Nodes 2.0 itself gives a node the height of its content
    new ResizeObserver(() => !LiteGraph.vueNodesMode && grow()).observe(box);
    return ([first, ...others]) => {
        box.replaceChildren();
        element("b", "", box).textContent = first;
        for (const line of others) element("div", "", box).textContent = line;
    };
}

app.registerExtension({
    name: "comfyui_res.node_text",
    nodeCreated(node) {
        const least = ROOM[node.comfyClass];
        let show = least && addText(node, least);
        if (!node.comfyClass?.startsWith("RES")) return;
        chain(node, "onExecuted", (output) => {
            if (!output?.res_text) return;
            show ||= addText(node, 0);
            show(output.res_text);
        });
    },
});
