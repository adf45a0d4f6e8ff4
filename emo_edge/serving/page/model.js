/** What the server says about its model: name, purpose, profile, device, limits. */

import { byId, element, fileSize, setText } from "./dom.js";
import { ended } from "./errors.js";

/**
 * Show name, purpose, profile and device.
 * @param {any} model the answer of /v1/info
 */
export function showModel(model) {
  setText(byId("model-name"), model.name);
  document.title = `${model.name} · emo-edge`;
  for (const key of ["profile", "device"]) {
    setText(byId(key), model[key] ?? "");
    byId(`chip-${key}`).hidden = !model[key];
  }
  byId("purpose").hidden = !model.purpose;
  setText(byId("purpose-text"), ended(model.purpose ?? ""));
  byId("purpose-hint").hidden = !model.samples?.length;
  showRecording(model.recording ?? "off");
  showAbout(model);
}

const RECORDINGS = {
  readings: "This server stores every reading.",
  pictures: "This server stores every reading and every picture.",
};

/**
 * Say what the server stores, wherever the page speaks of it.
 * @param {"off" | "readings" | "pictures"} recording
 */
function showRecording(recording) {
  byId("recording").hidden = recording === "off";
  setText(byId("recording-text"), recording === "off" ? "" : RECORDINGS[recording]);
  for (const node of document.querySelectorAll("[data-off]"))
    setText(node, /** @type {HTMLElement} */ (node).dataset[recording] ?? "");
}

/** @param {any} model */
function showAbout(model) {
  const limits = model.limits ?? {};
  /** @type {[string, string | undefined][]} */
  const lines = [
    ["Model", model.name],
    ["Purpose", model.purpose],
    ["Profile", model.profile],
    ["Device", model.device],
    ["Labels", (model.labels ?? []).join(", ")],
    ["Values", (model.values ?? []).map((/** @type {any} */ value) => value.name ?? value).join(", ")],
    ["Question", model.question],
    ["Largest request", limits.body_bytes && fileSize(limits.body_bytes)],
    ["Largest picture", limits.pixels && `${(limits.pixels / 1e6).toFixed(1)} megapixels`],
    ["Pictures of a clip", limits.pictures && String(limits.pictures)],
    ["emo-edge", model.emo_edge],
  ];
  byId("about").replaceChildren(
    ...lines
      .filter(([, text]) => text)
      .map(([term, text]) => element("div", {}, element("dt", {}, term), element("dd", {}, text ?? ""))),
  );
}
