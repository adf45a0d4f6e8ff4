"""Follow faces from frame to frame of a clip, so that one reading is of one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from emo_edge.faces.detector import DetectedFace, box_area
from emo_edge.media.crops import Box

FARTHEST = 0.8
"""Distance between the middles of two boxes, in sides of the larger one, at which they may be one face: faces next to
each other are at least one side apart."""
LARGEST_RATIO = 2.0
"""Of the sides of two boxes of one face."""
FacesOfTrack = list[tuple[int, DetectedFace]]
"""Frame and face, in the order of the frames."""


@dataclass
class Track:
    """One face through a clip: its box in each frame in which it was detected."""

    faces: dict[int, DetectedFace] = field(default_factory=dict)

    @property
    def last(self) -> DetectedFace:
        """Return the latest face."""
        return self.faces[max(self.faces)]

    @property
    def area(self) -> float:
        """Return the sum of the areas."""
        return sum(box_area(face.box) for face in self.faces.values())


def followed(boxes: Sequence[Box], faces: Sequence[DetectedFace]) -> list[DetectedFace | None]:
    """Return for each box the face of the next frame that is most likely the same one, None where none is.

    Pairs are matched by overlap, then by distance, the best ones first, and no face twice.
    """
    pairs = sorted(
        (_cost(box, face.box), number, index)
        for number, box in enumerate(boxes)
        for index, face in enumerate(faces)
        if _may_be_same(box, face.box)
    )
    matched: dict[int, int] = {}
    for _, number, index in pairs:
        if number not in matched and index not in matched.values():
            matched[number] = index
    return [faces[matched[number]] if number in matched else None for number in range(len(boxes))]


def face_tracks(by_frame: Sequence[Sequence[DetectedFace]]) -> list[Track]:
    """Return the tracks of a clip's faces, the main one first and the others by size.

    The main one begins first, and is the largest there, among those with half as many frames as the longest.
    """
    tracks: list[Track] = []
    for frame, faces in enumerate(by_frame):
        matches = followed([track.last.box for track in tracks], faces)
        for track, match in zip(tracks, matches, strict=True):
            if match is not None:
                track.faces[frame] = match
        known = [id(match) for match in matches if match is not None]
        tracks += [Track({frame: face}) for face in faces if id(face) not in known]
    if not tracks:
        return []
    longest = max(len(track.faces) for track in tracks)
    main = min((track for track in tracks if 2 * len(track.faces) >= longest), key=_start)
    return [main, *sorted((track for track in tracks if track is not main), key=lambda track: -track.area)]


def faces_of_clip(by_frame: Sequence[Sequence[DetectedFace]]) -> list[FacesOfTrack]:
    """Return for each track of a clip, the main one first, the frames to read and the face in each of them.

    A frame without any face takes the track's box in the nearest frame; one that shows only other faces is left out.
    """
    return [_frames_of(track, by_frame) for track in face_tracks(by_frame)]


def _frames_of(track: Track, by_frame: Sequence[Sequence[DetectedFace]]) -> FacesOfTrack:
    frames = [frame for frame, faces in enumerate(by_frame) if frame in track.faces or not faces]
    nearest = [min(track.faces, key=lambda other: (abs(other - frame), other)) for frame in frames]
    return [(frame, track.faces[other]) for frame, other in zip(frames, nearest, strict=True)]


def _start(track: Track) -> tuple[int, float]:
    first = min(track.faces)
    return first, -box_area(track.faces[first].box)


def _side(box: Box) -> float:
    return max(box[2] - box[0], box[3] - box[1])


def _distance(one: Box, other: Box) -> float:
    """Return the distance of the middles in sides of the larger box."""
    across = (one[0] + one[2] - other[0] - other[2]) / 2
    down = (one[1] + one[3] - other[1] - other[3]) / 2
    return float((across**2 + down**2) ** 0.5 / max(_side(one), _side(other)))


def overlap(one: Box, other: Box) -> float:
    """Return the intersection over union of two boxes."""
    common = box_area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))
    return common / (box_area(one) + box_area(other) - common)


def _may_be_same(one: Box, other: Box) -> bool:
    small, large = sorted((_side(one), _side(other)))
    return small > 0 and large <= LARGEST_RATIO * small and _distance(one, other) <= FARTHEST


def _cost(one: Box, other: Box) -> float:
    return 1 - overlap(one, other) + _distance(one, other)
