/** Label probabilities of one face over the last minute: a chart that moves to the left. */

import { percent, reducedMotion } from "./dom.js";
import { colour, dashes, places, styleValue } from "./palette.js";

const WINDOW_S = 60;
/** A longer time without a reading is a gap in the line. */
const GAP_S = 2;
/** Labels with a line; more cannot be told apart. */
const MOST_LINES = 8;
/** Labels that never came so far have no line: they would lie on each other. */
const LEAST_PEAK = 0.05;
const FONT = "12px system-ui, 'Segoe UI', Roboto, Arial, sans-serif";
const MARGIN = { left: 44, top: 10, bottom: 24 };
const ROW = 17;

/**
 * Probabilities of a face at a moment.
 * @typedef {{s: number, probabilities: Record<string, number>}} Point
 */

/** What was read in the last minute, by face. */
export class History {
  constructor() {
    /** @type {Map<number, Point[]>} */
    this.faces = new Map();
  }

  /**
   * Add a reading; older ones than a minute are forgotten.
   * @param {number} id of the face
   * @param {number} s now, in seconds
   * @param {Record<string, number>} probabilities
   */
  add(id, s, probabilities) {
    const points = this.faces.get(id) ?? [];
    this.faces.set(id, points);
    if (!points.length || s - points[points.length - 1].s >= 0.1) points.push({ s, probabilities });
    while (points.length && points[0].s < s - WINDOW_S - GAP_S) points.shift();
  }

  /**
   * Return the ids of the faces that the last minute shows, in their order.
   * @param {number} s now
   */
  ids(s) {
    for (const [id, points] of this.faces) {
      if (!points.length || points[points.length - 1].s < s - WINDOW_S) this.faces.delete(id);
    }
    return [...this.faces.keys()].sort((one, other) => one - other);
  }

  /** Forget everything, as after a change of the labels. */
  clear() {
    this.faces.clear();
  }
}

/** The canvas of the chart. It draws ten times a second, with reduced motion once. */
export class Chart {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => Point[]} points of the face that is shown
   */
  constructor(canvas, points) {
    this.canvas = canvas;
    this.points = points;
    this.running = false;
    /** The right end of the chart while it stands still. */
    this.endS = 0;
    this.drawnMs = -Infinity;
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** Begin to move. */
  start() {
    if (this.running) return;
    this.running = true;
    const step = () => {
      if (!this.running) return;
      if (performance.now() - this.drawnMs >= (reducedMotion.matches ? 1000 : 100)) this.draw();
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  /** Stand still. */
  stop() {
    this.running = false;
    this.endS = performance.now() / 1000;
  }

  /** Draw the last minute. */
  draw() {
    this.drawnMs = performance.now();
    const { canvas } = this;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const pixels = { width: Math.round(width * density), height: Math.round(height * density) };
    if (canvas.width !== pixels.width || canvas.height !== pixels.height) Object.assign(canvas, pixels);
    const context = canvas.getContext("2d");
    if (!context) return;
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = FONT;
    const points = this.points();
    const labels = shownLabels(points);
    const names = Math.max(0, ...labels.map((label) => context.measureText(label).width));
    const area = { x0: MARGIN.left, y0: MARGIN.top, x1: width - names - 62, y1: height - MARGIN.bottom };
    drawAxes(context, area);
    const now = this.running ? performance.now() / 1000 : this.endS;
    const place = places(Object.keys(points[points.length - 1]?.probabilities ?? {}));
    const x = (/** @type {number} */ s) => area.x1 - ((now - s) / WINDOW_S) * (area.x1 - area.x0);
    const y = (/** @type {number} */ value) => area.y1 - value * (area.y1 - area.y0);
    for (const label of [...labels].reverse())
      drawLine(context, points, label, place.get(label) ?? 0, x, y, area.x0, label === labels[0] ? 3 : 1.75);
    drawNames(context, points, labels, place, y, area);
  }
}

/**
 * Return the labels that get a line, the most probable of the window first.
 * @param {Point[]} points
 */
function shownLabels(points) {
  const last = points[points.length - 1]?.probabilities ?? {};
  const peak = (/** @type {string} */ label) =>
    Math.max(...points.map(({ probabilities }) => probabilities[label] ?? 0));
  return Object.keys(last)
    .map((label) => ({ label, peak: peak(label), now: last[label] }))
    .filter((each) => each.peak >= LEAST_PEAK)
    .sort((one, other) => other.peak - one.peak)
    .slice(0, MOST_LINES)
    .sort((one, other) => other.now - one.now)
    .map(({ label }) => label);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {{x0: number, y0: number, x1: number, y1: number}} area
 */
function drawAxes(context, { x0, y0, x1, y1 }) {
  context.lineWidth = 1;
  context.setLineDash([]);
  context.strokeStyle = styleValue("--line");
  context.fillStyle = styleValue("--ink-soft");
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const value of [0, 0.5, 1]) {
    const y = Math.round(y1 - value * (y1 - y0)) + 0.5;
    context.beginPath();
    context.moveTo(x0, y);
    context.lineTo(x1, y);
    context.stroke();
    context.fillText(percent(value), x0 - 6, y);
  }
  context.textBaseline = "alphabetic";
  const wide = x1 - x0 > 300;
  const ticks = wide ? [60, 45, 30, 15, 0] : [60, 30, 0];
  for (const s of ticks) {
    context.textAlign = s === 60 ? "left" : s === 0 ? "right" : "center";
    context.fillText(s ? `${s} s${wide ? " ago" : ""}` : "now", x1 - (s / WINDOW_S) * (x1 - x0), y1 + 18);
  }
  context.textAlign = "left";
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Point[]} points
 * @param {string} label
 * @param {number} place in the palette
 * @param {(s: number) => number} x
 * @param {(value: number) => number} y
 * @param {number} least x that is drawn
 * @param {number} width
 */
function drawLine(context, points, label, place, x, y, least, width) {
  context.save();
  context.beginPath();
  context.rect(least, 0, 1e5, 1e5);
  context.clip();
  context.strokeStyle = colour(place);
  context.lineWidth = width;
  context.lineJoin = "round";
  context.setLineDash(dashes(place));
  context.beginPath();
  let before = -Infinity;
  for (const { s, probabilities } of points) {
    const value = probabilities[label];
    if (value === undefined) continue;
    if (s - before > GAP_S) context.moveTo(x(s), y(value));
    else context.lineTo(x(s), y(value));
    before = s;
  }
  context.stroke();
  context.restore();
}

/**
 * Write each label at the end of its line; those that would overlap move apart and keep their order.
 * @param {CanvasRenderingContext2D} context
 * @param {Point[]} points
 * @param {string[]} labels the most probable first
 * @param {Map<string, number>} place
 * @param {(value: number) => number} y
 * @param {{x1: number, y0: number, y1: number}} area
 */
function drawNames(context, points, labels, place, y, area) {
  const last = points[points.length - 1]?.probabilities ?? {};
  const rows = labels.map((label) => y(last[label] ?? 0));
  for (let row = 1; row < rows.length; row++) rows[row] = Math.max(rows[row], rows[row - 1] + ROW);
  let lowest = area.y1 + 4;
  for (let row = rows.length - 1; row >= 0; row--) {
    rows[row] = Math.min(rows[row], lowest);
    lowest = rows[row] - ROW;
  }
  context.textBaseline = "middle";
  labels.forEach((label, row) => {
    const value = last[label] ?? 0;
    context.strokeStyle = colour(place.get(label) ?? 0);
    context.lineWidth = 2;
    context.setLineDash([]);
    context.beginPath();
    context.moveTo(area.x1 + 2, y(value));
    context.lineTo(area.x1 + 12, rows[row]);
    context.stroke();
    context.fillStyle = styleValue("--ink");
    context.fillText(`${label} ${percent(value)}`, area.x1 + 16, rows[row]);
  });
}
