/** The events of the camera, kept in this tab for a download. */

import { byId, setText } from "./dom.js";
import { download, fileName, liveTable } from "./export.js";

/** About twenty minutes; after that the oldest go. */
const MOST = 20000;

export class Recording {
  constructor() {
    /** @type {any[]} objects of live-event-1.json */
    this.events = [];
    byId("download-live-json").addEventListener("click", () => {
      const lines = this.events.map((event) => `${JSON.stringify(event)}\n`);
      download(fileName("jsonl"), lines.join(""), "application/jsonl");
    });
    byId("download-live-csv").addEventListener("click", () => {
      download(fileName("csv"), liveTable(this.events), "text/csv");
    });
  }

  /**
   * Keep an event.
   * @param {any} event
   */
  add(event) {
    this.events.push(event);
    if (this.events.length > MOST) this.events.splice(0, MOST / 10);
    byId("live-downloads").hidden = false;
    setText(byId("live-count"), `Camera: ${this.events.length} events`);
  }
}
