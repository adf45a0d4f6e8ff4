"""Scores of labels over time against true ones: probabilities, flips, delays, and moments of expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.benchmarks.live.clips import LABELS
from emo_edge.benchmarks.live.readings import ReadClip
from emo_edge.bundle.sections import LabelFilter
from emo_edge.inference.live.label_filters import open_filter
from emo_edge.inference.live.smoothing import NEUTRAL, ExpressionChange, ExpressionTrack
from emo_edge.metrics.reliability import calibration_error, log_loss

Floats = NDArray[np.float64]
Shown = Callable[[ReadClip], Floats]
"""The probabilities [frames, labels] that a way shows for a clip."""
NEAR_S = 0.5
"""An event belongs to a true moment of the same expression that is at most so far away."""


def raw(clip: ReadClip) -> Floats:
    """Return the readings themselves."""
    return clip.probabilities


def filtered(settings: LabelFilter) -> Shown:
    """Return the way of a filter."""

    def shown(clip: ReadClip) -> Floats:
        track = open_filter(settings)
        rows = [track.add(row, seconds) for row, seconds in zip(clip.probabilities, clip.seconds, strict=True)]
        return np.array(rows).reshape(-1, len(LABELS))

    return shown


def mean_loss(clips: Sequence[ReadClip], shown: Shown) -> float:
    """Return the negative log-likelihood of a frame's true label, in nats."""
    return log_loss(np.concatenate([shown(clip) for clip in clips]), np.concatenate([clip.truth for clip in clips]))


@dataclass(frozen=True)
class Scores:
    """Scores of one way on clips, with the raw values of each."""

    way: str
    nll: float
    ece: float
    accuracy: float
    flips: list[int]
    """Changes of the shown label, a clip."""
    true_changes: list[int]
    delays_s: list[float | None] = field(repr=False)
    """Of each true change, until its label is shown; None where it never is before the next change."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object."""
        shown = [delay for delay in self.delays_s if delay is not None]
        return {
            "way": self.way,
            "nll": round(self.nll, 4),
            "ece": round(self.ece, 4),
            "accuracy": round(self.accuracy, 4),
            "flips": sum(self.flips),
            "true_changes": sum(self.true_changes),
            "missed_changes": len(self.delays_s) - len(shown),
            "mean_delay_s": round(float(np.mean(shown)), 4) if shown else None,
            "raw": {
                "flips": self.flips,
                "true_changes": self.true_changes,
                "delays_s": [None if delay is None else round(delay, 3) for delay in self.delays_s],
            },
        }


def scores(way: str, clips: Sequence[ReadClip], shown: Shown) -> Scores:
    """Score one way."""
    tables = [shown(clip) for clip in clips]
    probabilities, truth = np.concatenate(tables), np.concatenate([clip.truth for clip in clips])
    labels = [table.argmax(1) for table in tables]
    return Scores(
        way,
        log_loss(probabilities, truth),
        calibration_error(probabilities, truth),
        float((probabilities.argmax(1) == truth).mean()),
        [int((np.diff(row) != 0).sum()) for row in labels],
        [int((np.diff(clip.truth) != 0).sum()) for clip in clips],
        [delay for clip, row in zip(clips, labels, strict=True) for delay in _delays(clip, row)],
    )


def added_delay(way: Scores, other: Scores) -> float | None:
    """Return the mean seconds that ``way`` shows a change after ``other`` does, of changes that both show.

    None where there are none.
    """
    pairs = zip(way.delays_s, other.delays_s, strict=True)
    added = [own - base for own, base in pairs if own is not None and base is not None]
    return float(np.mean(added)) if added else None


def _delays(clip: ReadClip, labels: NDArray[np.int64]) -> list[float | None]:
    delays: list[float | None] = []
    ends = [at_s for at_s, _ in clip.changes[1:]] + [float("inf")]
    for (at_s, label), end_s in zip(clip.changes, ends, strict=True):
        rows = np.flatnonzero((clip.seconds >= at_s) & (clip.seconds < end_s))
        # A change in the last moments of a clip has no frames to be shown in.
        if len(rows) < 3:
            continue
        hits = rows[labels[rows] == label]
        delays.append(float(clip.seconds[hits[0]] - at_s) if len(hits) else None)
    return delays


def event_errors(clips: Sequence[ReadClip], shown: Shown) -> dict[str, dict[str, Any]]:
    """Return for onset, apex and offset: true moments, those that an event names, other events, errors in seconds.

    The true onset and offset are the changes of the true label; the true apex is the middle between them.
    """
    errors: dict[str, list[float]] = {"onset": [], "apex": [], "offset": []}
    true, other = dict.fromkeys(errors, 0), dict.fromkeys(errors, 0)
    for clip in clips:
        events = _events(clip, shown(clip))
        for change, values in errors.items():
            moments = _true_moments(clip, change)
            true[change] += len(moments)
            named = [event for event in events if event.change == change]
            for label, at_s in moments:
                same = [event for event in named if event.label == label and abs(event.seconds - at_s) <= NEAR_S]
                if same:
                    best = min(same, key=lambda event: abs(event.seconds - at_s))
                    named.remove(best)
                    values.append(best.seconds - at_s)
            other[change] += len(named)
    return {
        change: {
            "true": true[change],
            "named": len(values),
            "other_events": other[change],
            "mean_error_s": round(float(np.mean(values)), 4) if values else None,
            "mean_absolute_error_s": round(float(np.abs(values).mean()), 4) if values else None,
            "raw_errors_s": [round(value, 3) for value in values],
        }
        for change, values in errors.items()
    }


def _events(clip: ReadClip, table: Floats) -> list[ExpressionChange]:
    track, events = ExpressionTrack(), list[ExpressionChange]()
    for row, seconds in zip(table, clip.seconds, strict=True):
        events += track.add(dict(zip(LABELS, row.tolist(), strict=True)), float(seconds))
    return events


def _true_moments(clip: ReadClip, change: str) -> list[tuple[str, float]]:
    """Return label and time; a stretch that the clip cuts off at either side has no middle and one end alone."""
    last_s = float(clip.seconds[-1])
    moments = []
    for number, (at_s, row) in enumerate(clip.changes):
        end_s = clip.changes[number + 1][0] if number + 1 < len(clip.changes) else None
        if LABELS[row] == NEUTRAL or at_s > last_s - NEAR_S:
            continue
        if change == "onset":
            moments.append((LABELS[row], at_s))
        elif end_s is not None and end_s <= last_s - NEAR_S:
            moments.append((LABELS[row], end_s if change == "offset" else (at_s + end_s) / 2))
    return moments
