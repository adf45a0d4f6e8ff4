"""One affective task as a section of the manifest: its questions, labels, frames and crop, and what is known of it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from emo_edge.metrics.figure_bounds import figure_checks
from emo_edge.taxonomy import TASKS
from emo_edge.utils.settings import Figures, Line, Section, Text, require

TaskName = Annotated[str, Field(pattern=f"^({'|'.join(TASKS)})$")]
"""One of `emo_edge.taxonomy.TASKS`."""
PLACES = re.compile(r"\{(medium|labels|options|label|measurement)\}")
"""Of a question: the word for what is shown; the labels with commas, or as "Anger? Fear?"; the label of a judgement;
the measured heart rate. All are filled at once: nothing is filled into what was filled in. Other braces stay."""
MOST_PLACES = 8
LEAST_AUC = 0.9
"""Area under the ROC curve from which on a model's yes and no are believed."""
YES_NO_AUC = "auc_yes_no"
"""Figure of the evidence that `LEAST_AUC` is required of."""


class TaskQuestions(Section):
    """The question for each kind of answer; None where the task has no such answer, or needs no question for it."""

    open: Text | None = None
    choice: Text | None = None
    judgement: Text | None = None


class AffectiveTask(Section):
    """One affective task: a new one of a known kind needs no code on the device."""

    questions: TaskQuestions = TaskQuestions()
    labels: Annotated[tuple[Line, ...], Field(max_length=512)] = ()
    """To choose from; empty where there is no choice, or where they are the names of ``action_units``."""
    frames: Literal["image", "clip", "onset-apex-offset"] = "image"
    """At least what is read: a picture, frames of a clip, or three frames of one movement."""
    crop: Literal["face", "whole"] = "face"
    judgement_by: Literal["yes-no", "choice", "head"] | None = None
    """Source of a judgement whether a label holds: the model's yes against its no, the label's part of the choice, or
    the action units' own head. None has no judgement."""
    status: Literal["trained", "untrained", "research-only"]
    """An ``untrained`` task is not answered; one for research alone is not, where another purpose is stated."""
    notice: Text = ""
    """Goes with every answer."""
    evidence: Annotated[dict[Line, Figures], Field(max_length=64)] = Field(default_factory=dict)
    """Figures on held-out samples, by kind of answer."""

    @model_validator(mode="after")
    def _parts_fit(self) -> AffectiveTask:
        labels, way = self.labels, self.judgement_by
        auc = self.evidence.get("judgement", {}).get(YES_NO_AUC, 0.0)
        require(
            (len(set(labels)) == len(labels) != 1, "labels needs two or more different labels, or none"),
            (way != "head" or not labels, "labels of a head are its action units: leave them out"),
            (
                way != "choice" or bool(labels and self.questions.choice),
                "judgement_by choice needs labels and questions.choice",
            ),
            (
                way != "yes-no" or bool(labels and self.questions.judgement),
                "judgement_by yes-no needs labels and questions.judgement",
            ),
            (
                way != "yes-no" or self.status == "untrained" or auc >= LEAST_AUC,
                f"judgement_by yes-no needs evidence.judgement.{YES_NO_AUC} of at least {LEAST_AUC:.2f}, not {auc:g}",
            ),
            *(check for figures in self.evidence.values() for check in figure_checks(figures)),
            *_place_checks("open", self.questions.open, ("medium", "measurement")),
            *_place_checks("choice", self.questions.choice, ("medium", "labels", "options")),
            *_place_checks("judgement", self.questions.judgement, ("medium", "label"), needed="label"),
        )
        return self


def task_checks(name: str, task: AffectiveTask) -> list[tuple[bool, str]]:
    """Return what a task's name requires of it, each with the message where it fails."""
    path, question = f"tasks.{name}", task.questions.open or ""
    return [
        (
            name != "deception" or task.status == "untrained",
            f"{path} is never trained: no facial sign of lying is known",
        ),
        (
            name != "heart-rate" or (task.frames == "clip" and "{measurement}" in question),
            f"{path} needs frames clip, and a place for {{measurement}} in questions.open",
        ),
        (name == "heart-rate" or "{measurement}" not in question, f"{path} measures nothing: {{measurement}}"),
        ((name == "au") == (task.judgement_by == "head"), f"{path}: judgement_by head is that of the task au"),
    ]


def filled(text: str, **values: str) -> str:
    """Return a question with its places filled."""
    return PLACES.sub(lambda place: values.get(place[1], place[0]), text)


def _place_checks(
    kind: str, text: str | None, allowed: tuple[str, ...], needed: str | None = None
) -> list[tuple[bool, str]]:
    if text is None:
        return []
    places = [place[1] for place in PLACES.finditer(text)]
    strange = [f"{{{place}}}" for place in places if place not in allowed][:MOST_PLACES]
    return [
        (len(places) <= MOST_PLACES, f"questions.{kind} has more than {MOST_PLACES} places"),
        (not strange, f"questions.{kind} has {', '.join(strange)}, which nothing fills"),
        (needed is None or needed in places, f"questions.{kind} lacks {{{needed}}}"),
    ]
