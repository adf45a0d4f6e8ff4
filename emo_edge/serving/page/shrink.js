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
 * @param {number} mostBytes of the request
 */
export async function fitted(pictures, mostBytes) {
  let fitting = pictures;
  const bytes = () => fitting.reduce((sum, { blob }) => sum + blob.size, FORM_BYTES);
  for (const side of LONGEST_SIDES) {
    if (bytes() <= mostBytes) break;
    fitting = await Promise.all(
      pictures.map(async ({ blob, name }) => ({ blob: (await smaller(blob, side)) ?? blob, name })),
    );
  }
  return fitting;
}

/**
 * Return a picture as JPEG with a longest side; null where the browser cannot show the picture.
 * @param {Blob} picture
 * @param {number} side in pixels
 * @returns {Promise<Blob | null>}
 */
async function smaller(picture, side) {
  const bitmap = await createImageBitmap(picture).catch(() => null);
  if (!bitmap) return null;
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = element("canvas", {
    width: Math.round(bitmap.width * scale),
    height: Math.round(bitmap.height * scale),
  });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
}
