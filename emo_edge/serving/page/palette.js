/** Colours of the labels. They are set in style.css, so that light and dark have their own. */

/** Places in the palette of labels that many models have, so that a label keeps its colour. @type {Record<string, number>} */
const USUAL = { sadness: 0, anger: 1, disgust: 2, surprise: 3, happiness: 4, joy: 4, fear: 5, contempt: 6, neutral: 7 };
const COLOURS = 8;
/** Dashes, in CSS pixels: lines stay apart without colour. */
const DASHES = [[], [8, 4], [2, 3], [10, 4, 2, 4], [], [5, 3], [16, 4], []];

/**
 * Return a place in the palette for each label, different ones as long as there are any.
 * @param {string[]} labels
 * @returns {Map<string, number>}
 */
export function places(labels) {
  const usual = labels.map((label) => USUAL[label.toLowerCase()]);
  const free = [...Array(COLOURS).keys()].filter((place) => !usual.includes(place));
  let next = 0;
  return new Map(labels.map((label, number) => [label, usual[number] ?? free[next++] ?? next++]));
}

/**
 * Return a colour of the palette as it is now, light or dark.
 * @param {number} place
 */
export function colour(place) {
  return styleValue(`--series-${(place % COLOURS) + 1}`);
}

/**
 * Return the dashes of a line; those of one colour differ.
 * @param {number} place
 */
export function dashes(place) {
  return DASHES[(place + Math.floor(place / COLOURS)) % DASHES.length];
}

/**
 * Return a custom property of the page's style.
 * @param {string} name such as --ink
 */
export function styleValue(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
