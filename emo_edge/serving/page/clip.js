/** The tab of clips: frames of a video, taken in the browser, or several pictures. */

import { clearNotice, notify } from "./announce.js";
import { byId, element, setText } from "./dom.js";
import { picturesOf } from "./intake.js";
import { PulseMeter } from "./pulse.js";

const LONGEST_SIDE = 1280;
const QUALITY = 0.9;
const SEEK_MS = 10000;
const CANNOT_PLAY =
  "This browser cannot play the video. Choose MP4 (H.264) or WebM, or read the file with “emo-edge infer”.";

export class ClipTab {
  /**
   * @param {{
   *   readClip: (frames: {blob: Blob, name: string}[], name: string) => Promise<void>, most: () => number,
   *   faceIn: (picture: {blob: Blob, name: string}) => Promise<number[] | null>,
   * }} around `faceIn` gives the box of the largest face
   */
  constructor(around) {
    this.around = around;
    this.video = byId("clip-video");
    /** @type {File | null} */
    this.file = null;
    /** @type {{blob: Blob, name: string}[]} pictures that were chosen instead of a video */
    this.pictures = [];
    this.pulse = new PulseMeter();
    /** Ends the measurement under way. */
    this.measuring = new AbortController();
    this.#listen();
  }

  #listen() {
    const [video, pictures] = [byId("video-file"), byId("frame-files")];
    byId("choose-video").addEventListener("click", () => video.click());
    byId("choose-frames").addEventListener("click", () => pictures.click());
    video.addEventListener("change", () => {
      if (video.files[0]) void this.openVideo(video.files[0]);
      video.value = "";
    });
    pictures.addEventListener("change", () => {
      this.openPictures(picturesOf(pictures.files));
      pictures.value = "";
    });
    byId("read-clip").addEventListener("click", () => this.#read());
    byId("pulse-clip").addEventListener("click", () => this.#measurePulse());
    for (const id of ["clip-start", "clip-end"])
      byId(id).addEventListener("input", () => this.#seekTo(Number(byId(id).value)));
  }

  /**
   * Show a video; its frames are taken when it is read.
   * @param {File} file
   */
  async openVideo(file) {
    clearNotice();
    this.close();
    this.file = file;
    this.video.src = URL.createObjectURL(file);
    this.video.hidden = false;
    try {
      await event(this.video, "loadedmetadata");
      const seconds = await length(this.video);
      byId("clip-start").value = "0";
      byId("clip-end").value = seconds.toFixed(1);
      byId("clip-end").max = seconds.toFixed(1);
      byId("clip-count").max = String(this.around.most());
      byId("clip-settings").hidden = false;
      byId("clip-actions").hidden = false;
      this.#offerPulse("requestVideoFrameCallback" in this.video);
      byId("stage").dataset.empty = "false";
      setText(byId("read-clip").querySelector("span"), "Read this clip");
    } catch {
      this.close();
      notify(CANNOT_PLAY);
    }
  }

  /**
   * Take pictures as the frames of a clip, in the order of their names.
   * @param {{blob: Blob, name: string}[]} pictures
   */
  openPictures(pictures) {
    clearNotice();
    this.close();
    if (pictures.length < 2)
      return notify("A clip needs at least two pictures. Choose several at once, or read one under “Pictures”.");
    const most = this.around.most();
    if (pictures.length > most) return notify(`A clip has at most ${most} pictures here. Choose fewer.`);
    this.pictures = [...pictures].sort((one, other) =>
      one.name.localeCompare(other.name, undefined, { numeric: true }),
    );
    showFrames(this.pictures);
    byId("clip-actions").hidden = false;
    setText(byId("read-clip").querySelector("span"), `Read these ${pictures.length} pictures as one clip`);
  }

  /**
   * Show the video at a moment, so that people see where their clip begins or ends.
   * @param {number} seconds
   */
  #seekTo(seconds) {
    if (!this.file) return;
    this.video.hidden = false;
    this.video.currentTime = seconds;
  }

  /** @param {boolean} isOffered */
  #offerPulse(isOffered) {
    byId("pulse-card").hidden = !isOffered;
    byId("pulse-choice").hidden = true;
    byId("pulse-clip").hidden = !isOffered;
    this.pulse.reset("");
  }

  /** Play the chosen seconds and read the skin in every frame; the face is searched at their beginning. */
  async #measurePulse() {
    clearNotice();
    const { video, file } = this;
    const [start, end] = ["clip-start", "clip-end"].map((id) => Number(byId(id).value));
    if (!file) return;
    this.measuring.abort();
    this.measuring = new AbortController();
    const { signal } = this.measuring;
    this.pulse.reset("");
    const button = byId("pulse-clip");
    button.disabled = true;
    try {
      byId("stage").dataset.empty = "false";
      video.hidden = false;
      video.pause();
      video.currentTime = start;
      await event(video, "seeked");
      const picture = await frameOf(video);
      const box = await this.around.faceIn({ blob: picture, name: file.name });
      if (!box) throw new Error("No face was found where the clip begins. Choose a later second.");
      const scale = Math.max(1, Math.max(video.videoWidth, video.videoHeight) / LONGEST_SIDE);
      await this.#followSkin(box.map((value) => value * scale), end, signal);
      await this.pulse.ask();
    } catch (error) {
      if (!signal.aborted) notify(error instanceof Error ? error.message : String(error));
    } finally {
      if (this.file === file) video.pause();
      button.disabled = false;
    }
  }

  /**
   * @param {number[]} box
   * @param {number} end second
   * @param {AbortSignal} signal
   * @returns {Promise<void>}
   */
  #followSkin(box, end, signal) {
    const { video } = this;
    return new Promise((done, fail) => {
      const next = () =>
        video.requestVideoFrameCallback((/** @type {number} */ _, /** @type {{mediaTime: number}} */ { mediaTime }) => {
          if (signal.aborted || mediaTime >= end) return done();
          this.pulse.read(video, box, mediaTime);
          next();
        });
      next();
      video.addEventListener("ended", () => done(), { once: true, signal });
      video.addEventListener("pause", () => done(), { once: true, signal });
      signal.addEventListener("abort", () => done(), { once: true });
      video.play().catch(fail);
    });
  }

  /** Forget the video and the pictures. */
  close() {
    this.measuring.abort();
    this.#offerPulse(false);
    if (this.video.src) URL.revokeObjectURL(this.video.src);
    this.video.removeAttribute("src");
    this.video.load();
    this.video.hidden = true;
    this.file = null;
    this.pictures = [];
    showFrames([]);
    byId("clip-settings").hidden = true;
    byId("clip-actions").hidden = true;
  }

  async #read() {
    const button = byId("read-clip");
    button.disabled = true;
    try {
      const name = this.file?.name ?? `${this.pictures[0].name} and ${this.pictures.length - 1} more`;
      const frames = this.file ? await this.#frames(this.file.name) : this.pictures;
      showFrames(frames);
      this.video.hidden = true;
      await this.around.readClip(frames, name);
    } catch (error) {
      notify(error instanceof Error ? error.message : String(error));
    } finally {
      button.disabled = false;
    }
  }

  /** Return frames at even distances, by seeking. @param {string} name */
  async #frames(name) {
    const [start, end, count] = ["clip-start", "clip-end", "clip-count"].map((id) => Number(byId(id).value));
    const most = this.around.most();
    if (!(end > start && start >= 0))
      throw new Error("The end of the clip must be later than its start. Change the seconds.");
    if (!(Number.isInteger(count) && count >= 2 && count <= most))
      throw new Error(`A clip has 2 to ${most} frames. Change the number.`);
    this.video.pause();
    const frames = [];
    for (let number = 0; number < count; number++) {
      this.video.currentTime = start + ((number + 0.5) / count) * (end - start);
      await event(this.video, "seeked");
      frames.push({ blob: await frameOf(this.video), name });
    }
    return frames;
  }
}

/**
 * Wait for an event of a video; raises after an error or ten seconds.
 * @param {HTMLVideoElement} video
 * @param {string} name
 * @returns {Promise<void>}
 */
function event(video, name) {
  return new Promise((done, fail) => {
    const stop = new AbortController();
    const end = (/** @type {() => void} */ then) => () => {
      stop.abort();
      window.clearTimeout(timer);
      then();
    };
    const broken = end(() => fail(new Error(CANNOT_PLAY)));
    const timer = window.setTimeout(broken, SEEK_MS);
    video.addEventListener(name, end(done), { signal: stop.signal });
    video.addEventListener("error", broken, { signal: stop.signal });
  });
}

/**
 * Return the seconds of a video; recordings of browsers do not say them before their end was sought.
 * @param {HTMLVideoElement} video
 */
async function length(video) {
  if (video.duration === Infinity) {
    video.currentTime = 1e7;
    await event(video, "seeked");
    if (video.duration === Infinity) return video.currentTime;
  }
  return video.duration;
}

/**
 * @param {HTMLVideoElement} video
 * @returns {Promise<Blob>}
 */
async function frameOf(video) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(video.videoWidth, video.videoHeight));
  const canvas = element("canvas", {
    width: Math.round(video.videoWidth * scale),
    height: Math.round(video.videoHeight * scale),
  });
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((/** @type {(blob: Blob | null) => void} */ done) =>
    canvas.toBlob(done, "image/jpeg", QUALITY),
  );
  if (!blob) throw new Error(CANNOT_PLAY);
  return blob;
}

/** @param {{blob: Blob, name: string}[]} frames */
function showFrames(frames) {
  const strip = byId("frame-strip");
  for (const picture of strip.querySelectorAll("img")) URL.revokeObjectURL(picture.src);
  strip.replaceChildren(
    ...frames.map(({ blob }, number) =>
      element(
        "li",
        {},
        element("img", { src: URL.createObjectURL(blob), alt: `Frame ${number + 1}`, width: 64, height: 64 }),
      ),
    ),
  );
}
