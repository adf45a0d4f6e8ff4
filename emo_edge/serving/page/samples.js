/** The packaged drawings, where the server's model reads drawings. */

import * as api from "./api.js";
import { byId, element } from "./dom.js";

/** Drawings that are shown before the button for more. */
const FIRST = 14;

/**
 * Show the packaged drawings; the server gives paths only where the model reads drawings.
 * @param {string[]} paths
 * @param {(picture: {blob: Blob, name: string}) => void} take
 */
export async function showSamples(paths, take) {
  byId("samples").hidden = !paths.length;
  const strip = byId("sample-strip");
  strip.replaceChildren();
  const show = async (/** @type {string[]} */ some, /** @type {number} */ first) => {
    for (const [number, path] of some.entries()) {
      const blob = await api.sample(path).catch(() => null);
      if (!blob) continue;
      const name = `drawing ${first + number + 1}`;
      const picture = element("img", { src: URL.createObjectURL(blob), alt: "", width: 64, height: 64 });
      strip.append(
        element(
          "li",
          {},
          element(
            "button",
            { type: "button", className: "thumb", "aria-label": `Read ${name}`, onclick: () => take({ blob, name }) },
            picture,
          ),
        ),
      );
    }
  };
  await show(paths.slice(0, FIRST), 0);
  if (paths.length <= FIRST) return;
  const more = element("button", { type: "button", className: "thumb more" }, `${paths.length - FIRST} more`);
  const item = element("li", {}, more);
  more.addEventListener("click", () => {
    item.remove();
    void show(paths.slice(FIRST), FIRST);
  });
  strip.append(item);
}
