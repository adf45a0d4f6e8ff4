"""Batches of a video's frames: faces found and followed from frame to frame, and their crops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from emo_edge.errors import DeviceError, InputError
from emo_edge.faces.detector import FaceDetector
from emo_edge.faces.live.tracker import LiveTrack, LiveTracker, TrackTimes
from emo_edge.media.crops import Box, Crop, Image
from emo_edge.media.videos import TimedFrame
from emo_edge.tracking.network import FaceNetwork

FRAMES_AT_ONCE = 16
"""Frames of a batch: what a stopped run computes again, and what memory holds as crops."""


@dataclass(frozen=True)
class FoundFace:
    """A face in a frame before the network ran."""

    frame: int
    """Of its batch."""
    number: int
    """Of its track, from 0 on; some tracks are chance detections, which never get an id."""
    box: Box
    score: float | None
    crop: Crop


@dataclass
class FoundBatch:
    """Some frames and the faces in them."""

    frames: list[TimedFrame] = field(default_factory=list)
    """Their pictures are released."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """Width and height of each."""
    faces: list[FoundFace] = field(default_factory=list)
    born: list[tuple[int, int]] = field(default_factory=list)
    """Number and id, from 0 on, of tracks that are no chance detections."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """Of the follower after these frames, as JSON values."""
    is_last: bool = False
    error: InputError | DeviceError | None = None
    """That ended the video early."""


class VideoFollower:
    """Follows the faces of one video; the batches depend on nothing but the video, the detector and the network."""

    def __init__(self, network: FaceNetwork, detector: FaceDetector) -> None:
        self._network, self._detector, self._times = network, detector, TrackTimes()
        self._tracker = LiveTracker(detector, self._times)
        self._segment, self._segment_start_s, self._before_s = 0, 0.0, 0.0
        self._is_stopped = False

    def stop(self) -> None:
        """End a batch that another thread is at, at its next frame."""
        self._is_stopped = True

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on after the batch with this state."""
        self._tracker.restore(state["tracker"])
        self._segment, self._segment_start_s, self._before_s = state["segment"]

    def batch(self, frames: Iterator[TimedFrame]) -> FoundBatch:
        """Take the next frames, find and follow their faces, and cut them out."""
        batch = FoundBatch()
        while len(batch.frames) < FRAMES_AT_ONCE and not (batch.is_last or self._is_stopped):
            try:
                frame = next(frames)
            except StopIteration:
                batch.is_last = True
            except (InputError, DeviceError) as error:
                batch.is_last, batch.error = True, error
            else:
                self._add(batch, frame)
        if batch.is_last:
            self._end_segment(batch)
        segment = [self._segment, self._segment_start_s, self._before_s]
        batch.state = {"tracker": self._tracker.state(), "segment": segment}
        return batch

    def _add(self, batch: FoundBatch, frame: TimedFrame) -> None:
        if frame.segment != self._segment:
            self._end_segment(batch)
            self._tracker.drop_all("source")
            self._segment, self._segment_start_s = frame.segment, frame.elapsed_s
        changes = self._tracker.step(frame.image, frame.elapsed_s)
        self._note(batch, changes.born)
        height, width = frame.image.shape[:2]
        batch.faces += [
            self._face(len(batch.frames), frame.image, track)
            for track in self._tracker.followed
            if track.detected and _is_in(track.box, width, height)
        ]
        batch.frames.append(TimedFrame(frame.image[:0], frame.index, frame.time_s, frame.segment, frame.elapsed_s))
        batch.sizes.append((width, height))
        self._before_s = frame.elapsed_s

    def _face(self, place: int, image: Image, track: LiveTrack) -> FoundFace:
        box = track.box
        crop = self._network.crop(image, box, self._detector.name)
        return FoundFace(place, track.number, box, track.score, crop)

    def _end_segment(self, batch: FoundBatch) -> None:
        """Bear the faces of a stretch that is too short for it, such as a single frame."""
        if self._before_s - self._segment_start_s < self._times.birth_s:
            self._note(batch, self._tracker.bear_rest())

    def _note(self, batch: FoundBatch, born: list[LiveTrack]) -> None:
        batch.born += [(track.number, track.id - 1) for track in born]


def _is_in(box: Box, width: int, height: int) -> bool:
    x0, y0, x1, y1 = box
    return x0 < width and y0 < height and x1 > 0 and y1 > 0 and x1 > x0 and y1 > y0
