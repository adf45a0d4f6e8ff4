/** The page: joins the tabs, the settings and the results, and asks the server what it is. */

import { announce, clearNotice, notify, showServerState } from "./announce.js";
import * as api from "./api.js";
import { ClipTab } from "./clip.js";
import { byId, setText } from "./dom.js";
import { ApiError, ended, sentence } from "./errors.js";
import { cardsOfResult, FaceCards, headText } from "./faces.js";
import { listenForPictures } from "./intake.js";
import { LiveTab } from "./livetab.js";
import { showModel } from "./model.js";
import { Stage } from "./overlay.js";
import { Reader } from "./reader.js";
import { Results, summary } from "./results.js";
import { showSamples } from "./samples.js";
import { Settings } from "./settings.js";
import { askToken, listenForToken } from "./token.js";

const TABS = ["camera", "pictures", "clip"];
const LONGEST_WAIT_MS = 30000;

/** @type {any} what /v1/info answered */
let model = {};
/** @type {string | null} the face of the shown result that is pointed out */
let pointedOut = null;
/** @type {ImageBitmap | null} the picture of the shown result; null where the browser cannot show it */
let bitmap = null;
let tab = "pictures";
let connecting = false;

const stage = new Stage(byId("stage-canvas"), pick);
const cards = new FaceCards(pick);
const results = new Results(showEntry);
const settings = new Settings(changed, changeProfile);
const reader = new Reader({
  results,
  options: () => settings.options(),
  limits: () => model.limits ?? {},
  needToken: askToken,
  lost: () => void connect(),
});
const live = new LiveTab({
  stage,
  cards,
  labels: () => settings.liveLabels(),
  showLabels: (labels) => settings.showLabels(labels),
  needToken: askToken,
});
const clip = new ClipTab({
  readClip: (frames, name) => reader.readClip(frames, name),
  most: () => model.limits?.pictures ?? 16,
  faceIn: async (picture) => {
    const options = { ...settings.options(), faces: /** @type {"largest"} */ ("largest") };
    return (await api.read([picture], options)).readings[0]?.box ?? null;
  },
});

/**
 * Open a tab.
 * @param {string} name
 */
function openTab(name) {
  if (tab === "camera" && name !== "camera") live.leave();
  tab = name;
  for (const each of TABS) {
    const [button, panel] = [byId(`tab-${each}`), byId(`panel-${each}`)];
    button.setAttribute("aria-selected", String(each === name));
    button.tabIndex = each === name ? 0 : -1;
    panel.hidden = each !== name;
    byId("stage").querySelector(`[data-for="${each}"]`).hidden = each !== name;
  }
  if (name !== "clip") clip.close();
  byId("live-settings-hint").hidden = name !== "camera";
  settings.follow(name);
  clearNotice();
  const entry = name === "camera" ? null : results.chosen;
  if (name === "camera") live.show();
  showEntry(entry && entry.clip === (name === "clip") ? entry : null);
}

/**
 * Show a result, or the empty stage.
 * @param {import("./results.js").Entry | null} entry
 */
async function showEntry(entry) {
  if (entry && (tab === "camera" || entry.clip !== (tab === "clip"))) {
    results.chosen = entry;
    return openTab(entry.clip ? "clip" : "pictures");
  }
  pointedOut = null;
  byId("stage").dataset.empty = String(!entry);
  byId("stage-badge").hidden = true;
  byId("face-source").hidden = !entry;
  if (!entry) {
    stage.clear();
    stage.canvas.setAttribute("aria-label", "No picture yet");
    return cards.show([], null, "The labels of each face appear here.");
  }
  if (entry.clip) byId("clip-video").hidden = true;
  setText(byId("face-source"), entry.name);
  const picture = await createImageBitmap(entry.shown).catch(() => null);
  // Another result may have been chosen meanwhile.
  if (results.chosen !== entry || tab === "camera") return picture?.close();
  bitmap?.close();
  bitmap = picture;
  drawEntry(entry);
  const { error, readings } = entry.result;
  if (readings[0] && !readings[0].task) settings.showLabels(Object.keys(readings[0].probabilities));
  if (error) notify(`${entry.name} was not read: ${ended(error)} Try another picture.`);
}

/** @param {import("./results.js").Entry} entry */
function drawEntry(entry) {
  const { result, options } = entry;
  const faces = result.readings.map((/** @type {any} */ reading, /** @type {number} */ place) => ({
    key: String(place),
    box: reading.box,
    text:
      [
        result.readings.length > 1 ? `${place + 1}` : "",
        headText(reading),
      ]
        .join(" ")
        .trim() || `Face ${place + 1}`,
    landmarks: options.faceFacts ? reading.face?.landmarks : null,
  }));
  stage.chosen = faces.length > 1 ? pointedOut : null;
  const size = result.size ?? (bitmap ? [bitmap.width, bitmap.height] : [4, 3]);
  stage.show(bitmap, size, faces);
  stage.canvas.setAttribute("aria-label", `${entry.name}: ${summary(result)}`);
  const empty = result.error
    ? "This picture was not read."
    : "No face was found. Try a picture in which a face is larger and upright.";
  cards.show(cardsOfResult(result, options), pointedOut, empty);
}

/** @param {string} key of a face */
function pick(key) {
  if (tab === "camera") return live.pick(key);
  pointedOut = pointedOut === key ? null : key;
  if (results.chosen) drawEntry(results.chosen);
}

/** @param {"labels" | "other"} what */
function changed(what) {
  if (tab === "camera") {
    if (what === "labels") live.labelsChanged();
  } else if (results.chosen?.clip === (tab === "clip")) void reader.again(results.chosen);
}

/**
 * Have the server read with another profile, then read the shown picture again.
 * @param {string} name
 */
async function changeProfile(name) {
  clearNotice();
  showServerState("wait", "Changing the profile");
  try {
    await api.changeProfile(name);
    model = { ...model, profile: name };
    showModel(model);
    announce(`The profile is ${name}.`);
    changed("other");
  } catch (error) {
    settings.showProfile(model.profile);
    notify(sentence(error));
  }
  if (live.on) showServerState("live", "Live");
  else showServerState("ready", "Ready");
}

/** Ask the server what it is; again and again, each time a little later, while it does not answer. */
async function connect() {
  if (connecting) return;
  connecting = true;
  let answer = null;
  for (let waitMs = 1000; !answer; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
    try {
      answer = await api.info();
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        connecting = false;
        return askToken();
      }
      showServerState("off", "Offline");
      notify(sentence(error));
      await new Promise((done) => window.setTimeout(done, waitMs));
    }
  }
  connecting = false;
  clearNotice();
  showServerState("ready", "Ready");
  // After a break the settings stay as they were chosen, unless another model answers.
  if (JSON.stringify(answer) === JSON.stringify(model)) return;
  model = answer;
  showModel(model);
  settings.offer(model);
  live.offerSources(model.sources ?? []);
  await showSamples(model.samples ?? [], (picture) => reader.readAll([picture]));
}

function listenForTabs() {
  for (const [place, name] of TABS.entries()) {
    const button = byId(`tab-${name}`);
    button.addEventListener("click", () => openTab(name));
    button.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: TABS.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = TABS[(to + TABS.length) % TABS.length];
      openTab(next);
      byId(`tab-${next}`).focus();
    });
  }
}

listenForTabs();
listenForToken(connect);
listenForPictures(
  (pictures) => {
    if (tab === "clip") return clip.openPictures(pictures);
    if (tab !== "pictures") openTab("pictures");
    void reader.readAll(pictures);
  },
  (video) => {
    openTab("clip");
    void clip.openVideo(video);
  },
);
byId("notice-close").addEventListener("click", clearNotice);
// The canvas takes its colours from the style.
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => stage.draw());
void connect();
