// Draws a trace on a canvas: |D change| and local error over the steps, below them the two accelerations, both logarithmic; and the
// shares of the rules where the sampler chose among them.
import { colors, drawFrame, drawPointer, drawStepAxis, prepared, short } from "./canvas.js";

const MARGIN = { left: 44, right: 10, top: 18, bottom: 16 };
const GAP = 22; // with room for the names of the curves above
const PANELS = [
    ["d_change", "local_error"],
    ["acceleration_sigma", "acceleration_lambda"],
];

// Shares of the rules in a row, rule 0 first; empty if nothing was chosen.
export function sharesOf(row) {
    return Object.keys(row ?? {}).filter((name) => name.startsWith("rule_")).map((name) => row[name]);
}

function areas(width, height, { rows }) {
    const count = PANELS.length + (sharesOf(rows[0]).length ? 1 : 0);
    const each = (height - MARGIN.top - MARGIN.bottom - GAP * (count - 1)) / count;
    const tops = Array.from({ length: count }, (_, index) => MARGIN.top + index * (each + GAP));
    return { left: MARGIN.left, right: width - MARGIN.right, panels: tops.map((top) => ({ top, bottom: top + each })) };
}

// The step at the right edge.
function lastStep({ rows, steps }) {
    return Math.max(1, steps - 1, rows.at(-1)?.step ?? 0);
}

// Index of the row nearest to a place on the canvas.
export function rowAt(canvas, trace, x) {
    const { left, right } = areas(canvas.clientWidth, canvas.clientHeight, trace);
    const step = ((x - left) / (right - left)) * lastStep(trace);
    const away = trace.rows.map((row) => Math.abs(row.step - step));
    return away.indexOf(Math.min(...away));
}

// trace: { rows, steps }. labels: names of the columns, and of the shares. hover: index of a row, or null.
export function drawTrace(canvas, trace, labels, hover) {
    const surface = prepared(canvas);
    if (!surface) return;
    const { left, right, panels } = areas(surface.width, surface.height, trace);
    const last = lastStep(trace);
    const x = (step) => left + ((right - left) * step) / last;
    PANELS.forEach((columns, index) => drawPanel(surface.context, { left, right, ...panels[index] }, x, trace.rows, columns, labels));
    if (panels[PANELS.length]) drawShares(surface.context, { left, right, ...panels[PANELS.length] }, x, trace.rows, labels.shares);
    const { bottom } = panels.at(-1);
    drawStepAxis(surface.context, { left, right, bottom }, x, last);
    if (hover !== null && hover < trace.rows.length) drawPointer(surface.context, x(trace.rows[hover].step), panels[0].top, bottom);
}

function drawPanel(context, area, x, rows, columns, labels) {
    const color = colors();
    const values = columns.flatMap((column) => rows.map((row) => row[column]).filter((value) => value > 0));
    const [low, high] = decades(values);
    const y = (value) => area.bottom - ((area.bottom - area.top) * (Math.log10(value) - low)) / (high - low);
    drawScale(context, area, y, low, high);
    columns.forEach((column, index) => {
        const stroke = [color.line, color.limit][index];
        drawCurve(context, rows.filter((row) => row[column] > 0).map((row) => [x(row.step), y(row[column])]), stroke);
        context.textAlign = ["left", "right"][index];
        context.textBaseline = "bottom";
        context.fillText(labels[column], [area.left, area.right][index], area.top - 3);
    });
}

// Bands that fill the panel, rule 0 at the bottom.
function drawShares(context, { left, right, top, bottom }, x, rows, label) {
    const color = colors();
    const sums = rows.map((row) => sharesOf(row).map((_, rule, shares) => shares.slice(0, rule + 1).reduce((a, b) => a + b, 0)));
    const y = (share) => bottom - (bottom - top) * share;
    const edge = (rule) => rows.map(({ step }, index) => [x(step), y(rule < 0 ? 0 : sums[index][rule] ?? 1)]);
    sums[0].forEach((_, rule, { length }) => {
        context.fillStyle = color.line;
        context.globalAlpha = 0.85 * (1 - rule / length);
        context.beginPath();
        [...edge(rule), ...edge(rule - 1).reverse()].forEach(([px, py], index) => (index ? context.lineTo(px, py) : context.moveTo(px, py)));
        context.fill();
    });
    context.globalAlpha = 1;
    drawFrame(context, { left, right, top, bottom });
    context.fillStyle = color.line;
    context.textAlign = "left";
    context.textBaseline = "bottom";
    context.fillText(label, left, top - 3);
}

// Exponents of ten around the values.
function decades(values) {
    if (!values.length) return [-3, 0];
    const [low, high] = [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)))];
    return [low, Math.max(high, low + 1)];
}

function drawScale(context, { left, right, top, bottom }, y, low, high) {
    const color = colors();
    const every = Math.ceil((high - low) / Math.max(1, Math.floor((bottom - top) / 16)));
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.strokeStyle = color.axis;
    context.fillStyle = color.text;
    context.lineWidth = 1;
    for (let exponent = low; exponent <= high; exponent += every) {
        const at = y(10 ** exponent);
        context.globalAlpha = 0.5;
        context.beginPath();
        context.moveTo(left, at);
        context.lineTo(right, at);
        context.stroke();
        context.globalAlpha = 1;
        context.fillText(Math.abs(exponent) < 3 ? short(10 ** exponent) : `1e${exponent}`, left - 4, at);
    }
    context.strokeRect(left, top, right - left, bottom - top);
}

function drawCurve(context, points, stroke) {
    context.strokeStyle = context.fillStyle = stroke;
    context.lineWidth = 1.5;
    context.beginPath();
    points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
    if (points.length > 60) return;
    for (const [x, y] of points) context.fillRect(x - 2, y - 2, 4, 4);
}
