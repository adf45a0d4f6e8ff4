/** The pulse in the colour of the skin: colours are read here, frame by frame, and only they go to the server. */

import * as api from "./api.js";
import { byId, setText } from "./dom.js";
import { ApiError, ended } from "./errors.js";

/** The server looks at so many seconds, as `emo-edge pulse` does. */
const WINDOW_S = 12;
const LEAST_S = 8;
const STEP_S = 1;
/** Middle of a face's box that is skin, and the pixels that count: those of `emo_edge.skin_trace`. */
const INNER = [0.6, 0.8];
const [DARK, SATURATED] = [15, 250];
/** More pixels than these do not make the mean more exact. */
const LONGEST_SIDE = 160;

/** Reads the skin of one face, and shows its rate. */
export class PulseMeter {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.reset("");
  }

  /**
   * Forget what was read.
   * @param {string} face whose pulse comes now
   */
  reset(face) {
    this.face = face;
    /** @type {number[]} */
    this.times = [];
    /** @type {(number[] | null)[]} */
    this.colours = [];
    this.askedS = -Infinity;
    /** Answers to an older face do not count. */
    this.round = {};
    show("", "");
  }

  /**
   * Read the skin in a frame.
   * @param {HTMLVideoElement} video
   * @param {number[] | null} box of the face in the video's pixels; null where it is not there
   * @param {number} timeS
   */
  read(video, box, timeS) {
    this.add(box && this.#colour(video, box), timeS);
  }

  /**
   * Take the colour of a frame, and ask once a second.
   * @param {number[] | null} colour
   * @param {number} timeS
   */
  add(colour, timeS) {
    if (timeS <= (this.times.at(-1) ?? -Infinity)) return;
    this.times.push(timeS);
    this.colours.push(colour);
    while (this.times[0] < timeS - WINDOW_S) {
      this.times.shift();
      this.colours.shift();
    }
    const seconds = timeS - this.times[0];
    if (seconds < LEAST_S) {
      if (this.askedS === -Infinity) show("", `Measuring: ${Math.floor(seconds)} of ${LEAST_S} s. Hold still, in even light.`);
    } else if (timeS >= this.askedS + STEP_S) {
      this.askedS = timeS;
      void this.ask();
    }
  }

  /** Ask the server for the rate of what was read, and show it. */
  async ask() {
    const { round } = this;
    try {
      const rate = await api.pulse(this.times, this.colours);
      if (this.round !== round) return;
      if (rate.reliable) show(`${Math.round(rate.bpm)}`, `Over the last ${Math.round(rate.seconds)} s, SNR ${rate.snr_db.toFixed(1)} dB.`);
      else show("", `No reliable pulse: ${ended(rate.reason)}`);
    } catch (error) {
      if (this.round === round) show("", error instanceof ApiError ? ended(error.message) : String(error));
    }
  }

  /**
   * Return the mean colour of the usable pixels; null without one.
   * @param {HTMLVideoElement} video
   * @param {number[]} box
   */
  #colour(video, [x0, y0, x1, y1]) {
    const [across, down] = [x1 - x0, y1 - y0];
    const [width, height] = [across * INNER[0], down * INNER[1]];
    const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
    const columns = Math.round(width * scale);
    const rows = Math.round(height * scale);
    if (!this.context || columns < 1 || rows < 1) return null;
    Object.assign(this.canvas, { width: columns, height: rows });
    this.context.drawImage(video, x0 + (across - width) / 2, y0 + (down - height) / 2, width, height, 0, 0, columns, rows);
    return meanColour(this.context.getImageData(0, 0, columns, rows).data);
  }
}

/**
 * Return mean red, green and blue of the pixels that are neither dark, saturated nor outside the picture.
 * @param {Uint8ClampedArray} data red, green, blue, alpha by turns
 */
export function meanColour(data) {
  const sums = [0, 0, 0];
  let count = 0;
  for (let at = 0; at < data.length; at += 4) {
    const brightest = Math.max(data[at], data[at + 1], data[at + 2]);
    if (data[at + 3] < 255 || brightest <= DARK || brightest >= SATURATED) continue;
    for (const channel of [0, 1, 2]) sums[channel] += data[at + channel];
    count += 1;
  }
  return count ? sums.map((sum) => sum / count) : null;
}

/**
 * @param {string} rate
 * @param {string} note
 */
function show(rate, note) {
  setText(byId("pulse-rate"), rate || "–");
  byId("pulse-unit").hidden = !rate;
  setText(byId("pulse-note"), note);
}
