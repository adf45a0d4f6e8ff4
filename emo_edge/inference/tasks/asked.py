"""The task that a request asks of a bundle: its question and the labels that are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emo_edge.bundle.manifest import AffectiveTask, Manifest
from emo_edge.bundle.prompts import medium
from emo_edge.bundle.tasks.section import filled
from emo_edge.errors import InputError, TaskError
from emo_edge.taxonomy import TASK_ANSWERS, TASKS
from emo_edge.utils.suggestions import did_you_mean

YES, NO = "yes", "no"
"""Answers of a judgement."""
DECEPTION, HEART_RATE = "deception", "heart-rate"
DEFAULT_ORDER = ("choice", "open", "judgement")
"""Of the answers that a task has, the one that a request without one gets."""
MOMENTS = 3
"""Frames of a micro-expression: its onset, its apex, its offset."""


@dataclass(frozen=True)
class AskedTask:
    """One task of a bundle, and the answer that is asked for."""

    name: str
    answer: str
    label: str | None
    """That is judged; None for another answer."""
    section: AffectiveTask

    @property
    def by_head(self) -> bool:
        """True if the action units' own head answers, and no language model is asked."""
        return self.section.judgement_by == "head"

    @property
    def measures(self) -> bool:
        """True if a measurement is put into the prompt."""
        return self.name == HEART_RATE

    @property
    def needs_language(self) -> bool:
        """True if there is no answer without a language model; a measurement is one by itself."""
        return not (self.by_head or self.measures)

    @property
    def by_yes_no(self) -> bool:
        """True if the model's yes is scored against its no, each corrected by that of a blank image."""
        return self.answer == "judgement" and self.section.judgement_by == "yes-no"

    @property
    def scored_labels(self) -> tuple[str, ...]:
        """Labels that the language model scores; none for a text."""
        if self.answer == "open" or self.by_head:
            return ()
        return (YES, NO) if self.by_yes_no else self.section.labels

    def question(self, *, clip: bool, measurement: str = "") -> str:
        """Return the question that the language model is asked.

        Args:
            clip: True if the prompt speaks of a video.
            measurement: sentence that is put into the prompt.
        """
        questions, labels, word = self.section.questions, self.section.labels, medium(clip)
        if self.answer == "open":
            return filled(questions.open or "", medium=word, measurement=measurement).rstrip()
        if self.by_yes_no:
            return filled(questions.judgement or "", medium=word, label=self.label or "")
        options = " ".join(f"{label[:1].upper()}{label[1:]}?" for label in labels)
        return filled(questions.choice or "", medium=word, labels=", ".join(labels), options=options)

    def require_frames(self, count: int) -> None:
        """Raise TaskError where the frames that were given cannot show what the task asks about."""
        frames = self.section.frames
        if frames == "clip" and count < 2:
            raise TaskError(f"the task {self.name} reads a clip, not one picture: give a video")
        if frames == "onset-apex-offset" and count != MOMENTS:
            raise TaskError(
                f"the task {self.name} reads {MOMENTS} frames, onset, apex and offset, not {count}: give a video and "
                "`onset`, `apex` and `offset`"
            )


def require_answerable(name: str) -> None:
    """Raise TaskError for a task that is unknown, or that is refused whatever the bundle."""
    if name not in TASKS:
        raise TaskError(f"no task {name!r}; there are: {', '.join(TASKS)}{did_you_mean(name, TASKS)}")
    if name == DECEPTION:
        raise TaskError("the task deception is refused: no facial sign of lying is known")


def task_section(manifest: Manifest, name: str) -> AffectiveTask:
    """Return the section of a task; raise TaskError for one that is unknown, refused or not in the bundle."""
    require_answerable(name)
    tasks: Mapping[str, AffectiveTask] = manifest.tasks or {}
    if name not in tasks:
        raise TaskError(f"{manifest.name} lacks the task {name}; it has: {', '.join(tasks) or 'none'}")
    return tasks[name]


def asked_task(
    manifest: Manifest, name: str | None, answer: str | None = None, label: str | None = None, purpose: str = ""
) -> AskedTask | None:
    """Return the task that a request asks for; None for a request without one.

    Args:
        manifest: of the bundle.
        name: of the task.
        answer: one of `TASK_ANSWERS`; None takes the first that the task has.
        label: that is judged.
        purpose: that the deployment states; empty where it states none.

    Raises TaskError for what cannot be asked; InputError for a task that the bundle was not trained for, or that its
    licence or its evidence keeps to research while another purpose is stated.
    """
    if name is None:
        if answer is not None or label is not None:
            raise TaskError("`answer` and `label` go with a `task`")
        return None
    section = task_section(manifest, name)
    require_trained(manifest, name, section, purpose)
    answers = task_answers(section)
    chosen = answer or next((one for one in DEFAULT_ORDER if one in answers), None)
    if chosen not in answers:
        raise TaskError(f"the task {name} of {manifest.name} has the answers {', '.join(answers)}, not {answer!r}")
    return AskedTask(name, chosen, _named_label(manifest, name, section, chosen, label), section)


def task_answers(section: AffectiveTask) -> list[str]:
    """Return the kinds of answers that a task has, in the order of `TASK_ANSWERS`."""
    questions, way = section.questions, section.judgement_by
    given = {
        "open": questions.open is not None,
        "choice": bool(section.labels) and questions.choice is not None and way != "head",
        "judgement": way is not None,
    }
    return [name for name in TASK_ANSWERS if given[name]]


def known_labels(manifest: Manifest, section: AffectiveTask) -> Sequence[str]:
    """Return the labels of a task: its own, or the names of the bundle's action units."""
    if section.judgement_by != "head" or manifest.action_units is None:
        return section.labels
    return [f"AU{unit}" for unit in manifest.action_units.units]


def require_trained(manifest: Manifest, name: str, section: AffectiveTask, purpose: str) -> None:
    """Raise InputError for a task that the bundle does not answer, or not for the purpose that is stated."""
    if section.status == "untrained":
        trained = [one for one, task in (manifest.tasks or {}).items() if task.status != "untrained"]
        raise InputError(
            f"{manifest.name} was not trained for the task {name} (status untrained), so it does not answer; it was "
            f"for: {', '.join(trained) or 'none'}"
        )
    if section.status == "research-only" and purpose not in ("", "research"):
        raise InputError(f"the task {name} of {manifest.name} is for research alone, and the purpose is {purpose}")


def _named_label(manifest: Manifest, name: str, section: AffectiveTask, answer: str, label: str | None) -> str | None:
    """Return the label that is judged, as the bundle writes it."""
    if answer != "judgement":
        if label is not None:
            raise TaskError(f"`label` goes with `answer` judgement, not {answer}")
        return None
    labels = known_labels(manifest, section)
    if label is None:
        raise TaskError(f"a judgement needs a `label`: one of {', '.join(labels)}")
    named = {one.lower(): one for one in labels}.get(label.strip().lower())
    if named is None:
        hint = did_you_mean(label, labels)
        raise TaskError(
            f"the task {name} of {manifest.name} has no label {label!r}; there are: {', '.join(labels)}{hint}"
        )
    return named
