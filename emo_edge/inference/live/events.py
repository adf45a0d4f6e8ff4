"""Events of a live source; `to_dict` gives the JSON of ``emo_edge/schemas/live-event-1.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emo_edge.faces.live.tracker import Loss
from emo_edge.inference.live.fast_movements import FastMovement
from emo_edge.inference.live.smoothing import Change
from emo_edge.inference.results import EmotionResult
from emo_edge.inference.signals.heart_rate import NOTICE, HeartRate
from emo_edge.media.crops import Box, Image
from emo_edge.media.live.capture import State
from emo_edge.utils.text import utf8_name, utf8_text

LIVE_EVENT_VERSION = 1


@dataclass(frozen=True)
class LiveFace:
    """A followed face in a frame, with its newest label."""

    id: int
    """Of its track, from 1 on, never used twice."""
    box: Box
    """x0, y0, x1, y1 in frame pixels, filtered over time; predicted where the face was not detected."""
    detected: bool
    """False if the frame does not show the face and its box is predicted."""
    result: EmotionResult | None
    """The newest reading of the face; None before the first one. Its box is that of the frame that was read."""
    label_age_ms: float | None
    """From the capture of the frame that was read until the event; None without a reading."""
    reused: bool
    """True if the face looks as it did when it was read, so that it was not read again."""
    smoothed: Mapping[str, float] = field(default_factory=dict)
    """Probabilities by label after all readings of the face so far; empty without a reading, and where the bundle has
    no settings of it."""

    @property
    def label(self) -> str | None:
        """The most probable label; None without a reading."""
        return self.result.label if self.result else None

    @property
    def probabilities(self) -> dict[str, float]:
        """By label; empty without a reading."""
        return self.result.probabilities if self.result else {}

    @property
    def smoothed_label(self) -> str | None:
        """The most probable label after all readings so far; None where nothing is smoothed."""
        return max(self.smoothed, key=self.smoothed.__getitem__, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of this face."""
        values, units = (self.result.values, self.result.action_units) if self.result else ({}, {})
        return {
            "id": self.id,
            "box": _rounded_box(self.box),
            "detected": self.detected,
            "label": self.label,
            "probabilities": {name: round(value, 5) for name, value in self.probabilities.items()},
            "smoothed_label": self.smoothed_label,
            "smoothed": {name: round(value, 5) for name, value in self.smoothed.items()} or None,
            **({"values": {name: round(value, 5) for name, value in values.items()}} if values else {}),
            **({"action_units": {name: unit.to_dict() for name, unit in units.items()}} if units else {}),
            "label_age_ms": None if self.label_age_ms is None else round(self.label_age_ms, 1),
            "reused": self.reused,
        }


@dataclass(frozen=True)
class FrameEvent:
    """A frame with its faces. It is given before the next frame is taken, so that no queue can grow."""

    source: str
    """Without its password."""
    index: int
    """Counts the source's frames from 0, those that were dropped too."""
    segment: int
    """Counts the jumps of the source's time stamps, and the times that it was opened again."""
    time_s: float
    """Capture of the frame in seconds since the start: of a file by its time stamps, else by the clock."""
    age_ms: float
    """From the capture to this event."""
    faces: tuple[LiveFace, ...]
    """In the order of their ids."""
    stage_ms: Mapping[str, float]
    """``track``: search and following of faces; ``label``: waiting for labels."""
    reading_ms: Mapping[str, float]
    """Stages of the reading that came with this frame; empty where none came. They run while others do."""
    dropped: Mapping[str, int]
    """Frames since the event before that were not processed: ``overtaken`` by a newer one, ``damaged``; those that a
    recording left out: ``record``."""
    image: Image = field(repr=False, compare=False)
    """uint8 RGB [H, W, 3], the frame itself; not part of the JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of this event."""
        return {
            **_head("frame", self.source),
            "index": self.index,
            "segment": self.segment,
            "time_s": round(self.time_s, 4),
            "age_ms": round(self.age_ms, 1),
            "size": [self.image.shape[1], self.image.shape[0]],
            "faces": [face.to_dict() for face in self.faces],
            "stage_ms": {name: round(value, 2) for name, value in self.stage_ms.items()},
            "reading_ms": {name: round(value, 2) for name, value in self.reading_ms.items()},
            "dropped": dict(self.dropped),
        }


@dataclass(frozen=True)
class TrackEvent:
    """A track that was born or lost."""

    source: str
    """Without its password."""
    change: str
    """``born`` or ``lost``."""
    id: int
    """Of the track."""
    time_s: float
    """Of the frame, as `FrameEvent.time_s`."""
    box: Box
    """The last one, in frame pixels."""
    reason: Loss | None
    """Of a loss: ``missed`` for too long, ``left`` the frame, the frame was ``resized``, the ``source`` was lost."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of this event."""
        return {
            **_head("track", self.source),
            "change": self.change,
            "id": self.id,
            "time_s": round(self.time_s, 4),
            "box": _rounded_box(self.box),
            "reason": self.reason,
        }


@dataclass(frozen=True)
class ExpressionEvent:
    """A moment of an expression, in the smoothed labels of a face."""

    source: str
    """Without its password."""
    change: Change
    """``onset``, ``apex`` or ``offset``; the apex is known, and given, with the offset."""
    id: int
    """Of the track."""
    label: str
    """The expression; never neutral."""
    time_s: float
    """Of the moment itself, as `FrameEvent.time_s`."""
    probability: float
    """Smoothed, of the label at that moment."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of this event."""
        return {
            **_head("expression", self.source),
            "change": self.change,
            "id": self.id,
            "label": self.label,
            "time_s": round(self.time_s, 4),
            "probability": round(self.probability, 5),
        }


@dataclass(frozen=True)
class MicroExpressionEvent:
    """A fast movement of a face: action units that rose and fell again within half a second."""

    source: str
    """Without its password."""
    id: int
    """Of the track."""
    movement: FastMovement
    """Times as `FrameEvent.time_s`; it is known, and given, a moment after its end."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of this event."""
        own = self.movement
        return {
            **_head("micro_expression", self.source),
            "id": self.id,
            "onset_s": round(own.onset_s, 4),
            "apex_s": round(own.apex_s, 4),
            "offset_s": round(own.offset_s, 4),
            "action_units": {name: round(rise, 3) for name, rise in own.units.items()},
            "score": round(own.score, 1),
        }


@dataclass(frozen=True)
class PulseEvent:
    """The heart rate of a face over the last 10 s, or the reason why there is none. Not a medical device."""

    source: str
    """Without its password."""
    id: int
    """Of the track."""
    start_s: float
    end_s: float
    """Of the window, as `FrameEvent.time_s`."""
    heart_rate: HeartRate
    """With ``reliable``; no number without it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of this event."""
        values = self.heart_rate.as_dict()
        return {
            **_head("pulse", self.source),
            "id": self.id,
            "start_s": round(self.start_s, 4),
            "end_s": round(self.end_s, 4),
            **{name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()},
            "notice": NOTICE,
        }


@dataclass(frozen=True)
class SourceEvent:
    """A new state of the source."""

    source: str
    """Without its password."""
    state: State
    """``opening``, ``playing``, ``stalled``, ``lost``, or ``ended`` (of a file)."""
    reason: str
    """Empty where the state says all."""
    time_s: float
    """Seconds since the start, by the clock."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of this event."""
        return {
            **_head("source", self.source),
            "state": self.state,
            "reason": utf8_text(self.reason),
            "time_s": round(self.time_s, 4),
        }


LiveEvent = FrameEvent | TrackEvent | ExpressionEvent | MicroExpressionEvent | PulseEvent | SourceEvent


def _head(kind: str, source: str) -> dict[str, Any]:
    return {"live_event_version": LIVE_EVENT_VERSION, "kind": kind, "source": utf8_name(source)}


def _rounded_box(box: Box) -> list[float]:
    return [round(float(value), 1) for value in box]
