// Draws a grid on a canvas: sigma or logSNR over the steps, and below it the steps in lambda, h.
import { colors, drawFrame, drawPointer, drawStepAxis, prepared, short } from "./canvas.js";

const MARGIN = { left: 44, right: 10, top: 8, bottom: 16 };
const BARS = 0.26; // share of the height that h takes
const GAP = 12;

function areas(width, height) {
    const inner = height - MARGIN.top - MARGIN.bottom;
    const split = MARGIN.top + (inner - GAP) * (1 - BARS);
    return {
        left: MARGIN.left,
        right: width - MARGIN.right,
        curve: { top: MARGIN.top, bottom: split },
        bars: { top: split + GAP, bottom: height - MARGIN.bottom },
    };
}

// Index of the sigma nearest to a place on the canvas.
export function indexAt(canvas, grid, x) {
    const { left, right } = areas(canvas.clientWidth, canvas.clientHeight);
    const last = grid.sigmas.length - 1;
    return Math.max(0, Math.min(last, Math.round(((x - left) / (right - left)) * last)));
}

// grid: the server's response. axis: "logsnr" or "sigma". hover: an index, or null.
export function drawGrid(canvas, grid, axis, hover) {
    const surface = prepared(canvas);
    if (!surface || grid.sigmas.length < 2) return;
    const area = areas(surface.width, surface.height);
    const steps = grid.sigmas.length - 1;
    const x = (index) => area.left + ((area.right - area.left) * index) / steps;
    drawCurve(surface.context, area, x, axis === "sigma" ? grid.sigmas : grid.logsnr, axis === "sigma" ? "sigma" : "logSNR");
    drawBars(surface.context, area, x, grid.h);
    drawStepAxis(surface.context, { ...area, bottom: area.bars.bottom }, x, steps);
    if (hover !== null && hover <= steps) drawPointer(surface.context, x(hover), area.curve.top, area.bars.bottom);
}

function drawCurve(context, { left, right, curve }, x, values, name) {
    const color = colors();
    const finite = values.filter((value) => value !== null);
    const { low, high } = extremes(finite);
    const span = high - low || 1;
    const y = (value) => curve.bottom - ((curve.bottom - curve.top) * (value - low)) / span;
    frame(context, left, right, curve, short(high), short(low), name);
    // logSNR is -infinity at the start of a flow grid and infinity at sigma 0: marks at the edges
    const first = values.findIndex((value) => value !== null);
    const place = (value, index) => (value !== null ? y(value) : index < first ? curve.bottom : curve.top);
    context.strokeStyle = color.line;
    context.beginPath();
    values.forEach((value, index) => value !== null && context.lineTo(x(index), y(value)));
    context.stroke();
    if (values.length * 5 > right - left) return;
    values.forEach((value, index) => {
        context.fillStyle = value === null ? color.limit : color.line;
        context.beginPath();
        context.arc(x(index), place(value, index), value === null ? 3 : 2.2, 0, 7);
        context.fill();
    });
}

function drawBars(context, { left, right, bars }, x, h) {
    const color = colors();
    const most = extremes(h.filter((value) => value !== null).map(Math.abs)).high || 1;
    frame(context, left, right, bars, short(most), "0", "h");
    const width = Math.max(0.5, x(1) - x(0) - (x(1) - x(0) > 4 ? 1 : 0));
    h.forEach((value, index) => {
        // a step from or to infinity
        context.fillStyle = value === null ? color.limit : color.bars;
        const size = (bars.bottom - bars.top) * (value === null ? 1 : Math.abs(value) / most);
        context.globalAlpha = value === null ? 0.35 : 1;
        context.fillRect(x(index), bars.bottom - size, width, size);
    });
    context.globalAlpha = 1;
}

// Spreading 10,000 values over the arguments of Math.min would be slow.
function extremes(values) {
    const { low, high } = values.reduce(
        (known, value) => ({ low: Math.min(known.low, value), high: Math.max(known.high, value) }),
        { low: Infinity, high: -Infinity },
    );
    return low <= high ? { low, high } : { low: 0, high: 0 };
}

function frame(context, left, right, { top, bottom }, high, low, name) {
    const color = colors();
    drawFrame(context, { left, right, top, bottom });
    context.fillStyle = color.text;
    context.textAlign = "right";
    context.textBaseline = "top";
    context.fillText(high, left - 4, top - 1);
    const between = bottom - top > 34; // there is room for the name between the numbers
    context.textBaseline = "bottom";
    context.fillText(between ? low : `${name}   ${low}`, left - 4, bottom + 2);
    context.textBaseline = "middle";
    if (between) context.fillText(name, left - 4, (top + bottom) / 2);
    context.lineWidth = 1.5;
}
