/** Pictures made smaller in the browser: for lists, and for a server that takes no larger ones. */

import { element } from "./dom.js";

const THUMB = 80;
const LONGEST_SIDES = [2560, 1280, 640];
const QUALITY = 0.9;
/** What a form takes besides its pictures. */
const FORM_BYTES = 65536;

/**
 * Return the address of a small square of a picture; null where the browser cannot show the picture.
 * @param {Blob} picture
 * @returns {Promise<string | null>}
 */
export async function thumbnail(picture) {
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
 * Return pictures that fit into one request; those that do already stay as they are.
 * @param {{blob: Blob, name: string}[]} pictures
 * @param {{body_bytes?: number, pixels?: number}} limits of the server
 */
export async function fitted(pictures, { body_bytes: mostBytes = Infinity, pixels: mostPixels = Infinity }) {
  const pixels = await Promise.all(pictures.map(({ blob }) => pixelsOf(blob)));
  let fits = Math.max(...pixels) <= mostPixels && bytesOf(pictures) <= mostBytes;
  let fitting = pictures;
  for (const side of fits ? [] : LONGEST_SIDES) {
    if (!fits)
      fitting = await Promise.all(pictures.map(async ({ blob, name }) => ({ blob: await smaller(blob, side), name })));
    fits = bytesOf(fitting) <= mostBytes;
  }
  return fitting;
}

/** @param {{blob: Blob}[]} pictures */
function bytesOf(pictures) {
  return pictures.reduce((sum, { blob }) => sum + blob.size, FORM_BYTES);
}

/**
 * Return the pixels of a picture by its header; 0 where the browser cannot show the picture.
 * @param {Blob} picture
 * @returns {Promise<number>}
 */
function pixelsOf(picture) {
  const image = new Image();
  image.src = URL.createObjectURL(picture);
  return new Promise((done) => {
    image.onload = () => done(image.naturalWidth * image.naturalHeight);
    image.onerror = () => done(0);
  }).finally(() => URL.revokeObjectURL(image.src));
}

/**
 * Return a picture as JPEG with a longest side; as it is where the browser cannot show it.
 * @param {Blob} picture
 * @param {number} side in pixels
 * @returns {Promise<Blob>}
 */
async function smaller(picture, side) {
  const bitmap = await createImageBitmap(picture).catch(() => null);
  if (!bitmap) return picture;
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = element("canvas", {
    width: Math.round(bitmap.width * scale),
    height: Math.round(bitmap.height * scale),
  });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((done) =>
    canvas.toBlob((/** @type {Blob | null} */ blob) => done(blob ?? picture), "image/jpeg", QUALITY),
  );
}
