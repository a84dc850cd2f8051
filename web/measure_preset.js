// The preset of RES Lab: Measure writes its values into the widgets; editing one of these widgets sets the preset to by hand.
import { app } from "../../scripts/app.js";
import { chain } from "./picture.js";

const NODE = "RESLabMeasure";
const BY_HAND = "by hand";
let presets = {}; // name -> { widget: value }, from the server

function addPreset(node) {
    const widget = (name) => node.widgets?.find((found) => found.name === name);
    const preset = widget("preset");
    if (!preset) return;
    const check = () => {
        const values = Object.entries(presets[preset.value] ?? {});
        if (values.some(([name, value]) => widget(name) && widget(name).value !== value)) preset.value = BY_HAND;
    };
    chain(preset, "callback", () => {
        for (const [name, value] of Object.entries(presets[preset.value] ?? {})) if (widget(name)) widget(name).value = value;
    });
    const names = new Set(Object.values(presets).flatMap(Object.keys));
    for (const name of names) if (widget(name)) chain(widget(name), "callback", check);
    chain(node, "onConfigure", check); // a workflow from before there were presets
}

app.registerExtension({
    name: "comfyui_res.measure_preset",
    beforeRegisterNodeDef(nodeType, nodeData) {
        if (nodeData.name === NODE) presets = nodeData.input?.optional?.preset?.[1]?.presets ?? {};
    },
    nodeCreated(node) {
        if (node.comfyClass === NODE) addPreset(node);
    },
});
