/** What a person sees of the camera: frame with boxes, cards, chart, numbers, announcements. */

import { announce } from "./announce.js";
import { Chart, History } from "./chart.js";
import { byId, duration, element, percent, setText } from "./dom.js";
import { PulseMeter } from "./pulse.js";
import { Recording } from "./recording.js";

/** Boxes older than this do not fit the camera's picture: it is shown without them. */
const STALE_MS = 1000;
/** Labels older than this are gone: old news is worse than none. */
const GONE_MS = 10000;
const RATE_WINDOW_MS = 3000;
/** Between two descriptions of the chart. */
const DESCRIPTION_MS = 5000;

export class LiveView {
  /**
   * @param {import("./overlay.js").Stage} stage
   * @param {import("./faces.js").FaceCards} cards
   * @param {import("./camera.js").Camera} camera
   * @param {() => number} sent frames that went to the server
   */
  constructor(stage, cards, camera, sent) {
    this.stage = stage;
    this.cards = cards;
    this.camera = camera;
    this.sent = sent;
    this.history = new History();
    this.recording = new Recording();
    this.pulse = new PulseMeter();
    /** @type {number | null} the face that was chosen for the chart; null follows the first one */
    this.wanted = null;
    this.chart = new Chart(byId("chart"), () => this.history.faces.get(this.#charted() ?? -1) ?? []);
    /** @type {{event: any, frame: any, atMs: number, delayMs: number} | null} */
    this.last = null;
    /** @type {number[]} times of the last frames */
    this.times = [];
    this.dropped = 0;
    this.describedMs = -Infinity;
    this.agedMs = -Infinity;
    this.on = false;
    /** @type {Map<number, string>} the label of each face that was announced last */
    this.announced = new Map();
    byId("mirror").addEventListener("change", () => this.#draw());
    byId("pulse-on").addEventListener("change", () => this.pulse.reset(""));
    byId("chart-face").addEventListener("change", () => this.pick(byId("chart-face").value));
  }

  /** Show the camera. */
  start() {
    this.on = true;
    this.times = [];
    this.dropped = 0;
    this.history.clear();
    this.chart.start();
    byId("stage").dataset.empty = "false";
    byId("live-stats").hidden = false;
    byId("chart-card").hidden = false;
    this.#offerPulse(this.camera.stream !== null);
    requestAnimationFrame(() => this.#preview());
  }

  /** Remove the picture; the chart stands still. */
  stop() {
    this.on = false;
    this.last = null;
    this.chart.stop();
    this.#offerPulse(false);
    byId("stage-badge").hidden = true;
    byId("faces").dataset.stale = "false";
    byId("stage").dataset.empty = "true";
    this.stage.clear();
    this.cards.show([], null, "The labels of each face appear here.");
  }

  /** Remove chart and numbers. */
  hide() {
    byId("live-stats").hidden = true;
    byId("chart-card").hidden = true;
  }

  /** Forget the past: it has other labels. */
  forget() {
    this.history.clear();
  }

  /**
   * Point out a face in picture, cards and chart.
   * @param {string} key its id
   */
  pick(key) {
    this.wanted = Number(key);
    this.#draw();
    this.chart.draw();
  }

  /**
   * Take an event of the server.
   * @param {any} event
   * @param {any} frame that it belongs to
   * @param {number} tripMs from sending the frame to its event
   */
  take(event, frame, tripMs) {
    this.recording.add(event);
    if (event.kind !== "frame" || !this.on) return;
    const now = performance.now();
    this.dropped += Object.values(event.dropped).reduce((sum, each) => Number(sum) + Number(each), 0);
    this.times.push(now);
    while (this.times[0] < now - RATE_WINDOW_MS) this.times.shift();
    for (const face of event.faces) if (face.label !== null) this.history.add(face.id, now / 1000, face.probabilities);
    // What the server cannot know: the time in the browser and on the network.
    const delayMs = frame ? Math.max(0, now - frame.takenMs - event.age_ms) : 0;
    this.last = { event, frame, atMs: now, delayMs };
    this.#draw();
    this.#showStats(tripMs);
    this.#announceFaces(event.faces);
  }

  /** Return the id of the face in the chart; null without one. */
  #charted() {
    const ids = this.history.ids(performance.now() / 1000);
    if (this.wanted !== null && ids.includes(this.wanted)) return this.wanted;
    const visible = this.last?.event.faces.map((/** @type {any} */ face) => face.id) ?? [];
    return ids.find((id) => visible.includes(id)) ?? ids[ids.length - 1] ?? null;
  }

  /** Draw the frame that was read with its boxes: boxes and picture always belong together. */
  #draw() {
    if (!this.last?.frame || !this.on) return;
    const { event, frame, delayMs } = this.last;
    const chosen = this.#charted();
    const { stage } = this;
    stage.chosen = event.faces.length > 1 ? String(chosen) : null;
    const faces = event.faces.map((/** @type {any} */ face) => ({
      key: String(face.id),
      box: face.box,
      detected: face.detected,
      text:
        face.label === null ? `#${face.id}` : `#${face.id} ${face.label} ${percent(face.probabilities[face.label])}`,
    }));
    stage.show(frame.picture, event.size, faces, byId("mirror").checked);
    this.#showCards(event.faces, delayMs, chosen);
    this.#listFaces(chosen);
  }

  /**
   * @param {any[]} faces
   * @param {number} delayMs since the server gave the event, and on the way to and from it
   * @param {number | null} chosen
   */
  #showCards(faces, delayMs, chosen) {
    const given = faces.map((face) => cardOf(face, delayMs));
    this.cards.show(given, String(chosen), "No face in the camera's picture.");
    const ages = faces.map((face) => face.label_age_ms).filter((age) => age !== null);
    setText(byId("stat-age"), ages.length ? duration(Math.max(...ages) + delayMs) : "–");
  }

  /** Let the labels grow old while nothing comes from the server. */
  #age() {
    if (!this.last || performance.now() - this.agedMs < 250) return;
    this.agedMs = performance.now();
    const silentMs = this.agedMs - this.last.atMs;
    setText(byId("stat-rate"), "0.0");
    if (silentMs > GONE_MS) this.cards.show([], null, "There are no fresh labels.");
    else this.#showCards(this.last.event.faces, this.last.delayMs + silentMs, this.#charted());
  }

  /**
   * Offer the pulse, which needs the camera's own frames: those of a camera of the server come too seldom.
   * @param {boolean} isOffered
   */
  #offerPulse(isOffered) {
    byId("pulse-card").hidden = !isOffered;
    byId("pulse-choice").hidden = false;
    byId("pulse-clip").hidden = true;
    this.pulse.reset("");
    if (isOffered) this.#followSkin(this.camera.stream);
  }

  /**
   * Read the skin in every frame of the camera, also in those that do not go to the server.
   * @param {MediaStream | null} stream
   */
  #followSkin(stream) {
    const { video } = this.camera;
    video.requestVideoFrameCallback?.((/** @type {number} */ nowMs) => {
      if (!this.on || this.camera.stream !== stream) return;
      if (byId("pulse-on").checked) this.#readSkin(video, nowMs);
      this.#followSkin(stream);
    });
  }

  /**
   * @param {HTMLVideoElement} video
   * @param {number} nowMs
   */
  #readSkin(video, nowMs) {
    const event = this.last && performance.now() - this.last.atMs < STALE_MS ? this.last.event : null;
    const id = this.#charted();
    const face = event?.faces.find((/** @type {any} */ each) => each.id === id);
    if (face && this.pulse.face !== String(id)) this.pulse.reset(String(id));
    const scale = event ? video.videoWidth / event.size[0] : 1;
    const box = face?.detected ? face.box.map((/** @type {number} */ value) => value * scale) : null;
    this.pulse.read(video, box, nowMs / 1000);
  }

  /** Draw the camera's own picture while no event is fresh. */
  #preview() {
    if (!this.on) return;
    const { video } = this.camera;
    const waiting = !this.last || performance.now() - this.last.atMs > STALE_MS;
    byId("stage-badge").hidden = !waiting;
    byId("faces").dataset.stale = String(waiting);
    if (waiting) this.#age();
    if (waiting && video.videoWidth) {
      setText(byId("stage-badge"), this.last ? "Waiting for the server" : "Camera on, not read yet");
      this.stage.show(video, [video.videoWidth, video.videoHeight], [], byId("mirror").checked);
    }
    requestAnimationFrame(() => this.#preview());
  }

  /** @param {number} tripMs */
  #showStats(tripMs) {
    const span = this.times.length > 1 ? (this.times[this.times.length - 1] - this.times[0]) / 1000 : 0;
    setText(byId("stat-rate"), span ? ((this.times.length - 1) / span).toFixed(1) : "–");
    setText(byId("stat-trip"), tripMs ? duration(tripMs) : "–");
    setText(byId("stat-skipped"), String(Math.max(0, this.camera.frames - this.sent()) + this.dropped));
  }

  /** @param {any[]} faces */
  #announceFaces(faces) {
    const news = faces.filter((face) => face.label !== null && this.announced.get(face.id) !== face.label);
    this.announced = new Map(faces.map((face) => [face.id, face.label]));
    if (news.length)
      announce(
        news.map((face) => `Face ${face.id}: ${face.label}, ${percent(face.probabilities[face.label])}`).join("; "),
      );
  }

  /** @param {number | null} chosen */
  #listFaces(chosen) {
    const ids = this.history.ids(performance.now() / 1000);
    byId("chart-choice").hidden = ids.length < 2;
    const select = byId("chart-face");
    if (select.dataset.ids !== ids.join()) {
      select.dataset.ids = ids.join();
      select.replaceChildren(...ids.map((id) => element("option", { value: String(id) }, `#${id}`)));
    }
    if (chosen !== null) select.value = String(chosen);
    if (performance.now() - this.describedMs > DESCRIPTION_MS) this.#describe(chosen);
  }

  /**
   * Describe the chart for screen readers.
   * @param {number | null} chosen
   */
  #describe(chosen) {
    const points = this.history.faces.get(chosen ?? -1);
    if (!points?.length) return;
    this.describedMs = performance.now();
    const first = Object.entries(points[points.length - 1].probabilities)
      .sort((one, other) => other[1] - one[1])
      .slice(0, 3)
      .map(([label, value]) => `${label} ${percent(value)}`);
    byId("chart").setAttribute("aria-label", `Labels of face ${chosen} over the last minute. Now: ${first.join(", ")}`);
  }
}

/**
 * @param {any} face of live-event-1.json
 * @param {number} delayMs
 * @returns {import("./faces.js").Card}
 */
function cardOf(face, delayMs) {
  const age = face.label_age_ms === null ? "" : `label ${duration(face.label_age_ms + delayMs)} old`;
  const name = face.smoothed_label;
  const smoothed = name ? `smoothed ${name} ${percent(face.smoothed[name])}` : "";
  const notes = [smoothed, age, face.reused ? "face unchanged" : "", face.detected ? "" : "face hidden, place predicted"];
  return {
    key: String(face.id),
    name: `#${face.id}`,
    label: face.label,
    probabilities: face.probabilities,
    values: face.values,
    units: face.action_units,
    note: notes.filter(Boolean).join(", "),
    empty: face.label_age_ms === null ? "not read yet" : "no labels",
  };
}
