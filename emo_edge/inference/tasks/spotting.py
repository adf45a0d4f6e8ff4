"""Onset, apex and offset of a brief movement that nobody named: spotted in the action units of the face in a video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.faces.live.tracker import LiveTracker
from emo_edge.inference.signals.movements import LEAST_SCORE, spot_movements
from emo_edge.inference.tasks.heart_rate import ToolCall
from emo_edge.inference.tasks.moments import Moments
from emo_edge.media.crops import Box, Image
from emo_edge.media.sources import without_password
from emo_edge.media.videos import TimedFrame, sampled_frames

FloatArray = NDArray[np.float64]
UnitsOf = Callable[[Sequence[Image], Sequence[Box]], FloatArray]
"""Gives the units of a face in each of some frames, from 0 to 5, [N, U]."""
AT_ONCE = 16
"""Frames whose pictures are held."""
STEP = "spot_movement"
DIGITS = 4


@dataclass(frozen=True)
class UnitCurve:
    """Action units of one face through a video, a row a frame that shows it."""

    frames: tuple[int, ...]
    """Numbers in the video, counted from 0."""
    times: FloatArray
    """Seconds since the first frame, [N]."""
    values: FloatArray
    """From 0 to 5, [N, U]."""


@dataclass(frozen=True)
class SpottedMovement:
    """The clearest brief movement of a video."""

    moments: Moments
    score: float
    seconds: tuple[float, float]
    """Of its onset and its offset, since the first frame."""
    rises: tuple[float, ...]
    """Of each unit at the apex, from 0 to 5; below 0 for a unit that falls."""

    def tool_call(self) -> ToolCall:
        """Return the record of the step that spotted it."""
        values = {**vars(self.moments), "score": round(self.score, 1)}
        start, end = (round(value, DIGITS) for value in self.seconds)
        return ToolCall(STEP, {"method": "triangles"}, {**values, "onset_s": start, "offset_s": end})


@dataclass
class _FollowedUnits:
    """Rows of one face so far."""

    frames: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    rows: list[FloatArray] = field(default_factory=list)


def unit_curve(
    frames: Iterable[TimedFrame],
    detector: FaceDetector,
    units_of: UnitsOf,
    progress: Callable[[int], None] = lambda done: None,
) -> UnitCurve:
    """Return the action units of the face that is there in most frames.

    Args:
        frames: of a video, one after the other.
        detector: that finds the faces; they are followed from frame to frame.
        units_of: of crops.
        progress: gets the frames read.

    Raises InputError where no frame shows a face.
    """
    tracker, faces = LiveTracker(detector), dict[int, _FollowedUnits]()
    waiting: list[tuple[TimedFrame, int, Box]] = []
    count = 0

    def compute() -> None:
        if waiting:
            values = units_of([frame.image for frame, _, _ in waiting], [box for _, _, box in waiting])
            for (frame, number, _), row in zip(waiting, values, strict=True):
                own = faces.setdefault(number, _FollowedUnits())
                own.frames.append(frame.index)
                own.times.append(frame.elapsed_s)
                own.rows.append(np.asarray(row, np.float64))
            waiting.clear()

    for count, frame in enumerate(frames, 1):
        tracker.step(frame.image, frame.elapsed_s)
        waiting += [(frame, one.number, one.box) for one in tracker.followed if one.detected]
        if len(waiting) >= AT_ONCE:
            compute()
            progress(count)
    compute()
    progress(count)
    if not faces:
        raise InputError("no face is detected, so that no movement can be spotted")
    face = max(faces.values(), key=lambda own: len(own.frames))
    return UnitCurve(tuple(face.frames), np.array(face.times), np.stack(face.rows))


def clearest_movement(curve: UnitCurve, *, least_score: float = LEAST_SCORE) -> SpottedMovement | None:
    """Return the clearest brief movement of a face; None where there is none.

    A ``least_score`` of 0 returns the clearest of any. Raises InputError as `spot_movements` does.
    """
    spotted = spot_movements(curve.values, curve.times, most=1, least_score=least_score)
    if not spotted:
        return None
    one = spotted[0]
    chosen = Moments(*(curve.frames[row] for row in (one.onset, one.apex, one.offset)))
    seconds = (float(curve.times[one.onset]), float(curve.times[one.offset]))
    return SpottedMovement(chosen, one.score, seconds, one.rises)


def spotted_movement(
    source: str | Path,
    detector: FaceDetector,
    units_of: UnitsOf,
    progress: Callable[[int], None] = lambda done: None,
) -> SpottedMovement:
    """Return the clearest brief movement of the face in a video file.

    Raises InputError for what cannot be read, for a video without one, and for one that is too short or too slow.
    """
    name = without_password(str(source))
    try:
        movement = clearest_movement(unit_curve(sampled_frames(source), detector, units_of, progress))
    except InputError as error:
        message = str(error)
        raise InputError(message if message.startswith(name) else f"{name}: {message}") from error
    if movement is None:
        raise InputError(f"{name}: no brief movement is spotted; give `onset`, `apex` and `offset` if there is one")
    return movement
