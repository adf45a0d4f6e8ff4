/** A camera of the server: its frames and events come over a WebSocket, and nothing is sent. */

import { closeSentence } from "./errors.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15000;

/**
 * @typedef {{
 *   hello: (hello: any) => void,
 *   event: (event: any, frame: {picture: ImageBitmap, takenMs: number} | null) => void,
 *   state: (state: "connecting" | "open" | "waiting" | "ended", text: string) => void,
 *   unopened: () => Promise<boolean>,
 * }} Handlers `unopened` says after a connection that never opened whether trying again makes sense
 */

export class SourceClient {
  /**
   * @param {(name: string) => {url: string, protocols: string[]}} address
   * @param {Handlers} handlers
   */
  constructor(address, handlers) {
    this.address = address;
    this.handlers = handlers;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.waitMs = FIRST_WAIT_MS;
    this.timer = 0;
  }

  /**
   * Watch a source.
   * @param {string} name
   */
  start(name) {
    this.waitMs = FIRST_WAIT_MS;
    this.#connect(name);
  }

  /** Close the connection. */
  stop() {
    window.clearTimeout(this.timer);
    const { socket } = this;
    this.socket = null;
    socket?.close(1000);
  }

  /** @param {string} name */
  #connect(name) {
    this.handlers.state("connecting", "Connecting");
    const { url, protocols } = this.address(name);
    const socket = new WebSocket(url, protocols);
    this.socket = socket;
    let opened = false;
    /** @type {Promise<ImageBitmap | null>} */
    let picture = Promise.resolve(null);
    socket.addEventListener("open", () => (opened = true));
    socket.addEventListener("message", async ({ data }) => {
      if (this.socket !== socket) return;
      if (data instanceof Blob) {
        // The picture of the frame event that follows.
        picture = createImageBitmap(data.slice(0, data.size, "image/jpeg")).catch(() => null);
        return;
      }
      const message = JSON.parse(data);
      if (message.kind === "hello") {
        this.waitMs = FIRST_WAIT_MS;
        this.handlers.state("open", "Live");
        this.handlers.hello(message);
      } else if (message.kind === "frame") {
        const takenMs = performance.now() - message.age_ms;
        const shown = await picture;
        if (this.socket === socket) this.handlers.event(message, shown && { picture: shown, takenMs });
        else shown?.close();
      } else this.handlers.event(message, null);
    });
    socket.addEventListener("close", async ({ code, reason }) => {
      if (this.socket !== socket) return;
      const { text, again } = closeSentence(code, reason);
      const useful = again && (opened || (await this.handlers.unopened()));
      if (this.socket !== socket) return;
      if (!useful) return this.handlers.state("ended", again ? "" : text);
      this.handlers.state("waiting", text);
      // Not all pages come back in the same moment.
      const waitMs = this.waitMs * (0.75 + Math.random() / 2);
      this.waitMs = Math.min(2 * this.waitMs, LONGEST_WAIT_MS);
      this.timer = window.setTimeout(() => this.#connect(name), waitMs);
    });
  }
}
