/** The server's HTTP interface and the address of its WebSocket. The token never stands in a URL. */

import { ApiError } from "./errors.js";

const TOKEN_KEY = "emo-edge token";

/**
 * Options of a reading.
 * @typedef {{
 *   labels: string, faces: "all" | "largest", faceFacts: boolean, demographics: boolean,
 *   task: string, answer: string, label: string,
 * }} Options a task has labels of its own; without one it is empty
 */

/**
 * Return an address on this server, also where a proxy serves the page below a folder.
 * @param {string} path such as /v1/info
 */
function address(path) {
  return new URL(path.replace(/^\/+/, ""), document.baseURI);
}

/** Return the headers that carry the token. @returns {Record<string, string>} */
function headers() {
  const token = sessionStorage.getItem(TOKEN_KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/**
 * Keep the token as long as this tab lives.
 * @param {string} token
 */
export function keepToken(token) {
  sessionStorage.setItem(TOKEN_KEY, token.trim());
}

/**
 * Ask the server; raise ApiError for everything but a success.
 * @param {string} path
 * @param {RequestInit} [request]
 * @returns {Promise<Response>}
 */
async function ask(path, request = {}) {
  let response;
  try {
    response = await fetch(address(path), { ...request, headers: headers(), cache: "no-store" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "no answer");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  throw new ApiError(
    response.status,
    String(body?.error?.message ?? response.statusText),
    Number.isFinite(wait) ? wait : null,
  );
}

/** Return what the server says about itself: /v1/info. @returns {Promise<any>} */
export async function info() {
  return (await ask("v1/info")).json();
}

/**
 * Return a packaged drawing.
 * @param {string} path from `info().samples`
 * @returns {Promise<Blob>}
 */
export async function sample(path) {
  return (await ask(path)).blob();
}

/**
 * Read a picture, or several as one clip.
 * @param {{blob: Blob, name: string}[]} pictures
 * @param {Options} options
 * @param {{clip?: boolean, signal?: AbortSignal}} [how]
 * @returns {Promise<any>} an object of result-1.json
 */
export async function read(pictures, options, { clip = false, signal } = {}) {
  const form = new FormData();
  for (const { blob, name } of pictures) form.append("image", blob, name);
  if (options.task) {
    form.append("task", options.task);
    form.append("answer", options.answer);
    if (options.label) form.append("label", options.label);
  } else if (options.labels) form.append("labels", options.labels);
  if (clip) form.append("clip", "true");
  if (options.faceFacts) form.append("face_facts", "true");
  if (options.demographics) form.append("demographics", "true");
  form.append("faces", options.faces);
  const answer = await (await ask("v1/readings", { method: "POST", body: form, signal })).json();
  return answer.results[0];
}

/**
 * Have the server read with another profile, which takes some seconds.
 * @param {string} profile
 */
export async function changeProfile(profile) {
  await ask("v1/profile", { method: "POST", body: JSON.stringify({ profile }) });
}

/**
 * Return the heart rate of a face, or the reason why there is none.
 * @param {number[]} times seconds of the frames
 * @param {(number[] | null)[]} colours mean red, green and blue of the skin in each frame; null where it is not there
 * @returns {Promise<any>}
 */
export async function pulse(times, colours) {
  return (await ask("v1/pulse", { method: "POST", body: JSON.stringify({ times, colours }) })).json();
}

/**
 * Return address and subprotocols of the live WebSocket; the token is one of those that are offered.
 * @param {string} [source] a camera of the server; without one this browser sends pictures
 */
export function liveAddress(source) {
  const url = address(source ? `v1/live/${encodeURIComponent(source)}` : "v1/live");
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const token = sessionStorage.getItem(TOKEN_KEY);
  return { url: url.href, protocols: ["emo-edge.live.1", ...(token ? [`token.${base64url(token)}`] : [])] };
}

/** @param {string} text */
function base64url(text) {
  const bytes = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
