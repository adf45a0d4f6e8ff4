/** The live WebSocket: one frame in flight, and a new connection after a loss, each time a little later. */

import { closeSentence } from "./errors.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;
/** No more frames a second than this: faces do not change faster. */
const FRAME_GAP_MS = 50;
/** Between two looks whether the camera has a new frame. */
const LOOK_MS = 10;
/** A frame without an answer for so long means that the connection is dead. */
const SILENCE_MS = 30000;

/**
 * A frame on its way.
 * @typedef {{blob: Blob, picture: HTMLCanvasElement, takenMs: number}} Frame
 */

/**
 * @typedef {{
 *   grab: (mostBytes: number) => Promise<Frame | null>,
 *   hello: (hello: any) => void,
 *   event: (event: any, frame: Frame | null, roundTripMs: number) => void,
 *   refused: (reason: string) => void,
 *   state: (state: "connecting" | "open" | "waiting" | "ended", text: string) => void,
 *   tooLarge: () => void,
 *   unopened: () => Promise<boolean>,
 * }} Handlers `unopened` says after a connection that never opened whether trying again makes sense
 */

export class LiveClient {
  /**
   * @param {() => {url: string, protocols: string[]}} address
   * @param {Handlers} handlers
   */
  constructor(address, handlers) {
    this.address = address;
    this.handlers = handlers;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {string | string[] | null} */
    this.labels = null;
    this.sent = 0;
    /** Greetings of the server that are still to come: one a connection, one a change of the labels. */
    this.greetings = 0;
    this.running = false;
    this.waitMs = FIRST_WAIT_MS;
    this.mostBytes = Infinity;
    /** @type {{frame: Frame, sentMs: number} | null} */
    this.inFlight = null;
    this.sentMs = -Infinity;
    this.timer = 0;
    this.watchdog = 0;
  }

  /** Connect. */
  start() {
    this.running = true;
    this.sent = 0;
    this.waitMs = FIRST_WAIT_MS;
    this.#connect();
  }

  /** Close the connection. */
  stop() {
    this.running = false;
    window.clearTimeout(this.timer);
    window.clearTimeout(this.watchdog);
    const { socket } = this;
    this.socket = null;
    this.inFlight = null;
    socket?.close(1000);
  }

  /**
   * Ask for other labels; null keeps those that the server chose.
   * @param {string | string[] | null} labels
   */
  setLabels(labels) {
    this.labels = labels;
    if (labels === null || this.socket?.readyState !== WebSocket.OPEN) return;
    this.greetings += 1;
    this.socket.send(JSON.stringify({ labels }));
  }

  #connect() {
    this.handlers.state("connecting", "Connecting");
    const { url, protocols } = this.address();
    const socket = new WebSocket(url, protocols);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.inFlight = null;
    this.greetings = 1;
    const flow = { asking: false };
    let opened = false;
    socket.addEventListener("open", () => {
      opened = true;
      if (this.labels !== null) this.setLabels(this.labels);
    });
    socket.addEventListener("message", ({ data }) => {
      if (this.socket !== socket) return;
      const message = JSON.parse(data);
      if (message.kind === "hello") {
        this.greetings -= 1;
        if (this.greetings) return;
        this.waitMs = FIRST_WAIT_MS;
        this.mostBytes = message.limits?.message_bytes ?? Infinity;
        this.handlers.state("open", "Live");
        this.handlers.hello(message);
        // A frame that came before the new labels has no answer any more.
        window.clearTimeout(this.watchdog);
        this.inFlight = null;
        void this.#next(socket, flow);
      } else if (message.kind === "frame" || message.kind === "refused") {
        // One frame is in flight, so the answer is its own.
        const flight = this.inFlight;
        this.inFlight = null;
        window.clearTimeout(this.watchdog);
        if (message.kind === "frame")
          this.handlers.event(message, flight?.frame ?? null, flight ? performance.now() - flight.sentMs : 0);
        else this.handlers.refused(String(message.reason));
        if (flight) void this.#next(socket, flow);
      } else {
        this.handlers.event(message, null, 0);
      }
    });
    socket.addEventListener("close", async ({ code, reason }) => {
      if (this.socket !== socket) return;
      this.socket = null;
      window.clearTimeout(this.watchdog);
      if (code === 1009) this.handlers.tooLarge();
      const { text, again } = closeSentence(code, reason);
      const useful = again && (opened || (await this.handlers.unopened()));
      if (!this.running) return;
      if (useful) this.#later(text);
      else {
        this.running = false;
        this.handlers.state("ended", again ? "" : text);
      }
    });
  }

  /** @param {string} text why the connection is gone */
  #later(text) {
    this.handlers.state("waiting", text);
    // Not all pages come back in the same moment.
    const waitMs = this.waitMs * (0.75 + Math.random() / 2);
    this.waitMs = Math.min(2 * this.waitMs, LONGEST_WAIT_MS);
    this.timer = window.setTimeout(() => this.running && this.#connect(), waitMs);
  }

  /**
   * Send the next frame as soon as there is one.
   * @param {WebSocket} socket
   * @param {{asking: boolean}} flow of this connection
   */
  async #next(socket, flow) {
    if (flow.asking || this.inFlight || this.greetings) return;
    flow.asking = true;
    await pause(this.sentMs + FRAME_GAP_MS - performance.now());
    let frame = null;
    while (this.socket === socket && !(frame = await this.handlers.grab(this.mostBytes))) await pause(LOOK_MS);
    flow.asking = false;
    if (!frame || this.greetings || this.socket !== socket || socket.readyState !== WebSocket.OPEN) return;
    this.sentMs = performance.now();
    this.inFlight = { frame, sentMs: this.sentMs };
    socket.send(frame.blob);
    this.sent += 1;
    this.watchdog = window.setTimeout(() => socket.close(4000, "no answer"), SILENCE_MS);
  }
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((done) => window.setTimeout(done, Math.max(0, ms)));
}
