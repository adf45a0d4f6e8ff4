"""Draw a video's results onto its frames, one frame at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from emo_edge.errors import InputError
from emo_edge.faces.detector import DetectedFace, FaceDetector
from emo_edge.faces.tracks import followed
from emo_edge.inference.results import EmotionResult, SourceResult
from emo_edge.media.captures import opened_capture
from emo_edge.media.crops import Box
from emo_edge.media.videos import TimedFrame, sampled_frames
from emo_edge.rendering.annotate import annotated
from emo_edge.rendering.video_writers import CODECS, TimedImage, write_video
from emo_edge.storage.output_files import OutputFile
from emo_edge.utils.native_paths import native_path

__all__ = ["CODECS", "write_annotated_video"]

logger = logging.getLogger(__name__)


def write_annotated_video(
    source: str,
    output: OutputFile,
    results: Sequence[SourceResult],
    detector: FaceDetector,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Write ``source`` again with the boxes of each frame and the results of its clip; it appears as a whole.

    The frames keep their times: in .mp4 each its own time stamp, in .avi by repeating them. Sound is left out.

    Args:
        source: the video that was read; of one that is cut off the frames before the cut are drawn.
        output: .mp4 or .avi, the partial file too; it is renamed at the end.
        results: its clips in order; each frame shows the one nearest in time.
        detector: finds the faces of each frame, which are followed from the clip's; a face that is not detected keeps
            its box of the frame before.
        progress: gets the frames drawn and expected.

    Raises InputError for another extension and a path that cannot be written.
    """
    target = output.target
    if target.suffix.lower() not in CODECS:
        raise InputError(f"{target}: a video is drawn as {' or '.join(CODECS)}")
    with opened_capture(source, "video") as reader:
        step_s, expected = reader.step_s, reader.frame_count or round(reader.duration_s / reader.step_s)
    with native_path(output.partial) as name:
        for done in write_video(Path(name), _drawn(source, results, detector), step_s, target):
            progress(done, expected)
    output.finish()


def _drawn(source: str, results: Sequence[SourceResult], detector: FaceDetector) -> Iterator[TimedImage]:
    boxes: list[Box | None] = []
    clips, shown = [result for result in results if result.seconds], None
    for frame in _readable_frames(source):
        while len(clips) > 1 and _distance(clips[1], frame) <= _distance(clips[0], frame):
            clips.pop(0)
        faces = clips[0].faces if clips else []
        if clips and clips[0] is not shown:
            boxes, shown = _carried_over(boxes, faces), clips[0]
        boxes = _moved(boxes, faces, detector.detect(frame.image))
        moved = [replace(face, box=box) for face, box in zip(faces, boxes, strict=True) if box is not None]
        # Landmarks and pose belong to the clip's middle frame alone.
        yield annotated(frame.image, moved, geometry=False), frame.elapsed_s, frame.duration_s


def _carried_over(boxes: Sequence[Box | None], faces: Sequence[EmotionResult]) -> list[Box | None]:
    """Return the boxes of a new clip's faces: those of the clip before where they are the same faces."""
    before = [DetectedFace(box, None) for box in boxes if box is not None]
    return [match.box if match else None for match in followed([face.box for face in faces], before)]


def _moved(
    boxes: Sequence[Box | None], faces: Sequence[EmotionResult], detected: Sequence[DetectedFace]
) -> list[Box | None]:
    """Return the boxes in the next frame; a face without a box yet starts from its clip's."""
    known = [box or face.box for box, face in zip(boxes, faces, strict=True)]
    matches = followed(known, detected)
    if len(faces) == len(detected) == 1:
        # The one face there is, however far it moves in a video of few frames.
        matches = list(detected)
    return [match.box if match else box for match, box in zip(matches, boxes, strict=True)]


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


def _distance(result: SourceResult, frame: TimedFrame) -> tuple[int, float]:
    """Return how far a frame is from a clip: in segments, then in seconds."""
    assert result.seconds is not None
    first, last = result.seconds
    segments = abs(frame.segment - result.segment)
    return segments, max(first - frame.time_s, frame.time_s - last, 0.0)
