/** The tab of pictures: chosen, dropped, pasted or packaged ones, read one after the other. */

import { announce, clearNotice, notify } from "./announce.js";
import * as api from "./api.js";
import { byId, element, fileSize, setText } from "./dom.js";
import { ApiError, sentence } from "./errors.js";
import { summary } from "./results.js";

/** Drawings that are shown before "Show more". */
const FIRST_SAMPLES = 14;
/** Times that a busy server is asked again for one picture. */
const MOST_TRIES = 4;
const LONGEST_WAIT_S = 15;
const THUMB = 80;

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
      for (const [number, picture] of pictures.entries()) {
        const progress =
          pictures.length > 1 ? `Reading ${number + 1} of ${pictures.length}` : `Reading ${picture.name}`;
        await this.#readOne([picture], false, picture.name, progress, signal);
      }
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
      Object.assign(entry, { result, options });
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
    const most = this.around.limits().body_bytes ?? Infinity;
    const bytes = pictures.reduce((sum, { blob }) => sum + blob.size, 0);
    if (bytes > most)
      throw new Error(
        `${name} has ${fileSize(bytes)}, the server takes ${fileSize(most)}. Make it smaller and try again.`,
      );
    const options = this.around.options();
    const result = await this.#answer(pictures, options, clip, progress, signal);
    // The boxes of a clip lie in its middle frame.
    const shown = pictures[clip ? Math.floor(pictures.length / 2) : 0].blob;
    this.around.results.add({ pictures, shown, clip, name, result, options, thumb: await thumbnail(shown) });
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
 * Return the address of a small square of a picture; null where the browser cannot show the picture.
 * @param {Blob} picture
 * @returns {Promise<string | null>}
 */
async function thumbnail(picture) {
  const bitmap = await createImageBitmap(picture).catch(() => null);
  if (!bitmap) return null;
  const canvas = element("canvas", { width: THUMB, height: THUMB });
  const side = Math.min(bitmap.width, bitmap.height);
  canvas
    .getContext("2d")
    .drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, THUMB, THUMB);
  bitmap.close();
  const blob = await new Promise((/** @type {(blob: Blob | null) => void} */ done) =>
    canvas.toBlob(done, "image/jpeg", 0.8),
  );
  return blob && URL.createObjectURL(blob);
}

/**
 * Return the pictures among files; a file without a type may be one that only the server knows.
 * @param {Iterable<File>} files
 */
export function picturesOf(files) {
  return [...files]
    .filter(({ type }) => type === "" || type.startsWith("image/"))
    .map((file) => ({ blob: file, name: file.name || "pasted picture" }));
}

/**
 * Listen for pictures that are chosen, dropped anywhere or pasted.
 * @param {(pictures: {blob: Blob, name: string}[]) => void} take
 * @param {(video: File) => void} takeVideo
 */
export function listenForPictures(take, takeVideo) {
  const input = byId("picture-files");
  byId("choose-pictures").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take(picturesOf(input.files));
    input.value = "";
  });
  const files = (/** @type {DataTransfer | null} */ data) => [...(data?.files ?? [])];
  const accept = (/** @type {File[]} */ given) => {
    const video = given.find(({ type }) => type.startsWith("video/"));
    const pictures = picturesOf(given);
    if (pictures.length) take(pictures);
    else if (video) takeVideo(video);
    else if (given.length) notify("These files are no pictures. Choose JPEG, PNG or WebP files, or a video.");
  };
  document.addEventListener("paste", (event) => accept(files(event.clipboardData)));
  listenForDrops(accept, files);
}

/**
 * @param {(files: File[]) => void} accept
 * @param {(data: DataTransfer | null) => File[]} files
 */
function listenForDrops(accept, files) {
  const veil = byId("drop-veil");
  let depth = 0;
  const carriesFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  document.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth += 1;
    veil.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth = Math.max(0, depth - 1);
    veil.hidden = depth === 0;
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    accept(files(event.dataTransfer));
  });
}

/**
 * Show the packaged drawings; the server gives paths only where the model reads drawings.
 * @param {string[]} paths
 * @param {(picture: {blob: Blob, name: string}) => void} take
 */
export async function showSamples(paths, take) {
  byId("samples").hidden = !paths.length;
  const strip = byId("sample-strip");
  strip.replaceChildren();
  const show = async (/** @type {string[]} */ some, /** @type {number} */ first) => {
    for (const [number, path] of some.entries()) {
      const blob = await api.sample(path).catch(() => null);
      if (!blob) continue;
      const name = `drawing ${first + number + 1}`;
      const picture = element("img", { src: URL.createObjectURL(blob), alt: "", width: 64, height: 64 });
      strip.append(
        element(
          "li",
          {},
          element(
            "button",
            { type: "button", className: "thumb", "aria-label": `Read ${name}`, onclick: () => take({ blob, name }) },
            picture,
          ),
        ),
      );
    }
  };
  await show(paths.slice(0, FIRST_SAMPLES), 0);
  if (paths.length <= FIRST_SAMPLES) return;
  const more = element("button", { type: "button", className: "thumb more" }, `${paths.length - FIRST_SAMPLES} more`);
  const item = element("li", {}, more);
  more.addEventListener("click", () => {
    item.remove();
    void show(paths.slice(FIRST_SAMPLES), FIRST_SAMPLES);
  });
  strip.append(item);
}
