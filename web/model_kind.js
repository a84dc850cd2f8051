// What the graph says about the model that is connected to a node before anything has run.

// Names of classes and files of rectified flow models; HunyuanDiT is not one.
const FLOW =
    /flux|kontext|krea|sd_?3|stable.?diffusion.?3|(^|[^a-z])wan|qwen|z.?image|hunyuan(?!.?dit)|ltx|chroma|hidream|aura.?flow|lumina|mochi/i;
const WAN = /(^|[^a-z])wan/i;
const MOST_NODES = 100;

// A flow model's shift without a node that sets it: comfy/supported_models.py has 8 for Wan and about 3 for most others.
const ownShift = (name) => (WAN.test(name) ? 8 : 3);

// Where a model comes from: its node, or null.
function sourceOf(node, isModel) {
    const slot = node.inputs?.find(isModel);
    const link = slot?.link != null ? node.graph?.getLink?.(slot.link) : null;
    return link ? (node.graph.getNodeById(link.origin_id) ?? null) : null;
}

// As in comfy_extras/nodes_model_advanced.py: mu is linear in the number of tokens, and the shift is its exponential.
function fluxShift({ max_shift, base_shift, width, height }) {
    const slope = (max_shift - base_shift) / (4096 - 256);
    return Math.exp((width * height) / 256 * slope + base_shift - slope * 256);
}

// { kind: "flow" or "eps", shift, by: the node's name }, or null if a node says nothing.
function toldBy(node) {
    const widgets = Object.fromEntries((node.widgets ?? []).map(({ name, value }) => [name, value]));
    const by = node.title || node.comfyClass;
    switch (node.comfyClass) {
        case "ModelSamplingSD3":
        case "ModelSamplingAuraFlow":
            return { kind: "flow", shift: Number(widgets.shift), by };
        case "ModelSamplingFlux":
            return { kind: "flow", shift: fluxShift(widgets), by };
        case "ModelSamplingDiscrete":
        case "ModelSamplingContinuousEDM":
        case "ModelSamplingContinuousV":
        case "ModelSamplingStableCascade":
            return { kind: "eps", by };
        case "RESToyModel":
            return widgets.kind === "flow" ? { kind: "flow", shift: Number(widgets["kind.shift"] ?? 1), by } : { kind: "eps", by };
    }
    const names = Object.values(widgets).filter((value) => typeof value === "string" && /\.(safetensors|gguf|sft|pt|ckpt)$/i.test(value));
    const name = [...names, node.comfyClass ?? ""].find((text) => FLOW.test(text));
    return name ? { kind: "flow", shift: ownShift(name), by: name } : null;
}

// The result of the nearest node that says something and that the model passes through.
export function toldModel(node) {
    let at = sourceOf(node, ({ name }) => name === "model");
    for (let passed = 0; at && passed < MOST_NODES; passed++) {
        const told = toldBy(at);
        if (told) return told;
        at = sourceOf(at, ({ type }) => type === "MODEL" || type === "*");
    }
    return null;
}
