/** The camera's tab: camera, connection, and what happens when either goes away. */

import { announce, clearNotice, notify, showServerState } from "./announce.js";
import * as api from "./api.js";
import { Camera, cameraBarrier } from "./camera.js";
import { byId, element, setText } from "./dom.js";
import { ApiError, cameraSentence, sentence } from "./errors.js";
import { LiveClient } from "./live.js";
import { LiveView } from "./liveview.js";
import { SourceClient } from "./source.js";

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
    this.client = new LiveClient(() => api.liveAddress(), {
      grab: (mostBytes) => this.camera.grab(mostBytes),
      hello: (hello) => around.showLabels(hello.labels),
      event: (event, frame, tripMs) => this.view.take(event, frame, tripMs),
      refused: (reason) => notify(`The server could not read a frame (${reason}). The camera goes on.`, "info"),
      state: (state, text) => this.#showState(state, text),
      tooLarge: () => (this.camera.longestSide = Math.round(this.camera.longestSide * 0.75)),
      unopened: () => this.#why(),
    });
    this.watching = new SourceClient(api.liveAddress, {
      hello: (hello) => around.showLabels(hello.labels),
      event: (event, frame) => this.#takeSource(event, frame),
      state: (state, text) => this.#showState(state, text),
      unopened: () => this.#why(),
    });
    this.view = new LiveView(around.stage, around.cards, this.camera, () => this.client.sent);
    this.on = false;
    this.pausedByTab = false;
    this.device = "";
    byId("camera-toggle").addEventListener("click", () => (this.on ? this.stop() : this.start()));
    byId("camera-device").addEventListener("change", () => this.on && this.#reopen());
    byId("source-name").addEventListener("change", () => this.#chooseSource());
    document.addEventListener("visibilitychange", () => this.#followTab());
  }

  /**
   * Offer the cameras of the server.
   * @param {string[]} names
   */
  offerSources(names) {
    const chosen = this.source;
    byId("source-choice").hidden = names.length === 0;
    byId("source-name").replaceChildren(
      element("option", { value: "" }, "This browser's camera"),
      ...names.map((name) => element("option", { value: name }, `${name} (server)`)),
    );
    byId("source-name").value = names.includes(chosen) ? chosen : "";
  }

  /** Return the chosen camera of the server; empty for the browser's own. */
  get source() {
    return byId("source-name").value;
  }

  /** Show the tab: the barrier, if the camera cannot work here. */
  show() {
    const barrier = this.source ? null : cameraBarrier();
    byId("camera-toggle").disabled = barrier !== null;
    byId("camera-help").hidden = !barrier?.help.length;
    if (!barrier) return;
    setText(byId("camera-title"), barrier.title);
    setText(byId("camera-text"), barrier.text);
    byId("mirror-choice").hidden = true;
    byId("camera-help").replaceChildren(
      ...barrier.help.map((line) =>
        element("li", {}, ...line.map((part, place) => (place % 2 ? element("code", {}, part) : part))),
      ),
    );
  }

  /** Open the camera and connect. */
  async start() {
    clearNotice();
    if (this.source) {
      this.on = true;
      byId("mirror").checked = false;
      this.device = "";
      this.#showToggle();
      this.watching.start(this.source);
      this.view.start();
      announce(`The camera ${this.source} is shown.`);
      return;
    }
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
    if (this.camera.deviceId !== this.device) byId("mirror").checked = this.camera.looksBack;
    this.device = this.camera.deviceId;
    this.#showToggle();
    await this.#listCameras();
    this.client.setLabels(this.around.labels());
    this.client.start();
    this.view.start();
    announce("The camera is on.");
  }

  /** Release the camera and close the connection. */
  stop() {
    if (!this.on) return;
    this.on = false;
    this.client.stop();
    this.watching.stop();
    this.camera.close();
    this.view.stop();
    showServerState("ready", "Ready");
    this.#showToggle();
    announce("The camera is off.");
  }

  /** Stop and remove the picture. */
  leave() {
    this.stop();
    this.view.hide();
  }

  /**
   * Point out a face in picture, cards and chart.
   * @param {string} key its id
   */
  pick(key) {
    this.view.pick(key);
  }

  /** Use the labels of the settings from now on. */
  labelsChanged() {
    // A camera of the server has the server's labels: others watch it too.
    if (!this.on || this.source) return;
    const labels = this.around.labels();
    this.view.forget();
    if (labels === null) {
      // There is no message for the server's default: a new connection begins with it.
      this.client.stop();
      this.client.setLabels(null);
      this.client.start();
    } else this.client.setLabels(labels);
  }

  /** Change between the browser's camera and those of the server. */
  #chooseSource() {
    const wasOn = this.on;
    this.stop();
    this.show();
    if (wasOn && !byId("camera-toggle").disabled) void this.start();
  }

  /**
   * @param {any} event
   * @param {any} frame
   */
  #takeSource(event, frame) {
    this.view.take(event, frame, 0);
    if (event.kind !== "source") return;
    if (event.state === "playing") clearNotice();
    else if (["lost", "stalled"].includes(event.state))
      notify(`The camera ${this.source} is ${event.state}. ${event.reason}`);
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
