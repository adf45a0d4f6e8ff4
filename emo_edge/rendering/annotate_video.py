"""Draw a video's results onto its frames, one frame at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from emo_edge.errors import InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.inference.results import SourceResult
from emo_edge.media.captures import opened_capture, promised_frames
from emo_edge.media.crops import Box, Image
from emo_edge.media.videos import TimedFrame, sampled_frames
from emo_edge.rendering.annotate import annotated
from emo_edge.utils.files import replaced_file
from emo_edge.utils.native_paths import native_path
from emo_edge.utils.opencv import open_cv2

logger = logging.getLogger(__name__)
CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
USUAL_FPS = 30.0
"""Of a video without a rate of its own."""


def write_annotated_video(
    source: str,
    target: Path,
    results: Sequence[SourceResult],
    detector: FaceDetector,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write ``source`` again with the box of each frame and the result of its clip; it appears as a whole.

    Args:
        source: the video that was read; of one that is cut off the frames before the cut are drawn.
        target: .mp4 or .avi.
        results: its clips in order; each frame shows the one nearest in time.
        detector: finds the box of each frame; a frame without a face keeps the box of the frame before.
        overwrite: replace an existing file.
        progress: gets the frames drawn and promised.

    Raises InputError for another extension, an existing file and a path that cannot be written.
    """
    if target.suffix.lower() not in CODECS:
        raise InputError(f"{target}: a video is drawn as {' or '.join(CODECS)}")
    if target.exists() and not overwrite:
        raise InputError(f"{target}: is there already; remove it, choose another name or `overwrite`")
    with opened_capture(source, "video") as capture:
        rate, promised = capture.get(open_cv2().CAP_PROP_FPS), promised_frames(capture)
    with replaced_file(target, suffix=target.suffix) as partial, native_path(partial) as name:
        frames, fps = _drawn(source, results, detector), rate if 0 < rate < 1000 else USUAL_FPS
        for done in _write(Path(name), frames, fps, target):
            progress(done, promised)


def _drawn(source: str, results: Sequence[SourceResult], detector: FaceDetector) -> Iterator[Image]:
    box: Box | None = None
    clips = [result for result in results if result.seconds]
    for frame in _readable_frames(source):
        faces = detector.detect(frame.image)
        box = faces[0].box if faces else box
        while len(clips) > 1 and _distance(clips[1], frame.time_s) <= _distance(clips[0], frame.time_s):
            clips.pop(0)
        result = clips[0].faces[0] if clips and clips[0].faces else None
        moved = [replace(result, box=box)] if result and box else []
        # Landmarks and pose belong to the clip's middle frame alone.
        yield annotated(frame.image, moved, geometry=False)


def _readable_frames(source: str) -> Iterator[TimedFrame]:
    """Yield every frame; a file that is cut off ends with a warning, once it gave any."""
    any_frame = False
    try:
        for frame in sampled_frames(source):
            any_frame = True
            yield frame
    except InputError as error:
        if not any_frame:
            raise
        logger.warning("%s", error)


def _distance(result: SourceResult, time_s: float) -> float:
    assert result.seconds is not None
    first, last = result.seconds
    return max(first - time_s, time_s - last, 0.0)


def _write(path: Path, frames: Iterator[Image], fps: float, target: Path) -> Iterator[int]:
    """Write the frames; yield the number of those written so far."""
    cv2, count = open_cv2(), 0
    writer: Any = None
    try:
        for image in frames:
            if writer is None:
                codec = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
                writer = cv2.VideoWriter(str(path), codec, fps, image.shape[1::-1])
                if not writer.isOpened():
                    raise InputError(f"{target}: cannot be written; choose another place or extension")
            writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            count += 1
            yield count
    finally:
        if writer is not None:
            writer.release()
    kept = _written_frames(path)
    if kept != count:
        raise InputError(f"{target}: only {kept} of {count} frames could be written; make room or choose another place")


def _written_frames(path: Path) -> int:
    """Count the frames in the file: OpenCV reports no error when the disk is full."""
    try:
        with opened_capture(str(path), "video") as capture:
            return promised_frames(capture)
    except InputError:
        return 0
