"""Smoothed labels of every followed face, and the expressions that begin and end in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from emo_edge.bundle.sections import LabelFilter
from emo_edge.inference.live.label_filters import LabelTrack, open_filter

NEUTRAL = "neutral"
"""Label that is no expression, where the labels have it."""
BEGINS, ENDS = 0.6, 0.4
"""Smoothed probability from which on an expression has begun, and below which it has ended."""
NEAR_APEX = 0.01
"""Moments whose probability is so close to the highest one are the apex; its time is their middle."""
Change = Literal["onset", "apex", "offset"]


@dataclass(frozen=True)
class ExpressionChange:
    """A moment of an expression."""

    change: Change
    label: str
    seconds: float
    probability: float
    """Smoothed, at that moment."""


@dataclass
class _Expression:
    """An expression that goes on."""

    label: str
    moments: list[tuple[float, float]]
    """Seconds and probability, those near the highest probability so far alone."""

    def add(self, seconds: float, probability: float) -> None:
        least = max([probability, *(value for _, value in self.moments)]) - NEAR_APEX
        kept = [moment for moment in (*self.moments, (seconds, probability)) if moment[1] >= least]
        # The first and the last are enough for the middle, however long it goes on.
        best = max(kept, key=lambda moment: moment[1])
        self.moments = sorted({kept[0], best, kept[-1]})

    def apex(self) -> ExpressionChange:
        middle = (self.moments[0][0] + self.moments[-1][0]) / 2
        return ExpressionChange("apex", self.label, middle, max(value for _, value in self.moments))


class ExpressionTrack:
    """The expressions of one face."""

    def __init__(self) -> None:
        self._now: _Expression | None = None

    def add(self, probabilities: Mapping[str, float], seconds: float) -> list[ExpressionChange]:
        """Return what begins and ends with these smoothed probabilities; an apex is known at the end alone."""
        changes = []
        if self._now is not None and probabilities.get(self._now.label, 0.0) < ENDS:
            changes += self.end(seconds, probabilities)
        label = max(probabilities, key=probabilities.__getitem__)
        if self._now is None and label != NEUTRAL and probabilities[label] >= BEGINS:
            self._now = _Expression(label, [])
            changes.append(ExpressionChange("onset", label, seconds, probabilities[label]))
        if self._now is not None:
            self._now.add(seconds, probabilities[self._now.label])
        return changes

    def end(self, seconds: float, probabilities: Mapping[str, float]) -> list[ExpressionChange]:
        """End the expression there is, if any: return its apex and its offset."""
        now, self._now = self._now, None
        if now is None:
            return []
        return [now.apex(), ExpressionChange("offset", now.label, seconds, probabilities.get(now.label, 0.0))]


@dataclass
class _Face:
    labels: LabelTrack
    expressions: ExpressionTrack
    seconds: float = 0.0
    probabilities: dict[str, float] | None = None


class LabelSmoothing:
    """Filters of all faces by the id of their track; without settings it smooths nothing."""

    def __init__(self, settings: LabelFilter | None) -> None:
        self._settings = settings
        self._faces: dict[int, _Face] = {}

    def add(self, number: int, probabilities: Mapping[str, float], seconds: float) -> Sequence[ExpressionChange]:
        """Count a reading of a frame at ``seconds``; a face that has not changed since counts as read again."""
        if self._settings is None or len(probabilities) < 2:
            return ()
        face = self._faces.get(number)
        if face is None:
            face = self._faces[number] = _Face(open_filter(self._settings), ExpressionTrack())
        values = face.labels.add(np.array(list(probabilities.values()), np.float64), seconds)
        face.probabilities = dict(zip(probabilities, values.tolist(), strict=True))
        face.seconds = max(seconds, face.seconds)
        return face.expressions.add(face.probabilities, face.seconds)

    def of(self, number: int) -> dict[str, float]:
        """Return the smoothed probabilities of a track; empty before its first reading, or without settings."""
        face = self._faces.get(number)
        return dict(face.probabilities or {}) if face else {}

    def drop(self, number: int) -> Sequence[ExpressionChange]:
        """Forget a lost track; return the end of its expression, at its last reading."""
        face = self._faces.pop(number, None)
        if face is None:
            return ()
        # Whoever is gone showed it at the last look.
        return face.expressions.end(face.seconds, face.probabilities or {})
