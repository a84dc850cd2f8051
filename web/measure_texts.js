// The texts of RES Lab: Measure: names on its two text boxes, which the classic renderer shows without, and its table as Markdown
// in a "Preview as Text" that is connected to it.
import { app } from "../../scripts/app.js";
import { chain } from "./picture.js";

const NODE = "RESLabMeasure";
const NAME_HEIGHT = 16; // CSS pixels

function nameBox({ element, label, name }) {
    const text = (label ?? name).replace(/[&<]/g, (sign) => `&#${sign.charCodeAt(0)};`);
    const look = "font-family='sans-serif' font-size='10' fill='#888'";
    const svg = `<svg xmlns='http://www.w3.org/2000/svg' width='400' height='${NAME_HEIGHT}'><text x='4' y='11' ${look}>${text}</text></svg>`;
    element.style.background = `url("data:image/svg+xml,${encodeURIComponent(svg)}") no-repeat local var(--comfy-input-bg)`;
    element.style.paddingTop = `${NAME_HEIGHT}px`;
    element.style.setProperty("--comfy-widget-max-height", "72px"); // the rest of the room is the picture's
    element.ariaLabel = label ?? name;
}

// The host saves no mode of its preview, so a workflow cannot. Its classic renderer does not tell the preview the id of its node,
// without which the preview does not know its mode.
function previewAsMarkdown(node) {
    const table = node.outputs?.find((output) => output.name === "table");
    for (const id of table?.links ?? []) {
        const preview = node.graph?.getNodeById(node.graph.getLink(id)?.target_id);
        if (preview?.type !== "PreviewAny") continue;
        for (const widget of preview.widgets ?? []) {
            if (widget.name === "preview_mode") widget.value = true;
            if (widget.name === "preview_text") widget.props = { ...widget.props, nodeId: preview.id };
        }
    }
}

app.registerExtension({
    name: "comfyui_res.measure_texts",
    nodeCreated(node) {
        if (node.comfyClass !== NODE) return;
        for (const widget of node.widgets ?? []) if (widget.element?.tagName === "TEXTAREA") nameBox(widget);
        chain(node, "onConnectionsChange", () => previewAsMarkdown(node));
    },
    afterConfigureGraph() {
        for (const node of app.graph.nodes) if (node.comfyClass === NODE) previewAsMarkdown(node);
    },
});
