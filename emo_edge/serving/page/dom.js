/** Small helpers for the document. Text goes in as text nodes only: names and labels come from files. */

/**
 * Return the element with an id.
 * @param {string} id
 * @returns {any} typed loosely, because the caller knows which element it is
 */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`no element #${id}`);
  return node;
}

/**
 * Make an element.
 * @param {string} name
 * @param {Record<string, any>} [properties] properties of the node; `aria-*`, `data-*` and `role` become attributes
 * @param {...(Node | string | null)} children
 * @returns {any}
 */
export function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (/^(aria-|data-|role$)/.test(key)) node.setAttribute(key, String(value));
    else Object.assign(node, { [key]: value });
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/**
 * Set the text of an element; an unchanged text is left alone, so that screen readers are not disturbed.
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Return a number as a percentage for people.
 * @param {number} value from 0 to 1
 */
export const percent = (value) => `${Math.round(value * 100)}\u202f%`;

/**
 * Return a duration for people.
 * @param {number} ms
 */
export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 60000)} min`;
}

/**
 * Return a size for people.
 * @param {number} bytes
 */
export function fileSize(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1024))} KiB` : `${+(bytes / 2 ** 20).toFixed(1)} MiB`;
}

export const reducedMotion = window.matchMedia("(prefers-reduced-motion: reduce)");
