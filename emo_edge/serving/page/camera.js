/** The camera of the browser, and its frames as JPEG files. */

const QUALITY = 0.8;
const LONGEST_SIDE = 640;

/**
 * Return why this page can have no camera at all, or null; each line of its help is text and code by turns.
 * @returns {{title: string, text: string, help: string[][]} | null}
 */
export function cameraBarrier() {
  const port = location.port || "80";
  if (!window.isSecureContext) {
    return {
      title: "The camera needs a secure address",
      text: `Browsers give the camera to https pages and to this machine only, not to ${location.origin}. Pictures and clips work here. For the camera, do one of these:`,
      help: [
        ["Open the page on the machine where the server runs: ", `http://127.0.0.1:${port}`],
        [
          "Bring the server to this machine: ",
          `ssh -L 8080:127.0.0.1:${port} ${location.hostname}`,
          ", then open ",
          "http://127.0.0.1:8080",
        ],
        ["Start the server with ", "--tls-cert", " and ", "--tls-key", ", and open its https address."],
      ],
    };
  }
  if (!navigator.mediaDevices?.getUserMedia) {
    return {
      title: "This browser has no camera",
      text: "Read pictures or clips, or open the page in another browser.",
      help: [],
    };
  }
  return null;
}

/** An open camera that plays in a video element. */
export class Camera {
  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.video = video;
    /** @type {MediaStream | null} */
    this.stream = null;
    this.longestSide = LONGEST_SIDE;
    // Two, because the frame that was sent is drawn while the next one is taken.
    this.canvases = [document.createElement("canvas"), document.createElement("canvas")];
    this.framesBefore = 0;
    this.presented = 0;
    this.taken = 0;
  }

  /**
   * Open a camera; raises what getUserMedia raises.
   * @param {string} deviceId empty for the browser's choice
   * @param {() => void} onEnd called if the camera goes away
   */
  async open(deviceId, onEnd) {
    const choice = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" };
    const stream = await navigator.mediaDevices.getUserMedia({
      video: { ...choice, width: { ideal: 1280 }, height: { ideal: 720 } },
      audio: false,
    });
    this.stream = stream;
    stream.getVideoTracks()[0].addEventListener("ended", onEnd);
    this.video.srcObject = stream;
    await this.video.play();
    this.presented = 0;
    this.#count(stream);
    this.framesBefore = this.#played();
    this.taken = 0;
  }

  /** Release the camera: its light goes out. */
  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.srcObject = null;
  }

  /** Return the cameras by id and name; names are empty before the first permission. */
  async devices() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === "videoinput").map(({ deviceId, label }) => ({ deviceId, label }));
  }

  /** Return the id of the open camera. */
  get deviceId() {
    return this.stream?.getVideoTracks()[0].getSettings().deviceId ?? "";
  }

  /** Return true if the camera looks at whoever sits in front of the screen. */
  get looksBack() {
    return this.stream?.getVideoTracks()[0].getSettings().facingMode !== "environment";
  }

  /** Return the frames that the camera has given since it was opened. */
  get frames() {
    return this.#played() - this.framesBefore;
  }

  #played() {
    return this.video.getVideoPlaybackQuality?.().totalVideoFrames || this.presented;
  }

  /**
   * Count frames for Firefox, whose playback quality counts none of a camera.
   * @param {MediaStream} stream
   */
  #count(stream) {
    this.video.requestVideoFrameCallback?.((_, { presentedFrames }) => {
      if (this.stream !== stream) return;
      this.presented = presentedFrames;
      this.#count(stream);
    });
  }

  /**
   * Take a frame; null while the camera gives no new one.
   * @param {number} mostBytes
   * @returns {Promise<{blob: Blob, picture: HTMLCanvasElement, takenMs: number} | null>}
   */
  async grab(mostBytes) {
    const { video } = this;
    if (!this.stream || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || !video.videoWidth) return null;
    const played = this.#played();
    if (played && played === this.taken) return null;
    this.taken = played;
    const takenMs = performance.now();
    this.canvases.reverse();
    const [canvas] = this.canvases;
    for (;;) {
      const scale = Math.min(1, this.longestSide / Math.max(video.videoWidth, video.videoHeight));
      canvas.width = Math.max(1, Math.round(video.videoWidth * scale));
      canvas.height = Math.max(1, Math.round(video.videoHeight * scale));
      canvas.getContext("2d")?.drawImage(video, 0, 0, canvas.width, canvas.height);
      const blob = await new Promise((/** @type {(blob: Blob | null) => void} */ done) =>
        canvas.toBlob(done, "image/jpeg", QUALITY),
      );
      if (!blob) return null;
      if (blob.size <= mostBytes || this.longestSide <= 64) return { blob, picture: canvas, takenMs };
      this.longestSide = Math.round(this.longestSide * 0.75);
    }
  }
}
