/** The picture with its faces' boxes on a canvas, crisp on dense screens. */

const FONT = "600 13px system-ui, 'Segoe UI', Roboto, Arial, sans-serif";
const TAG_HEIGHT = 24;

/**
 * A face to draw.
 * @typedef {{key: string, box: number[], text: string, detected?: boolean, landmarks?: number[][] | null}} Face
 */

/** A canvas that shows one picture as large as it fits. */
export class Stage {
  /**
   * @param {HTMLCanvasElement} canvas fills its parent
   * @param {(key: string) => void} onPick called with the key of a face that was clicked
   */
  constructor(canvas, onPick) {
    this.canvas = canvas;
    /** @type {CanvasImageSource | null} */
    this.picture = null;
    /** Width and height in pixels of the picture, which the boxes count. @type {[number, number]} */
    this.size = [4, 3];
    /** @type {Face[]} */
    this.faces = [];
    this.mirrored = false;
    /** @type {string | null} */
    this.chosen = null;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("click", (event) => {
      const face = this.faceAt(event.offsetX, event.offsetY);
      if (face) onPick(face.key);
    });
  }

  /**
   * Show a picture.
   * @param {CanvasImageSource | null} picture null where the browser cannot show it: the boxes stand alone
   * @param {[number, number]} size
   * @param {Face[]} faces
   * @param {boolean} [mirrored]
   */
  show(picture, size, faces, mirrored = false) {
    Object.assign(this, { picture, size, faces, mirrored });
    this.draw();
  }

  /** Remove the picture. */
  clear() {
    this.show(null, [4, 3], []);
  }

  /** Return where the picture stands on the canvas, in CSS pixels. */
  place() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const scale = Math.min(width / this.size[0], height / this.size[1]);
    return { scale, left: (width - this.size[0] * scale) / 2, top: (height - this.size[1] * scale) / 2 };
  }

  /** Draw everything again. */
  draw() {
    const { canvas } = this;
    const density = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * density);
    const height = Math.round(canvas.clientHeight * density);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    if (!context || !width || !height) return;
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    this.#drawPicture(context);
    const last = this.faces.filter((face) => face.key === this.chosen);
    for (const face of [...this.faces.filter((face) => face.key !== this.chosen), ...last])
      this.#drawFace(context, face);
  }

  /** @param {CanvasRenderingContext2D} context */
  #drawPicture(context) {
    if (!this.picture) return;
    const { scale, left, top } = this.place();
    context.save();
    context.translate(left, top);
    if (this.mirrored) context.transform(-1, 0, 0, 1, this.size[0] * scale, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.picture, 0, 0, this.size[0] * scale, this.size[1] * scale);
    context.restore();
  }

  /**
   * Return the corners of a face's box on the canvas, in CSS pixels.
   * @param {number[]} box
   */
  #corners([x0, y0, x1, y1]) {
    const { scale, left, top } = this.place();
    const [low, high] = this.mirrored ? [this.size[0] - x1, this.size[0] - x0] : [x0, x1];
    return [left + low * scale, top + y0 * scale, left + high * scale, top + y1 * scale];
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Face} face
   */
  #drawFace(context, face) {
    const [x0, y0, x1, y1] = this.#corners(face.box);
    const chosen = face.key === this.chosen;
    context.setLineDash(face.detected === false ? [6, 5] : []);
    // A dark edge under a light line is visible on any picture.
    for (const [width, colour] of [
      [chosen ? 6 : 4, "rgb(0 0 0 / 60%)"],
      [chosen ? 3 : 2, chosen ? "#5eead4" : "#fff"],
    ]) {
      context.lineWidth = Number(width);
      context.strokeStyle = String(colour);
      context.beginPath();
      context.roundRect(x0, y0, x1 - x0, y1 - y0, 6);
      context.stroke();
    }
    context.setLineDash([]);
    if (face.landmarks) this.#drawLandmarks(context, face.landmarks);
    this.#drawTag(context, face.text, x0, y0, chosen);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number[][]} points
   */
  #drawLandmarks(context, points) {
    context.fillStyle = "#5eead4";
    context.strokeStyle = "rgb(0 0 0 / 60%)";
    context.lineWidth = 1;
    for (const [x, y] of points) {
      const [left, top] = this.#corners([x, y, x, y]);
      context.beginPath();
      context.arc(left, top, 2, 0, 2 * Math.PI);
      context.stroke();
      context.fill();
    }
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {string} text
   * @param {number} x
   * @param {number} y
   * @param {boolean} chosen
   */
  #drawTag(context, text, x, y, chosen) {
    context.font = FONT;
    const width = context.measureText(text).width + 16;
    const left = Math.max(2, Math.min(x - 1, this.canvas.clientWidth - width - 2));
    const top = y - TAG_HEIGHT - 4 < 0 ? Math.max(2, y + 4) : y - TAG_HEIGHT - 4;
    context.fillStyle = chosen ? "#0f766e" : "rgb(15 20 27 / 85%)";
    context.beginPath();
    context.roundRect(left, top, width, TAG_HEIGHT, 6);
    context.fill();
    context.fillStyle = "#fff";
    context.textBaseline = "middle";
    context.fillText(text, left + 8, top + TAG_HEIGHT / 2 + 0.5);
  }

  /**
   * Return the smallest face at a place, undefined if there is none.
   * @param {number} x in CSS pixels
   * @param {number} y
   */
  faceAt(x, y) {
    const area = (/** @type {Face} */ { box }) => (box[2] - box[0]) * (box[3] - box[1]);
    return this.faces
      .filter(({ box }) => {
        const [x0, y0, x1, y1] = this.#corners(box);
        return x >= x0 && x <= x1 && y >= y0 && y <= y1;
      })
      .sort((one, other) => area(one) - area(other))[0];
  }
}
