/** The choice of an affective task: its name, the form of its answer, and the label that is judged. */

import { byId, element, setText } from "./dom.js";
import { ended } from "./errors.js";

const NAMES = {
  expression: "Expression",
  au: "Action units",
  compound: "Compound expression",
  "micro-expression": "Micro-expression",
  "micro-gesture": "Micro-gesture",
};
const ANSWERS = { choice: "One of its labels", open: "In words", judgement: "Yes or no" };
const FRAMES = { clip: "It reads a clip.", "onset-apex-offset": "It reads a clip of three pictures: onset, apex, offset." };

/**
 * Return the name of a task for people.
 * @param {string} name
 */
export const taskName = (name) => NAMES[name] ?? name;

export class Tasks {
  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    /** @type {Map<string, any>} */
    this.tasks = new Map();
    /** True where tasks are asked at all: not of the camera. */
    this.fits = true;
    byId("task-name").addEventListener("change", () => {
      this.#offerAnswers();
      onChange();
    });
    byId("task-answer").addEventListener("change", () => {
      this.#offerLabels();
      onChange();
    });
    byId("task-label").addEventListener("change", onChange);
  }

  /**
   * Offer the tasks of the server.
   * @param {any[]} tasks of /v1/info
   */
  offer(tasks) {
    this.tasks = new Map(tasks.map((task) => [task.name, task]));
    byId("task-name").replaceChildren(
      element("option", { value: "" }, "None: the labels below"),
      ...tasks.map(({ name }) => element("option", { value: name }, taskName(name))),
    );
    this.#offerAnswers();
  }

  /**
   * Show the tasks, or only the labels for the camera.
   * @param {boolean} fits
   */
  show(fits) {
    this.fits = fits;
    byId("task-settings").hidden = !fits || this.tasks.size === 0;
    const own = this.options().task !== "";
    for (const id of ["label-choice", "label-hint"]) byId(id).hidden = own;
    if (own) byId("own-labels").hidden = true;
  }

  /** Return the fields of a reading; empty texts without a task. */
  options() {
    const task = this.fits ? this.tasks.get(byId("task-name").value) : undefined;
    if (!task) return { task: "", answer: "", label: "" };
    const answer = byId("task-answer").value;
    return { task: task.name, answer, label: answer === "judgement" ? byId("task-label").value : "" };
  }

  #offerAnswers() {
    const task = this.tasks.get(byId("task-name").value);
    byId("answer-choice").hidden = !task;
    byId("task-answer").replaceChildren(
      ...(task?.answers ?? []).map((/** @type {string} */ answer) =>
        element("option", { value: answer }, ANSWERS[answer] ?? answer),
      ),
    );
    byId("task-label").replaceChildren(
      ...(task?.labels ?? []).map((/** @type {string} */ label) => element("option", { value: label }, label)),
    );
    const texts = task ? [FRAMES[task.frames], task.notice && ended(task.notice)] : [];
    setText(byId("task-hint"), texts.filter(Boolean).join(" "));
    this.#offerLabels();
  }

  #offerLabels() {
    byId("judged-choice").hidden = byId("task-answer").value !== "judgement";
    this.show(this.fits);
  }
}
