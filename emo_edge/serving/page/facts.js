/** What a card shows besides the labels: answers, head pose, attributes, and guesses of age, gender and race. */

import { element, percent } from "./dom.js";

/** Attributes below are not listed. */
const PRESENT = 0.5;

/** @param {Record<string, string>} answers */
export function answerNodes(answers) {
  return Object.entries(answers).map(([question, answer]) =>
    element(
      "div",
      { className: "answer" },
      element("p", { className: "question" }, question),
      element("p", {}, answer),
    ),
  );
}

/**
 * Return pose, attributes and demographics of a face.
 * @param {any} facts `face` of result-1.json
 */
export function factNodes(facts) {
  if (!facts) return element("p", { className: "hint" }, "This model gives no face facts.");
  const list = element("dl", { className: "facts" });
  const add = (/** @type {string} */ term, /** @type {Node | string} */ text) =>
    list.append(element("div", {}, element("dt", {}, term), element("dd", {}, text)));
  if (facts.pose) {
    const { pitch, yaw, roll } = facts.pose;
    add("Head pose", `pitch ${degrees(pitch)}, yaw ${degrees(yaw)}, roll ${degrees(roll)}`);
  }
  if (facts.attributes) {
    const present = Object.entries(facts.attributes).filter(([, value]) => Number(value) >= PRESENT);
    present.sort((one, other) => Number(other[1]) - Number(one[1]));
    const chips = present.map(([each, value]) =>
      element("li", { className: "tag" }, `${each.replaceAll("_", " ")} ${percent(Number(value))}`),
    );
    add("Attributes", chips.length ? element("ul", { className: "tags" }, ...chips) : "none above 50\u202f%");
  }
  for (const [head, scores] of Object.entries(facts.demographics ?? {})) {
    const [best] = Object.entries(/** @type {Record<string, number>} */ (scores)).sort(
      (one, other) => other[1] - one[1],
    );
    if (best) add(`${head[0].toUpperCase()}${head.slice(1)} (a guess)`, `${best[0]}, ${percent(best[1])}`);
  }
  return list;
}

/** @param {number} value */
function degrees(value) {
  return `${Math.round(value) || 0}°`.replace("-", "\u2212");
}
