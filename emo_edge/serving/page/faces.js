/** Cards of the faces: label, distribution, facts. Live cards change in place, so that focus stays where it is. */

import { byId, duration, element, percent, setText } from "./dom.js";
import { answerNodes, factNodes } from "./facts.js";
import { places } from "./palette.js";
import { taskName } from "./tasks.js";

/** With more faces than these only one card is open at a time. */
const MOST_OPEN = 2;

/**
 * A face as a card shows it.
 * @typedef {{
 *   key: string, name: string, label: string | null, probabilities: Record<string, number>,
 *   values?: Record<string, number>, note?: string, facts?: any, factsAsked?: boolean,
 *   answers?: Record<string, string>, empty?: string, units?: Record<string, any>, task?: any,
 * }} Card
 */

/** The list of cards. */
export class FaceCards {
  /** @param {(key: string) => void} onPick called with the key of a face that was chosen */
  constructor(onPick) {
    this.list = byId("faces");
    this.onPick = onPick;
    /** @type {Map<string, {node: HTMLElement, update: (card: Card, chosen: boolean, open: boolean) => void, shape: string}>} */
    this.cards = new Map();
  }

  /**
   * Show faces instead of those before.
   * @param {Card[]} faces
   * @param {string | null} chosen key of the face that the picture and the chart point out
   * @param {string} empty what stands there without a face
   */
  show(faces, chosen, empty) {
    const keys = new Set(faces.map(({ key }) => key));
    for (const [key, { node }] of this.cards) {
      if (keys.has(key)) continue;
      node.remove();
      this.cards.delete(key);
    }
    const open = faces.length > MOST_OPEN ? (chosen ?? faces[0].key) : null;
    for (const [place, face] of faces.entries()) {
      this.#show(face, place, faces.length > 1, face.key === chosen, open === null || face.key === open);
    }
    byId("faces-empty").hidden = faces.length > 0;
    setText(byId("faces-empty"), empty);
    setText(byId("face-count"), faces.length ? String(faces.length) : "");
  }

  /**
   * @param {Card} face
   * @param {number} place
   * @param {boolean} several
   * @param {boolean} chosen
   * @param {boolean} open
   */
  #show(face, place, several, chosen, open) {
    const shape = JSON.stringify([
      several,
      Object.keys(face.probabilities),
      face.facts ?? null,
      face.factsAsked,
      face.answers,
      face.task?.answer,
    ]);
    let card = this.cards.get(face.key);
    if (!card || card.shape !== shape) {
      const made = { ...makeCard(face, several, () => this.onPick(face.key)), shape };
      if (card) card.node.replaceWith(made.node);
      this.cards.set(face.key, made);
      card = made;
    }
    if (this.list.children[place] !== card.node) this.list.insertBefore(card.node, this.list.children[place] ?? null);
    card.update(face, several && chosen, open);
  }
}

/**
 * @param {Card} face
 * @param {boolean} several
 * @param {() => void} pick
 */
function makeCard(face, several, pick) {
  const name = several
    ? element(
        "button",
        { className: "face-name", type: "button", title: "Point out this face", onclick: pick },
        face.name,
      )
    : element("span", { className: "face-name" }, face.name);
  const label = element("strong", { className: "face-label" });
  const sure = element("span", { className: "face-sure" });
  const note = element("p", { className: "face-note" });
  const colours = places(Object.keys(face.probabilities));
  const bars = new Map(Object.keys(face.probabilities).map((each) => [each, makeBar(each, colours.get(each) ?? 0)]));
  const values = element("ul", { className: "values" });
  const units = element("p", { className: "face-units hint" });
  const node = element(
    "li",
    { className: "face" },
    element("div", { className: "face-head" }, name, label, sure),
    note,
    element("ul", { className: "bars" }, ...[...bars.values()].map((bar) => bar.node)),
    values,
    units,
    ...answerNodes(face.answers ?? {}),
    face.factsAsked ? factNodes(face.facts) : null,
  );
  const update = (/** @type {Card} */ now, /** @type {boolean} */ chosen, /** @type {boolean} */ open) => {
    const head = headOf(now);
    setText(label, head.text || now.empty || "no label");
    setText(sure, head.sure === null ? "" : percent(head.sure));
    setText(note, now.note ?? "");
    note.hidden = !now.note;
    for (const [each, bar] of bars) bar.update(now.probabilities[each] ?? 0, each === now.label);
    const texts = Object.entries(now.values ?? {}).map(([each, value]) => `${each} ${value.toFixed(2)}`);
    if (values.childElementCount !== texts.length) values.replaceChildren(...texts.map(() => element("li")));
    texts.forEach((text, place) => setText(values.children[place], text));
    values.hidden = !texts.length;
    setText(units, now.units ? `Action units: ${activeUnits(now.units).join(", ") || "none active"}` : "");
    units.hidden = !now.units;
    node.dataset.chosen = String(chosen);
    node.dataset.open = String(open);
    if (several) name.setAttribute("aria-pressed", String(chosen));
  };
  return { node, update };
}

/**
 * Return what stands above the bars of a face: its label or the answer of a task, and the probability.
 * @param {{label: string | null, probabilities: Record<string, number>, task?: any}} face
 * @returns {{text: string, sure: number | null}}
 */
function headOf({ label, probabilities, task }) {
  if (task?.answer === "open") return { text: `${taskName(task.name)}, in words`, sure: null };
  // A number beside the yes or no would look like its own: it is the label's, and stands below.
  if (task?.answer === "judgement") return { text: `${task.label}: ${task.text}`, sure: null };
  return { text: label ?? "", sure: label === null ? null : (probabilities[label] ?? 0) };
}

/**
 * Return the label or the answer of a face with its probability, in one line; empty without one.
 * @param {any} reading
 */
export function headText(reading) {
  const { text, sure } = headOf(reading);
  const { task } = reading;
  if (task?.answer === "judgement") return `${task.label} ${percent(task.probability)}: ${task.text}`;
  return sure === null ? text : `${text} ${percent(sure)}`;
}

/**
 * Return the active units with the letters of their intensities, such as "AU12 C".
 * @param {Record<string, any>} units
 */
function activeUnits(units) {
  return Object.entries(units)
    .filter(([, { active }]) => active)
    .map(([name, { level }]) => (level ? `${name} ${level}` : name));
}

/**
 * @param {string} label
 * @param {number} place in the palette
 */
function makeBar(label, place) {
  const fill = element("span", { className: `fill series-${(place % 8) + 1}` });
  const value = element("span", { className: "bar-value" });
  const node = element(
    "li",
    { className: "bar" },
    element("span", { className: "bar-name", title: label }, label),
    element("span", { className: "rail", "aria-hidden": "true" }, fill),
    value,
  );
  const update = (/** @type {number} */ probability, /** @type {boolean} */ first) => {
    fill.style.setProperty("--part", String(probability));
    setText(value, percent(probability));
    node.dataset.first = String(first);
  };
  return { node, update };
}

/**
 * Return the cards of one result.
 * @param {any} result an object of result-1.json
 * @param {{faceFacts: boolean, demographics: boolean}} options that it was asked with
 * @returns {Card[]}
 */
export function cardsOfResult(result, options) {
  return result.readings.map((/** @type {any} */ reading, /** @type {number} */ place) => ({
    key: String(place),
    name: `Face ${place + 1}`,
    label: reading.label,
    probabilities: sorted(reading.probabilities),
    units: reading.action_units,
    values: reading.values,
    note: noteOf(reading),
    task: reading.task,
    facts: factsOf(reading.face, options),
    factsAsked: options.faceFacts || options.demographics,
    answers: reading.answers,
  }));
}

/** @param {Record<string, number>} probabilities */
function sorted(probabilities) {
  return Object.fromEntries(Object.entries(probabilities).sort((one, other) => other[1] - one[1]));
}

/** @param {any} reading */
function noteOf(reading) {
  const ms = Object.values(reading.stage_ms ?? {}).reduce((sum, each) => Number(sum) + Number(each), 0);
  const frames = reading.frames > 1 ? `over ${reading.frames} frames` : "";
  const time = ms ? `read in ${duration(Number(ms))}${reading.cold ? ", the first one is slower" : ""}` : "";
  const { task } = reading;
  const judged = task?.answer === "judgement" ? `probability of ${task.label} ${percent(task.probability)}` : "";
  return [judged, frames, time].filter(Boolean).join(", ");
}

/**
 * @param {any} face
 * @param {{faceFacts: boolean, demographics: boolean}} options
 */
function factsOf(face, options) {
  if (!face) return null;
  return {
    ...(options.faceFacts ? { pose: face.pose_degrees, attributes: face.attributes } : {}),
    ...(options.demographics ? { demographics: face.demographics } : {}),
  };
}
