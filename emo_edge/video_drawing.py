"""Draw a video's readings onto its frames, one frame at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from emo_edge.crops import Box, Image
from emo_edge.detected_faces import FaceDetector
from emo_edge.drawing import annotated
from emo_edge.errors import InputError
from emo_edge.opencv import open_cv2
from emo_edge.reading import Reading
from emo_edge.results import Result
from emo_edge.videos import TimedFrame, sampled_frames

CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
USUAL_FPS = 30.0
"""Of a video whose first frames have no times."""


def write_annotated_video(
    source: str, target: Path, results: Sequence[Result], detector: FaceDetector, *, overwrite: bool = False
) -> None:
    """Write ``source`` again with the box of each frame and the reading of its clip, beside first and then renamed.

    Args:
        source: the video that was read.
        target: .mp4 or .avi.
        results: its clips in order; each frame shows the one nearest in time.
        detector: finds the box of each frame; one without a face keeps the box before.
        overwrite: replace a file that is there.

    Raises InputError for another extension, a file that is there already and a place that cannot be written.
    """
    if target.suffix.lower() not in CODECS:
        raise InputError(f"{target}: a video is drawn as {' or '.join(CODECS)}")
    if target.exists() and not overwrite:
        raise InputError(f"{target}: is there already; remove it, choose another name or --overwrite")
    beside = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        _write(beside, _drawn(sampled_frames(source), results, detector), target)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _drawn(
    frames: Iterable[TimedFrame], results: Sequence[Result], detector: FaceDetector
) -> Iterator[tuple[float, Image]]:
    box: Box | None = None
    for frame in frames:
        faces = detector.detect(frame.image)
        box = faces[0].box if faces else box
        reading = _reading_at(results, frame.time_s)
        # Landmarks and pose were read in the clip's middle frame alone.
        shown = [replace(reading, box=box, facts=None)] if reading and box else []
        yield frame.time_s, annotated(frame.image, shown)


def _reading_at(results: Sequence[Result], time_s: float) -> Reading | None:
    clips = [result for result in results if result.seconds]
    if not clips:
        return None
    nearest = min(clips, key=lambda result: _distance(result, time_s))
    return nearest.readings[0] if nearest.readings else None


def _distance(result: Result, time_s: float) -> float:
    assert result.seconds is not None
    first, last = result.seconds
    return max(first - time_s, time_s - last, 0.0)


def _write(path: Path, frames: Iterator[tuple[float, Image]], target: Path) -> None:
    cv2 = open_cv2()
    start = list(islice(frames, 2))
    if not start:
        raise InputError(f"{target}: there is no frame to draw")
    fps = 1 / (start[1][0] - start[0][0]) if len(start) > 1 and start[1][0] > start[0][0] else USUAL_FPS
    height, width = start[0][1].shape[:2]
    codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
    writer: Any = cv2.VideoWriter(str(path), codec, fps, (width, height))
    try:
        if not writer.isOpened():
            raise InputError(f"{target}: cannot be written; choose another place or extension")
        for _, image in chain(start, frames):
            writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
