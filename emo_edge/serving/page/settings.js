/** The settings: task, labels, faces, face facts, age and gender and race. */

import { notify } from "./announce.js";
import { byId, element, setText } from "./dom.js";
import { Tasks } from "./tasks.js";

const OWN = "\u0000own";

export class Settings {
  /**
   * @param {(what: "labels" | "other") => void} onChange
   * @param {(profile: string) => Promise<void>} onProfile
   */
  constructor(onChange, onProfile) {
    this.onChange = onChange;
    this.tasks = new Tasks(() => {
      if (!this.tasks.options().task) byId("own-labels").hidden = byId("label-set").value !== OWN;
      onChange("other");
    });
    byId("profile-name").addEventListener("change", async () => {
      byId("profile-name").disabled = true;
      await onProfile(byId("profile-name").value);
      byId("profile-name").disabled = false;
    });
    /** @type {string[]} own labels in use */
    this.own = [];
    /** @type {Map<string, string[] | null>} label sets; null where the server does not list the labels */
    this.sets = new Map();
    byId("label-set").addEventListener("change", () => this.#choose());
    byId("own-labels").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#useOwn();
    });
    for (const id of ["which-faces", "face-facts", "demographics"])
      byId(id).addEventListener("change", () => onChange("other"));
  }

  /**
   * Offer what the server has.
   * @param {any} info of /v1/info
   */
  offer(info) {
    const sets = Array.isArray(info.label_sets)
      ? info.label_sets.map((/** @type {string} */ name) => [name, null])
      : Object.entries(info.label_sets ?? {});
    this.sets = new Map([["", info.labels ?? []], ...sets]);
    byId("label-set").replaceChildren(
      element("option", { value: "" }, "Default of the server"),
      ...sets.map((/** @type {[string, string[] | null]} */ [name]) => element("option", { value: name }, name)),
      element("option", { value: OWN }, "My own labels …"),
    );
    this.#offerProfiles(info.profiles ?? [], info.profile);
    this.showLabels(info.labels ?? []);
    this.tasks.offer(info.tasks ?? []);
    for (const id of ["face-facts", "demographics"]) {
      const row = byId(id).closest("label");
      if (row) row.hidden = info.has_face_facts === false;
    }
  }

  /**
   * @param {string[]} names
   * @param {string} current
   */
  #offerProfiles(names, current) {
    for (const id of ["profile-choice", "profile-hint"]) byId(id).hidden = names.length < 2;
    byId("profile-name").replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    byId("profile-name").value = current;
  }

  /** Show the profile of before again, after another one was refused. @param {string} name */
  showProfile(name) {
    byId("profile-name").value = name;
  }

  /**
   * Show the settings of a tab: the camera has no tasks.
   * @param {string} tab
   */
  follow(tab) {
    this.tasks.show(tab !== "camera");
    byId("own-labels").hidden = byId("label-set").value !== OWN || byId("label-choice").hidden;
  }

  /**
   * Show the labels that are in use.
   * @param {string[]} labels
   */
  showLabels(labels) {
    setText(byId("label-hint"), labels.length ? `In use: ${labels.join(", ")}` : "This model gives no labels.");
  }

  /** Return the options of a reading. @returns {import("./api.js").Options} */
  options() {
    const chosen = byId("label-set").value;
    return {
      labels: chosen === OWN ? this.own.join(",") : chosen,
      faces: byId("which-faces").value,
      faceFacts: byId("face-facts").checked,
      demographics: byId("demographics").checked,
      ...this.tasks.options(),
    };
  }

  /** Return the labels as the live connection takes them; null is the server's choice. @returns {string | string[] | null} */
  liveLabels() {
    const chosen = byId("label-set").value;
    if (chosen === OWN) return this.own.length ? this.own : null;
    return chosen || null;
  }

  #choose() {
    const own = byId("label-set").value === OWN;
    byId("own-labels").hidden = !own;
    if (own) return byId("own-label-text").focus();
    const labels = this.sets.get(byId("label-set").value);
    if (labels) this.showLabels(labels);
    else setText(byId("label-hint"), "");
    this.onChange("labels");
  }

  #useOwn() {
    const labels = [
      ...new Set(
        byId("own-label-text")
          .value.split(",")
          .map((/** @type {string} */ each) => each.trim())
          .filter(Boolean),
      ),
    ];
    if (labels.length < 2) return notify("Write at least two labels, separated by commas.");
    this.own = /** @type {string[]} */ (labels);
    this.showLabels(this.own);
    this.onChange("labels");
  }
}
