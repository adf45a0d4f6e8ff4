"""The answer of a task, read off probabilities, action units, a text or a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from emo_edge.inference.signals.heart_rate import HeartRate
from emo_edge.inference.tasks.asked import NO, YES, AskedTask
from emo_edge.inference.tasks.heart_rate import ToolCall, answer_sentence, tool_call
from emo_edge.inference.tasks.spotting import SpottedMovement
from emo_edge.metrics.facial_cues import CUES

EVEN = 0.5
"""Probability from which on a label holds; of an action unit that is its own threshold."""


class Unit(Protocol):
    """One action unit of a face, as far as an answer says it."""

    @property
    def presence(self) -> float:
        """Return the probability."""

    @property
    def active(self) -> bool:
        """Return True from the unit's threshold on."""

    @property
    def level(self) -> str | None:
        """Return the letter of FACS; None without one."""


@dataclass(frozen=True)
class TaskAnswer:
    """The answer of one task about one face."""

    task: str
    answer: str
    """open, choice or judgement."""
    status: str
    """trained or research-only, as the bundle says."""
    judgement_by: str | None
    """yes-no, choice or head: where a judgement comes from; None for another answer."""
    notice: str
    label: str | None
    """That was chosen or judged; None for an open answer."""
    probability: float | None
    """Of the label."""
    text: str
    """The whole answer in words: the text, the label, or yes or no."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Steps that were done for it."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, without the tool calls."""
        return {
            "name": self.task,
            "answer": self.answer,
            "status": self.status,
            "judged_by": self.judgement_by,
            "notice": self.notice,
            "label": self.label,
            "probability": None if self.probability is None else round(self.probability, 5),
            "text": self.text,
        }


def task_answer(
    asked: AskedTask,
    probabilities: Mapping[str, float],
    units: Mapping[str, Unit],
    text: str,
    heart_rate: HeartRate | None,
    movement: SpottedMovement | None = None,
) -> TaskAnswer:
    """Return the answer of a task.

    Args:
        asked: the task.
        probabilities: of the labels that were scored.
        units: action units by name.
        text: that the language model wrote; empty where it was not asked.
        heart_rate: that was measured, for the task heart-rate.
        movement: whose frames are read, where the program spotted it itself.
    """
    label: str | None = None
    probability: float | None = None
    calls: tuple[ToolCall, ...] = () if movement is None else (movement.tool_call(),)
    if asked.answer == "judgement":
        label, probability, holds = _judgement(asked, probabilities, units)
        text = YES if holds else NO
    elif asked.answer == "choice":
        label = text = max(probabilities, key=probabilities.__getitem__)
        probability = probabilities[label]
    elif asked.by_head:
        text = units_sentence(units)
    elif asked.measures and heart_rate is not None:
        text, calls = text or answer_sentence(heart_rate), (tool_call(heart_rate),)
    section = asked.section
    way = section.judgement_by if asked.answer == "judgement" else None
    return TaskAnswer(asked.name, asked.answer, section.status, way, section.notice, label, probability, text, calls)


def _judgement(
    asked: AskedTask, probabilities: Mapping[str, float], units: Mapping[str, Unit]
) -> tuple[str, float, bool]:
    """Return the label that is judged, its probability, and whether it holds."""
    label = asked.label or ""
    if asked.by_head:
        return label, units[label].presence, units[label].active
    probability = probabilities[YES if asked.by_yes_no else label]
    return label, probability, probability >= EVEN


def units_sentence(units: Mapping[str, Unit]) -> str:
    """Name the active action units, each with its level and what is to be seen."""
    active = [_unit_phrase(name, unit) for name, unit in units.items() if unit.active]
    return f"Active action units: {'; '.join(active)}." if active else "No action unit is active."


def _unit_phrase(name: str, unit: Unit) -> str:
    cue = CUES.get(int(name.removeprefix("AU")))
    level = f"level {unit.level}" if unit.level else None
    details = ", ".join(filter(None, (level, cue)))
    return f"{name} ({details})" if details else name
