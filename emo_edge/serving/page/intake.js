/** Pictures that people choose, drop anywhere on the page, or paste. */

import { notify } from "./announce.js";
import { byId } from "./dom.js";

/**
 * Return the pictures among files; a file without a type may be one that only the server knows.
 * @param {Iterable<File>} files
 */
export function picturesOf(files) {
  return [...files]
    .filter(({ type }) => type === "" || type.startsWith("image/"))
    .map((file) => ({ blob: file, name: file.name || "pasted picture" }));
}

/**
 * Listen for pictures that are chosen, dropped anywhere or pasted.
 * @param {(pictures: {blob: Blob, name: string}[]) => void} take
 * @param {(video: File) => void} takeVideo
 */
export function listenForPictures(take, takeVideo) {
  const input = byId("picture-files");
  byId("choose-pictures").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take(picturesOf(input.files));
    input.value = "";
  });
  const files = (/** @type {DataTransfer | null} */ data) => [...(data?.files ?? [])];
  const accept = (/** @type {File[]} */ given) => {
    const video = given.find(({ type }) => type.startsWith("video/"));
    const pictures = picturesOf(given);
    if (pictures.length) take(pictures);
    else if (video) takeVideo(video);
    else if (given.length) notify("These files are no pictures. Choose JPEG, PNG or WebP files, or a video.");
  };
  document.addEventListener("paste", (event) => accept(files(event.clipboardData)));
  listenForDrops(accept, files);
}

/**
 * @param {(files: File[]) => void} accept
 * @param {(data: DataTransfer | null) => File[]} files
 */
function listenForDrops(accept, files) {
  const veil = byId("drop-veil");
  let depth = 0;
  const carriesFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  document.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth += 1;
    veil.hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth = Math.max(0, depth - 1);
    veil.hidden = depth === 0;
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    accept(files(event.dataTransfer));
  });
}
