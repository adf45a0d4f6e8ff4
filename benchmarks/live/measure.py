"""Ages of frames in `emo_edge.live`, and in the loop that a user would write with OpenCV, over the same scene."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from emo_edge.inference.live.api import live
from emo_edge.inference.live.events import FrameEvent
from emo_edge.inference.live.settings import LiveSettings
from emo_edge.inference.pipeline import EmotionPipeline
from emo_edge.inference.results import EmotionResult
from emo_edge.media.live.settings import CaptureSettings
from emo_edge.utils.opencv import open_cv2

PERCENTILES = (50, 90, 99)


class SlowedPipeline(EmotionPipeline):
    """A pipeline whose readings take longer, as those of a larger model would."""

    extra_s = 0.0

    def read(self, *arguments: Any, **options: Any) -> list[EmotionResult]:
        """Wait, then read."""
        time.sleep(self.extra_s)
        return super().read(*arguments, **options)


@dataclass
class Row:
    """One way to show a scene, with every age."""

    way: str
    faces: int
    seconds: float
    age_ms: list[float] = field(default_factory=list)
    """Of each frame that was shown."""
    label_age_ms: list[float] = field(default_factory=list)
    """Of each face of those frames that had a label."""
    track_ms: list[float] = field(default_factory=list)
    dropped: int = 0
    span_s: float = 0.0
    """From the first frame that was shown to the last one, by their own times."""

    @property
    def fps(self) -> float:
        """Return the frames shown in a second."""
        return (len(self.age_ms) - 1) / self.span_s if self.span_s > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object, raw values included."""
        return {
            "way": self.way,
            "faces": self.faces,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
            **{name: percentiles(getattr(self, name)) for name in ("age_ms", "label_age_ms", "track_ms")},
            "dropped": self.dropped,
            "raw": {
                name: [round(value, 2) for value in getattr(self, name)]
                for name in ("age_ms", "label_age_ms", "track_ms")
            },
        }


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return p50, p90 and p99; None of no values."""
    if not values:
        return None
    return {f"p{number}": round(float(np.percentile(values, number)), 2) for number in PERCENTILES}


def live_row(way: str, pipeline: EmotionPipeline, scene: Path, faces: int, settings: LiveSettings) -> Row:
    """Play the scene at its own pace through `emo_edge.live`."""
    row, started = Row(way, faces, 0.0), time.perf_counter()
    first_s: float | None = None
    for event in live(pipeline, scene, settings=settings):
        if isinstance(event, FrameEvent):
            row.age_ms.append(event.age_ms)
            row.label_age_ms += [face.label_age_ms for face in event.faces if face.label_age_ms is not None]
            row.track_ms.append(event.stage_ms["track"])
            row.dropped += sum(event.dropped.values())
            first_s = event.time_s if first_s is None else first_s
            row.span_s = event.time_s - first_s
    row.seconds = time.perf_counter() - started
    return row


def plain_row(way: str, pipeline: EmotionPipeline, scene: Path, faces: int, fps: float, seconds: float) -> Row:
    """Read frame after frame as a user's loop does, each when the camera would give it, for so many seconds."""
    cv2 = open_cv2()
    capture, row, index = cv2.VideoCapture(str(scene)), Row(way, faces, seconds), 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        done, frame = capture.read()
        if not done:
            break
        taken = started + index / fps
        time.sleep(max(taken - time.perf_counter(), 0.0))
        pipeline.read(frame, channels="bgr")
        age_ms = 1000 * (time.perf_counter() - taken)
        row.age_ms.append(age_ms)
        row.label_age_ms += [age_ms] * faces
        row.span_s = time.perf_counter() - started
        index += 1
    row.seconds = time.perf_counter() - started
    capture.release()
    return row


def live_settings(seconds: float, max_age_s: float) -> LiveSettings:
    """Return settings that play a file in real time for so long."""
    return LiveSettings(max_age_s=max_age_s, duration_s=seconds, capture=CaptureSettings(realtime=True))


def warm_up(pipeline: EmotionPipeline, scene: Path, count: int = 3) -> None:
    """Read some frames, so that engines have their memory."""
    cv2 = open_cv2()
    capture = cv2.VideoCapture(str(scene))
    for _ in range(count):
        done, frame = capture.read()
        if done:
            pipeline.read(frame, channels="bgr")
    capture.release()
