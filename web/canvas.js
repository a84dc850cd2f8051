// Drawing on canvases whose unit is a CSS pixel, in the colours of the editor's theme.

export function colors() {
    const style = getComputedStyle(document.documentElement);
    const of = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
    return {
        text: of("--descrip-text", "#999"),
        axis: of("--border-color", "#555"),
        strong: of("--input-text", "#ddd"),
        line: "#3b82f6",
        bars: "#8b9dc3",
        limit: "#d97706",
    };
}

// A context whose unit is a CSS pixel, and its size; null while the canvas is not laid out.
export function prepared(canvas) {
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width < 60 || height < 40) return null;
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "10px sans-serif";
    return { context, width, height };
}

// A number with four digits; null is infinity.
export function short(value) {
    if (value === null || value === undefined) return "∞";
    return String(Number(value.toPrecision(value !== 0 && Math.abs(value) < 0.01 ? 2 : 4)));
}

// Numbers of steps from 0 to last below an axis, as far as there is room. x: step -> place.
export function drawStepAxis(context, { left, right, bottom }, x, last) {
    context.fillStyle = colors().text;
    context.textBaseline = "top";
    const every = Math.max(1, Math.ceil(last / Math.max(1, Math.floor((right - left) / 40))));
    for (let step = 0; step <= last; step += every) {
        context.textAlign = step === 0 ? "left" : step === last ? "right" : "center";
        context.fillText(String(step), x(step), bottom + 4);
    }
}

// The frame of a plot.
export function drawFrame(context, { left, right, top, bottom }) {
    context.strokeStyle = colors().axis;
    context.lineWidth = 1;
    context.strokeRect(left, top, right - left, bottom - top);
}

// A vertical line at the thing under the pointer.
export function drawPointer(context, x, top, bottom) {
    context.fillStyle = colors().strong;
    context.fillRect(x - 0.5, top, 1, bottom - top);
}
