"""Requests that ask for a task, and their answers, as the pipeline needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from emo_edge.bundle.manifest import Manifest
from emo_edge.errors import TaskError
from emo_edge.inference.signals.heart_rate import HeartRate
from emo_edge.inference.tasks.answers import TaskAnswer, Unit, task_answer
from emo_edge.inference.tasks.asked import AskedTask, asked_task
from emo_edge.inference.tasks.heart_rate import measurement_sentence
from emo_edge.inference.tasks.spotting import SpottedMovement


class TaskRequest(Protocol):
    """The part of `emo_edge.Request` that a task reads."""

    @property
    def task(self) -> str | None:
        """Return the name of the task."""

    @property
    def answer(self) -> str | None:
        """Return the kind of answer."""

    @property
    def label(self) -> str | None:
        """Return the label that is judged."""

    @property
    def heart_rate(self) -> HeartRate | None:
        """Return what was measured."""

    @property
    def movement(self) -> SpottedMovement | None:
        """Return the movement that was spotted."""

    @property
    def labels(self) -> str | tuple[str, ...] | None:
        """Return labels of the user's own."""

    @property
    def describe(self) -> bool:
        """Return whether a description is asked for."""

    @property
    def ask(self) -> str | None:
        """Return a question of the user's own."""


def requested_task(manifest: Manifest, request: TaskRequest, purpose: str = "") -> AskedTask | None:
    """Return the task of a request, None without one; raise InputError for one that cannot be asked so.

    ``purpose`` is the one that the deployment states, see `asked_task`.
    """
    task = asked_task(manifest, request.task, request.answer, request.label, purpose)
    if task is not None and (request.labels is not None or request.describe or request.ask is not None):
        raise TaskError(
            f"the task {task.name} has its own labels and question: leave `labels`, `describe` and `ask` out"
        )
    return task


class TaskReader:
    """The tasks of one bundle, for one deployment."""

    def __init__(self, manifest: Manifest, purpose: str) -> None:
        self._manifest, self._purpose = manifest, purpose

    def of(self, request: TaskRequest) -> AskedTask | None:
        """Return the task of a request, None without one; raise InputError for one that cannot be asked so."""
        return requested_task(self._manifest, request, self._purpose)

    def require_frames(self, request: TaskRequest, count: int) -> None:
        """Raise TaskError where the frames cannot show what the task asks about, or nothing was measured in them."""
        task = self.of(request)
        if task is None:
            return
        task.require_frames(count)
        if task.measures and request.heart_rate is None:
            raise TaskError(
                f"the task {task.name} needs a measured `heart_rate`: emo_edge.stream and emo-edge infer measure it in "
                "a video file"
            )

    def reads_whole(self, request: TaskRequest) -> bool:
        """Return whether the task reads whole pictures instead of faces."""
        task = self.of(request)
        return task is not None and task.section.crop == "whole"

    def reads_movement(self, request: TaskRequest) -> bool:
        """Return whether the task reads onset, apex and offset of a movement."""
        task = self.of(request)
        return task is not None and task.section.frames == "onset-apex-offset"

    def asks_language(self, request: TaskRequest) -> bool:
        """Return whether the language model takes part in the answer."""
        task, rate = self.of(request), request.heart_rate
        return task is None or not (task.by_head or (task.measures and rate is not None and not rate.reliable))

    def answer(
        self,
        request: TaskRequest,
        probabilities: Mapping[str, float],
        answers: Mapping[str, str],
        units: Mapping[str, Unit],
        *,
        clip: bool,
    ) -> tuple[TaskAnswer | None, dict[str, str]]:
        """Return the answer of the task, None without one, and the written answers by question.

        Args:
            request: that asks.
            probabilities: of the labels that were scored.
            answers: that the language model wrote, by question.
            units: action units by name.
            clip: True if the prompt speaks of a video.
        """
        task = self.of(request)
        if task is None:
            return None, dict(answers)
        text = "".join(answers.values())
        answer = task_answer(task, probabilities, units, text, request.heart_rate, request.movement)
        question = task.question(clip=clip, measurement=measurement_sentence(request.heart_rate))
        return answer, {question: answer.text} if answer.answer == "open" else {}
