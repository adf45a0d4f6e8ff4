/** What people are told: the line for screen readers, at most once a second, and the visible notice. */

import { byId, setText } from "./dom.js";

const GAP_MS = 1000;

/** @type {string | null} */
let waiting = null;
let lastMs = -Infinity;
let timer = 0;

/**
 * Announce a text to screen readers; of several in one second the newest is announced.
 * @param {string} text
 */
export function announce(text) {
  waiting = text;
  if (!timer) timer = window.setTimeout(flush, Math.max(0, lastMs + GAP_MS - performance.now()));
}

function flush() {
  timer = 0;
  if (waiting === null) return;
  byId("status").textContent = waiting;
  waiting = null;
  lastMs = performance.now();
}

/**
 * Show a notice above the picture, and announce it.
 * @param {string} text
 * @param {"error" | "info"} [tone]
 */
export function notify(text, tone = "error") {
  byId("notice").dataset.tone = tone;
  setText(byId("notice-text"), text);
  byId("notice").hidden = false;
  announce(text);
}

/** Remove the notice. */
export function clearNotice() {
  byId("notice").hidden = true;
}

/**
 * Show the state of the server in the header.
 * @param {"ready" | "live" | "wait" | "off"} state
 * @param {string} text
 */
export function showServerState(state, text) {
  byId("server-state").dataset.state = state;
  setText(byId("server-state-text"), text);
}
