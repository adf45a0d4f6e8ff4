/** Results as files. Columns are those of `emo-edge infer --csv` and `emo-edge live --csv`. */

import { element } from "./dom.js";

const BOX = ["box_x0", "box_y0", "box_x1", "box_y1"];
const POINTS = ["left_eye", "right_eye", "nose", "mouth_left", "mouth_right"];
/** Beginnings of a cell that a spreadsheet would compute. */
const FORMULA = /^[=+\-@\t\r]/;

/**
 * Give a text to the browser as a file.
 * @param {string} name
 * @param {string} text
 * @param {string} type
 */
export function download(name, text, type) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/**
 * Return a name with the time in it.
 * @param {string} extension
 */
export function fileName(extension) {
  return `emo-edge-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${extension}`;
}

/**
 * Return results as a table, one row a face; a source without a face has one row, too.
 * @param {any[]} results objects of result-1.json
 */
export function resultTable(results) {
  const rows = results.flatMap((result) => {
    const faces = result.readings.length ? result.readings : [null];
    return faces.map((/** @type {any} */ reading, /** @type {number} */ face) => resultRow(result, reading, face));
  });
  const groups = rows.length ? rows[0].length : 0;
  const columns = [...Array(groups).keys()].flatMap((group) => [
    ...new Set(rows.flatMap((row) => Object.keys(row[group]))),
  ]);
  return csv(
    columns,
    rows.map((row) => Object.assign({}, ...row)),
  );
}

/**
 * Return groups of columns; each group is joined with that of the other rows.
 * @param {any} result
 * @param {any} reading
 * @param {number} face
 * @returns {Record<string, any>[]}
 */
function resultRow(result, reading, face) {
  const [start, end] = result.seconds ?? [];
  const head = { source: result.source, kind: result.kind, start_s: start, end_s: end, segment: result.segment };
  const of = reading ?? { probabilities: {} };
  const heads = Object.entries(of.face?.demographics ?? {}).map(([name, scores]) => [name, best(scores)]);
  const pose = of.face?.pose_degrees ?? {};
  return [
    head,
    { face: reading ? face : undefined, label: of.label, confidence: of.probabilities[of.label] },
    named("p_", of.probabilities),
    named("value_", of.values ?? {}),
    unitCells(of.action_units ?? {}),
    Object.fromEntries(BOX.map((name, place) => [name, of.box?.[place]])),
    { detection_score: of.detection_score, frames: of.frames },
    { pose_pitch: pose.pitch, pose_yaw: pose.yaw, pose_roll: pose.roll },
    named("attribute_", of.face?.attributes ?? {}),
    Object.fromEntries(heads),
    Object.fromEntries(Object.values(of.answers ?? {}).map((answer, place) => [`answer_${place + 1}`, answer])),
    { profile: of.settings?.profile, device: of.settings?.device, error: result.error },
    Object.fromEntries(
      POINTS.flatMap((name, place) =>
        ["x", "y"].map((axis, side) => [`point_${name}_${axis}`, of.points?.[place]?.[side]]),
      ),
    ),
    reading
      ? { rotation: of.rotation ?? 0, whole_image: Number(of.whole_image ?? false) }
      : { rotation: undefined, whole_image: undefined },
  ];
}

/**
 * @param {string} prefix
 * @param {Record<string, any>} values
 */
function named(prefix, values) {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [prefix + name, value]));
}

/** @param {Record<string, any>} units */
function unitCells(units) {
  return Object.fromEntries(
    Object.entries(units).flatMap(([name, { presence, active, intensity }]) => [
      [name, presence],
      [`${name}_active`, Number(active)],
      ...(intensity === null ? [] : [[`${name}_intensity`, intensity]]),
    ]),
  );
}

/** @param {any} scores */
function best(scores) {
  return Object.entries(/** @type {Record<string, number>} */ (scores)).sort((one, other) => other[1] - one[1])[0]?.[0];
}

/**
 * Return live events as a table, one row a face of a frame.
 * @param {any[]} events objects of live-event-1.json
 */
export function liveTable(events) {
  const frames = events.filter(({ kind }) => kind === "frame");
  const labels = [
    ...new Set(
      frames.flatMap(({ faces }) => faces.flatMap((/** @type {any} */ face) => Object.keys(face.probabilities))),
    ),
  ];
  const scores = labels.map((label) => `p_${label}`);
  const columns = ["index", "time_s", "age_ms", "id", "label", ...scores, "label_age_ms", "reused", "detected", ...BOX];
  const rows = frames.flatMap((event) =>
    event.faces.map((/** @type {any} */ face) => ({
      index: event.index,
      time_s: event.time_s,
      age_ms: event.age_ms,
      id: face.id,
      label: face.label,
      ...named("p_", face.probabilities),
      label_age_ms: face.label_age_ms,
      reused: Number(face.reused),
      detected: Number(face.detected),
      ...Object.fromEntries(BOX.map((name, place) => [name, face.box[place]])),
    })),
  );
  return csv(columns, rows);
}

/**
 * @param {string[]} columns
 * @param {Record<string, any>[]} rows
 */
function csv(columns, rows) {
  const lines = [columns.map(cell), ...rows.map((row) => columns.map((name) => cell(row[name])))];
  return lines.map((line) => `${line.join(",")}\n`).join("");
}

/** @param {any} value */
function cell(value) {
  if (value === undefined || value === null) return "";
  const text = typeof value === "string" && FORMULA.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
