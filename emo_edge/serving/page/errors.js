/** One plain sentence, with the next step, for everything that can go wrong. */

import { fileSize } from "./dom.js";

/** An answer of the server that is no result, or none at all (`status` 0). */
export class ApiError extends Error {
  /**
   * @param {number} status of HTTP; 0 if the server did not answer
   * @param {string} message of the server
   * @param {number | null} [retryAfterS] seconds that the server asks to wait
   */
  constructor(status, message, retryAfterS = null) {
    super(message);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/** @type {Record<number, string>} */
const SENTENCES = {
  0: "The server does not answer. Check that “emo-edge serve” is running, then try again.",
  401: "The server does not accept the token. Enter it again.",
  403: "The server does not accept the address in your browser's address bar. Open the page under the name that the server printed at its start.",
  404: "The server does not know this address. Reload the page: the server may have been updated.",
  500: "The server failed at this picture. Its log says why; other pictures can be read.",
  503: "The server is starting or shutting down. Try again in a moment.",
  504: "The reading took too long. Try again, or choose a smaller picture.",
};

/**
 * Return the sentence for an error of the HTTP interface.
 * @param {unknown} error
 * @param {{body_bytes?: number, pixels?: number}} [limits]
 * @param {string} [name] of the picture
 */
export function sentence(error, limits = {}, name = "This picture") {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error);
  if (error.status === 413) {
    const size = limits.body_bytes ? ` (at most ${fileSize(limits.body_bytes)})` : "";
    return `${name} is too large for the server${size}. Make it smaller and try again.`;
  }
  if (error.status === 415)
    return `${name} is of a kind that the server does not read. Save it as JPEG, PNG or WebP and try again.`;
  if (error.status === 422)
    return `${name} cannot be read; it may be damaged. Save it again as JPEG or PNG and try again.`;
  if (error.status === 429) {
    const wait = error.retryAfterS ?? 1;
    return `The server is busy. Try again in ${wait} ${wait === 1 ? "second" : "seconds"}.`;
  }
  if (error.status === 400)
    return `The server does not accept the request: ${ended(error.message)} Change the settings and try again.`;
  return (
    SENTENCES[error.status] ??
    `The server answered ${error.status}: ${ended(error.message)} Reload the page and try again.`
  );
}

/**
 * Return a text that ends with a full stop.
 * @param {string} text
 */
export function ended(text) {
  return /[.!?]$/.test(text.trim()) ? text.trim() : `${text.trim()}.`;
}

/**
 * Return why the camera did not open, and what to do.
 * @param {unknown} error of getUserMedia
 */
export function cameraSentence(error) {
  const name = error instanceof Error ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError")
    return "The camera was refused. Allow it in the address bar of the browser, then press “Start camera” again.";
  if (name === "NotFoundError" || name === "OverconstrainedError")
    return "No camera was found. Connect one and press “Start camera” again, or read pictures.";
  if (name === "NotReadableError" || name === "AbortError")
    return "Another program uses the camera. Close it, then press “Start camera” again.";
  return "The camera did not open. Choose another camera, or read pictures.";
}

/**
 * Return the sentence for the end of a live connection, and whether trying again makes sense.
 * @param {number} code of the WebSocket's close
 * @param {string} reason
 * @returns {{text: string, again: boolean}}
 */
export function closeSentence(code, reason) {
  const why = reason ? ` (${reason})` : "";
  if (code === 1001) return { text: "The server is going away. The page connects again.", again: true };
  if (code === 1003) return { text: `The server does not read these frames${why}. Reload the page.`, again: false };
  if (code === 1008)
    return {
      text: `The server ended the live reading${why}. Change the labels or start the camera again.`,
      again: false,
    };
  if (code === 1009) return { text: "The frames were too large. The page sends smaller ones.", again: true };
  if (code === 1011)
    return { text: "The server failed at a frame; its log says why. The page connects again.", again: true };
  if (code === 4404) return { text: "The server has no such camera any more. Choose another one.", again: false };
  if (code === 1013)
    return {
      text: "The server has no room for another camera. The page tries again; close other tabs to make room.",
      again: true,
    };
  return { text: "The connection to the server was lost. The page connects again.", again: true };
}
