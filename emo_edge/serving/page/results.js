/** What was read in this tab: the list, the choice, the downloads. Nothing is kept when the tab closes. */

import { byId, element, setText } from "./dom.js";
import { download, fileName, resultTable } from "./export.js";
import { headText } from "./faces.js";

/** Results whose pictures are kept; older ones leave the list. */
const MOST = 100;
/** Characters of an answer in words. */
const LONGEST = 120;

/**
 * A picture or clip that was read.
 * @typedef {{
 *   pictures: {blob: Blob, name: string}[], shown: Blob, clip: boolean, name: string, result: any,
 *   options: import("./api.js").Options, thumb: string | null,
 * }} Entry `shown` is the picture that the boxes lie in
 */

/** The list of results, newest first. */
export class Results {
  /** @param {(entry: Entry | null) => void} onPick called with the entry to show, null after all were removed */
  constructor(onPick) {
    this.onPick = onPick;
    /** @type {Entry[]} */
    this.entries = [];
    /** @type {Entry | null} */
    this.chosen = null;
    byId("clear-results").addEventListener("click", () => this.clear());
    byId("download-json").addEventListener("click", () =>
      download(fileName("json"), `${JSON.stringify(this.#documents(), null, 1)}\n`, "application/json"),
    );
    byId("download-csv").addEventListener("click", () =>
      download(fileName("csv"), resultTable(this.#documents()), "text/csv"),
    );
  }

  /**
   * Add an entry and show it.
   * @param {Entry} entry
   */
  add(entry) {
    this.entries.unshift(entry);
    for (const old of this.entries.splice(MOST)) forget(old);
    this.pick(entry);
  }

  /**
   * Show an entry.
   * @param {Entry} entry
   */
  pick(entry) {
    this.chosen = entry;
    this.#list();
    this.onPick(entry);
  }

  /** Remove all entries. */
  clear() {
    this.entries.splice(0).forEach(forget);
    this.chosen = null;
    this.#list();
    this.onPick(null);
  }

  /** Draw the list again, as after an entry was read anew. */
  #list() {
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.entry : undefined;
    byId("results").replaceChildren(
      ...this.entries.map((entry, place) => {
        const number = String(this.entries.length - place);
        const picture = entry.thumb
          ? element("img", { src: entry.thumb, alt: "", width: 40, height: 40 })
          : element("span", { className: "no-thumb", "aria-hidden": "true" });
        const button = element(
          "button",
          {
            type: "button",
            className: "result",
            "aria-pressed": entry === this.chosen,
            "data-entry": number,
            onclick: () => this.pick(entry),
          },
          picture,
          element("span", { className: "result-name" }, entry.name),
          element("span", { className: "result-label" }, summary(entry.result)),
        );
        return element("li", {}, button);
      }),
    );
    if (focused)
      /** @type {HTMLElement | null} */ (byId("results").querySelector(`[data-entry="${focused}"]`))?.focus();
    const some = this.entries.length > 0;
    byId("results-empty").hidden = some;
    byId("result-downloads").hidden = !some;
    byId("clear-results").hidden = !some;
    setText(byId("results-title"), some ? `Results (${this.entries.length})` : "Results");
  }

  #documents() {
    return this.entries.map(({ result }) => result).reverse();
  }
}

/**
 * Return a result in a few words.
 * @param {any} result
 */
export function summary(result) {
  if (result.error) return "not read";
  const [first] = result.readings;
  if (!first) return "no face";
  const label = spoken(first) || headText(first) || "no label";
  return result.readings.length > 1 ? `${label}, ${result.readings.length} faces` : label;
}

/** @param {any} reading */
function spoken({ task, answers }) {
  const text = task?.answer === "open" ? (Object.values(answers)[0] ?? task.text) : "";
  return text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : text;
}

/** @param {Entry} entry */
function forget({ thumb }) {
  if (thumb) URL.revokeObjectURL(thumb);
}
