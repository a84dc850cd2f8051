// RES Lab: Measure shows in the node which pair is best: a sentence in bold, and its limits below.
import { app } from "../../scripts/app.js";
import { chain, element, place } from "./picture.js";

const NODE = "RESLabMeasure";
const HEIGHT = 90;
const MARGINS = 20; // above and below a widget's element, in the classic renderer
const said = new Map(); // a node's place -> [sentence, ...remarks], as long as the page lives

function show(node, root) {
    const [sentence, ...remarks] = said.get(place(node)) ?? [];
    root.replaceChildren();
    if (!sentence) return;
    element("b", "", root).textContent = sentence;
    for (const remark of remarks) element("div", "", root).textContent = remark;
}

function addVerdict(node) {
    const root = element("div", "res-verdict");
    root.setAttribute("role", "status");
    const options = { serialize: false, hideInPanel: true, hideOnZoom: false, getMinHeight: () => HEIGHT };
    options.getMaxHeight = () => Math.max(HEIGHT, root.scrollHeight + MARGINS); // the rest of the room is the picture's
    const widget = node.addDOMWidget("verdict", "res_verdict", root, options);
    widget.serialize = false; // the option leaves it out of prompts, this out of saved workflows
    chain(node, "onExecuted", (output) => {
        if (!output?.res_verdict) return;
        said.set(place(node), output.res_verdict);
        show(node, root);
    });
    node.setSize([node.size[0], Math.max(node.size[1], node.computeSize()[1])]);
}

app.registerExtension({
    name: "comfyui_res.verdict",
    nodeCreated(node) {
        if (node.comfyClass === NODE) addVerdict(node);
    },
});
