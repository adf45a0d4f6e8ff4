/** The camera's tab: camera, connection, picture with boxes, chart and numbers. */

import { announce, clearNotice, notify, showServerState } from "./announce.js";
import * as api from "./api.js";
import { Camera, cameraBarrier } from "./camera.js";
import { Chart, History } from "./chart.js";
import { byId, duration, element, percent, setText } from "./dom.js";
import { ApiError, cameraSentence, sentence } from "./errors.js";
import { download, fileName, liveTable } from "./export.js";
import { LiveClient } from "./live.js";

/** Boxes older than this do not fit the camera's picture: it is shown without them. */
const STALE_MS = 1000;
/** Events that are kept for the download. */
const MOST_EVENTS = 20000;
const RATE_WINDOW_MS = 3000;

/**
 * @typedef {{
 *   stage: import("./overlay.js").Stage, cards: import("./faces.js").FaceCards,
 *   labels: () => string | string[] | null, showLabels: (labels: string[]) => void, needToken: () => void,
 * }} Surroundings
 */

export class LiveTab {
  /** @param {Surroundings} around */
  constructor(around) {
    this.around = around;
    this.camera = new Camera(byId("camera-video"));
    this.client = new LiveClient(api.liveAddress, {
      grab: (mostBytes) => this.camera.grab(mostBytes),
      hello: (hello) => this.#greet(hello),
      event: (event, frame, tripMs) => this.#take(event, frame, tripMs),
      refused: (reason) => notify(`The server could not read a frame (${reason}). The camera goes on.`, "info"),
      state: (state, text) => this.#showState(state, text),
      tooLarge: () => (this.camera.longestSide = Math.round(this.camera.longestSide * 0.75)),
      unopened: () => this.#why(),
    });
    this.history = new History();
    /** @type {number | null} the face that was chosen for the chart; null follows the first one */
    this.wanted = null;
    this.chart = new Chart(byId("chart"), () => this.history.faces.get(this.#charted() ?? -1) ?? []);
    /** @type {any[]} */
    this.events = [];
    /** @type {{event: any, frame: any, atMs: number, delayMs: number} | null} */
    this.last = null;
    /** @type {number[]} times of the last frames */
    this.times = [];
    this.dropped = 0;
    this.on = false;
    this.pausedByTab = false;
    this.device = "";
    /** @type {Map<number, string>} the label of each face that was announced last */
    this.announced = new Map();
    this.#listen();
  }

  #listen() {
    byId("camera-toggle").addEventListener("click", () => (this.on ? this.stop() : this.start()));
    byId("camera-device").addEventListener("change", () => this.on && this.#reopen());
    byId("mirror").addEventListener("change", () => this.#draw());
    byId("chart-face").addEventListener("change", () => this.pick(byId("chart-face").value));
    byId("download-live-json").addEventListener("click", () =>
      download(
        fileName("jsonl"),
        this.events.map((event) => `${JSON.stringify(event)}\n`).join(""),
        "application/jsonl",
      ),
    );
    byId("download-live-csv").addEventListener("click", () =>
      download(fileName("csv"), liveTable(this.events), "text/csv"),
    );
    document.addEventListener("visibilitychange", () => this.#followTab());
  }

  /** Show the tab: the barrier, if the camera cannot work here. */
  show() {
    const barrier = cameraBarrier();
    byId("camera-toggle").disabled = barrier !== null;
    byId("camera-help").hidden = !barrier?.help.length;
    if (!barrier) return;
    setText(byId("camera-title"), barrier.title);
    setText(byId("camera-text"), barrier.text);
    byId("camera-help").replaceChildren(...barrier.help.map((line) => element("li", {}, line)));
  }

  /** Open the camera and connect. */
  async start() {
    clearNotice();
    byId("camera-toggle").disabled = true;
    try {
      await this.camera.open(byId("camera-device").value, () => {
        this.stop();
        notify("The camera went away. Connect it again and press “Start camera”.");
      });
    } catch (error) {
      this.camera.close();
      notify(cameraSentence(error));
      return;
    } finally {
      byId("camera-toggle").disabled = false;
    }
    this.on = true;
    byId("stage").dataset.empty = "false";
    if (this.camera.deviceId !== this.device) byId("mirror").checked = this.camera.looksBack;
    this.device = this.camera.deviceId;
    this.#showToggle();
    await this.#listCameras();
    this.dropped = 0;
    this.times = [];
    this.history.clear();
    this.client.setLabels(this.around.labels());
    this.client.start();
    this.chart.start();
    byId("live-stats").hidden = false;
    byId("chart-card").hidden = false;
    requestAnimationFrame(() => this.#preview());
    announce("The camera is on.");
  }

  /** Release the camera and close the connection. */
  stop() {
    if (!this.on) return;
    this.on = false;
    this.client.stop();
    this.camera.close();
    this.chart.stop();
    this.last = null;
    byId("stage-badge").hidden = true;
    byId("stage").dataset.empty = "true";
    this.around.stage.clear();
    this.around.cards.show([], null, "The labels of each face appear here.");
    showServerState("ready", "Ready");
    this.#showToggle();
    this.#countEvents();
    announce("The camera is off.");
  }

  /** Stop and remove the picture. */
  leave() {
    this.stop();
    byId("live-stats").hidden = true;
    byId("chart-card").hidden = true;
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

  /** Use the labels of the settings from now on. */
  labelsChanged() {
    if (!this.on) return;
    const labels = this.around.labels();
    this.history.clear();
    if (labels === null) {
      // The server has no word for "your own choice": a new connection begins with it.
      this.client.stop();
      this.client.setLabels(null);
      this.client.start();
    } else this.client.setLabels(labels);
  }

  async #reopen() {
    this.stop();
    await this.start();
  }

  /** Send nothing while nobody looks, and release the camera. */
  #followTab() {
    if (document.hidden && this.on) {
      this.stop();
      this.pausedByTab = true;
    } else if (!document.hidden && this.pausedByTab) {
      this.pausedByTab = false;
      void this.start();
    }
  }

  /** @param {any} hello */
  #greet(hello) {
    this.around.showLabels(hello.labels);
  }

  /** Return after a connection that never opened whether another try makes sense. */
  async #why() {
    try {
      await api.info();
      return true;
    } catch (error) {
      const status = error instanceof ApiError ? error.status : 0;
      if (status === 401) {
        this.stop();
        this.around.needToken();
      } else if (status === 403) {
        this.stop();
        notify(sentence(error));
      }
      return ![401, 403].includes(status);
    }
  }

  /**
   * @param {string} state
   * @param {string} text
   */
  #showState(state, text) {
    if (state === "open") {
      showServerState("live", "Live");
      clearNotice();
    } else if (state === "connecting") showServerState("wait", "Connecting");
    else {
      showServerState(state === "waiting" ? "wait" : "off", state === "waiting" ? "Reconnecting" : "Stopped");
      if (text) notify(text);
      if (state === "ended") {
        this.stop();
        if (text) showServerState("off", "Stopped");
      }
    }
  }

  /**
   * Take an event of the server.
   * @param {any} event
   * @param {any} frame that it belongs to
   * @param {number} tripMs from sending the frame to its event
   */
  #take(event, frame, tripMs) {
    this.events.push(event);
    if (this.events.length > MOST_EVENTS) this.events.splice(0, MOST_EVENTS / 10);
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
    this.#showStats(event, tripMs, delayMs);
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
    const { stage, cards } = this.around;
    stage.chosen = event.faces.length > 1 ? String(chosen) : null;
    const faces = event.faces.map((/** @type {any} */ face) => ({
      key: String(face.id),
      box: face.box,
      detected: face.detected,
      text:
        face.label === null ? `#${face.id}` : `#${face.id} ${face.label} ${percent(face.probabilities[face.label])}`,
    }));
    stage.show(frame.picture, event.size, faces, byId("mirror").checked);
    cards.show(
      event.faces.map((/** @type {any} */ face) => cardOf(face, delayMs)),
      String(chosen),
      "No face in the camera's picture.",
    );
    this.#listFaces(chosen);
  }

  /** Draw the camera's own picture while no event is fresh. */
  #preview() {
    if (!this.on) return;
    const { video } = this.camera;
    const waiting = !this.last || performance.now() - this.last.atMs > STALE_MS;
    byId("stage-badge").hidden = !waiting;
    if (waiting && video.videoWidth) {
      setText(byId("stage-badge"), this.last ? "Waiting for the server" : "Camera on, not read yet");
      this.around.stage.show(video, [video.videoWidth, video.videoHeight], [], byId("mirror").checked);
    }
    requestAnimationFrame(() => this.#preview());
  }

  /**
   * @param {any} event
   * @param {number} tripMs
   * @param {number} delayMs
   */
  #showStats(event, tripMs, delayMs) {
    const ages = event.faces
      .map((/** @type {any} */ face) => face.label_age_ms)
      .filter((/** @type {any} */ age) => age !== null);
    const span = this.times.length > 1 ? (this.times[this.times.length - 1] - this.times[0]) / 1000 : 0;
    setText(byId("stat-rate"), span ? ((this.times.length - 1) / span).toFixed(1) : "–");
    setText(byId("stat-age"), ages.length ? duration(Math.max(...ages) + delayMs) : "–");
    setText(byId("stat-trip"), tripMs ? duration(tripMs) : "–");
    setText(byId("stat-skipped"), String(Math.max(0, this.camera.frames - this.client.sent) + this.dropped));
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
    const points = this.history.faces.get(chosen ?? -1);
    if (points && performance.now() - Number(select.dataset.labelledMs ?? -5000) > 5000) {
      select.dataset.labelledMs = String(performance.now());
      const now = Object.entries(points[points.length - 1].probabilities)
        .sort((one, other) => other[1] - one[1])
        .slice(0, 3);
      byId("chart").setAttribute(
        "aria-label",
        `Labels of face ${chosen} over the last minute. Now: ${now.map(([label, value]) => `${label} ${percent(value)}`).join(", ")}`,
      );
    }
    this.#countEvents();
  }

  #countEvents() {
    byId("live-downloads").hidden = !this.events.length;
    setText(byId("live-count"), `Camera: ${this.events.length} events`);
  }

  #showToggle() {
    const button = byId("camera-toggle");
    button.classList.toggle("primary", !this.on);
    setText(button.querySelector("span"), this.on ? "Stop camera" : "Start camera");
    button.querySelector("use").setAttribute("href", this.on ? "#icon-stop" : "#icon-play");
  }

  async #listCameras() {
    const devices = await this.camera.devices();
    byId("camera-choice").hidden = devices.length < 2;
    byId("camera-device").replaceChildren(
      ...devices.map(({ deviceId, label }, number) =>
        element("option", { value: deviceId }, label || `Camera ${number + 1}`),
      ),
    );
    byId("camera-device").value = this.camera.deviceId;
  }
}

/**
 * @param {any} face of live-event-1.json
 * @param {number} delayMs
 * @returns {import("./faces.js").Card}
 */
function cardOf(face, delayMs) {
  const age = face.label_age_ms === null ? "" : `label ${duration(face.label_age_ms + delayMs)} old`;
  const notes = [age, face.reused ? "face unchanged" : "", face.detected ? "" : "face hidden, place predicted"];
  return {
    key: String(face.id),
    name: `#${face.id}`,
    label: face.label,
    probabilities: face.probabilities,
    values: face.values,
    note: notes.filter(Boolean).join(", "),
    empty: face.label_age_ms === null ? "not read yet" : "no labels",
  };
}
