/** Reads pictures and clips, one at a time, and says what went wrong with those that could not be read. */

import { announce, clearNotice, notify } from "./announce.js";
import * as api from "./api.js";
import { byId, setText } from "./dom.js";
import { ApiError, sentence } from "./errors.js";
import { summary } from "./results.js";
import { fitted, thumbnail } from "./shrink.js";

/** Times that a busy server is asked for one picture. */
const MOST_TRIES = 4;
const LONGEST_WAIT_S = 15;
/** Errors that speak of one picture: the next ones are read all the same. */
const OF_ONE_PICTURE = [413, 415, 422];

/**
 * @typedef {{
 *   results: import("./results.js").Results, options: () => import("./api.js").Options,
 *   limits: () => any, needToken: () => void, lost: () => void,
 * }} Surroundings
 */

/** Reads pictures and clips, one at a time. */
export class Reader {
  /** @param {Surroundings} around */
  constructor(around) {
    this.around = around;
    /** Readings wait for each other, so that the server has one at a time from this page. */
    this.queue = Promise.resolve();
    this.waiting = 0;
    this.stop = new AbortController();
    byId("stop-reading").addEventListener("click", () => {
      this.stop.abort();
      this.stop = new AbortController();
    });
  }

  /**
   * Read pictures, each for itself, and show each result as soon as it is there.
   * @param {{blob: Blob, name: string}[]} pictures
   */
  async readAll(pictures) {
    await this.#run(async (signal) => {
      const failures = [];
      for (const [number, picture] of pictures.entries()) {
        const progress =
          pictures.length > 1 ? `Reading ${number + 1} of ${pictures.length}` : `Reading ${picture.name}`;
        try {
          await this.#readOne([picture], false, picture.name, progress, signal);
        } catch (error) {
          if (!(error instanceof ApiError) || !OF_ONE_PICTURE.includes(error.status)) throw error;
          failures.push(sentence(error, this.around.limits(), picture.name));
        }
      }
      const more = failures.length > 1 ? ` So it is with ${failures.length - 1} more.` : "";
      if (failures.length) notify(failures[0] + more);
    });
  }

  /**
   * Read frames as one clip.
   * @param {{blob: Blob, name: string}[]} frames
   * @param {string} name
   */
  async readClip(frames, name) {
    await this.#run((signal) => this.#readOne(frames, true, name, `Reading ${frames.length} frames`, signal));
  }

  /**
   * Read an entry again with the settings of now, in its place.
   * @param {import("./results.js").Entry} entry
   */
  async again(entry) {
    await this.#run(async (signal) => {
      const options = this.around.options();
      const result = await this.#answer(entry.pictures, options, entry.clip, `Reading ${entry.name} again`, signal);
      const shown = entry.pictures[shownFrame(result, entry.pictures.length)].blob;
      Object.assign(entry, { result, options, shown });
      this.around.results.pick(entry);
      announce(`${entry.name}: ${summary(result)}`);
    });
  }

  /** @param {(signal: AbortSignal) => Promise<void>} work */
  #run(work) {
    const { signal } = this.stop;
    clearNotice();
    this.waiting += 1;
    this.#showBusy();
    this.queue = this.queue.then(async () => {
      try {
        if (!signal.aborted) await work(signal);
      } catch (error) {
        if (!signal.aborted) this.#fail(error);
      } finally {
        this.waiting -= 1;
        this.#showBusy();
      }
    });
    return this.queue;
  }

  #showBusy() {
    for (const id of ["busy", "stop-reading"]) byId(id).hidden = this.waiting === 0;
  }

  /** @param {unknown} error */
  #fail(error) {
    const status = error instanceof ApiError ? error.status : null;
    if (status === 401) return this.around.needToken();
    notify(sentence(error, this.around.limits()));
    if (status === 0) this.around.lost();
  }

  /**
   * @param {{blob: Blob, name: string}[]} pictures
   * @param {boolean} clip
   * @param {string} name
   * @param {string} progress
   * @param {AbortSignal} signal
   */
  async #readOne(pictures, clip, name, progress, signal) {
    const options = this.around.options();
    const fitting = await fitted(pictures, this.around.limits());
    const result = await this.#answer(fitting, options, clip, progress, signal);
    const shown = fitting[shownFrame(result, fitting.length)].blob;
    this.around.results.add({ pictures: fitting, shown, clip, name, result, options, thumb: await thumbnail(shown) });
    if (fitting !== pictures)
      notify(
        `${name} was made smaller in this browser, because it was too large for the server. Boxes count its pixels of now.`,
        "info",
      );
    announce(`${name}: ${summary(result)}`);
  }

  /**
   * Ask the server, again after a while if it is busy.
   * @param {{blob: Blob, name: string}[]} pictures
   * @param {import("./api.js").Options} options
   * @param {boolean} clip
   * @param {string} progress
   * @param {AbortSignal} signal
   */
  async #answer(pictures, options, clip, progress, signal) {
    for (let tries = 1; ; tries++) {
      setText(byId("busy-text"), progress);
      try {
        return await api.read(pictures, options, { clip, signal });
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 429 || tries === MOST_TRIES) throw error;
        const waitS = Math.min(error.retryAfterS ?? 1, LONGEST_WAIT_S);
        setText(byId("busy-text"), `The server is busy. Trying again in ${waitS} s`);
        await new Promise((done) => window.setTimeout(done, waitS * 1000));
        signal.throwIfAborted();
      }
    }
  }
}

/**
 * Return which of the pictures the boxes of a result lie in: of a clip, the frame of its first face.
 * @param {any} result
 * @param {number} count
 */
function shownFrame(result, count) {
  if (result.kind !== "clip") return 0;
  return result.readings[0]?.frame ?? (result.readings.length ? 0 : Math.floor(count / 2));
}
