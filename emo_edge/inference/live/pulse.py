"""The heart rates of followed faces from the colour of their skin, as frames come. Not a medical device."""

from __future__ import annotations

from collections.abc import Sequence

from emo_edge.faces.live.tracker import LiveTrack
from emo_edge.faces.tracks import overlap
from emo_edge.inference.signals.followed_faces import TOO_NEAR, FollowedFace
from emo_edge.inference.signals.heart_rate import STEP_S, WINDOW_S, PulseWindow, heart_rate
from emo_edge.media.crops import Image

SAME_TIME_S = 1e-6
"""Time stamps round."""


class LivePulse:
    """The skin of every followed face over the last 10 s, and its heart rate once a second.

    A window whose frames came too slowly, with gaps or without the face has no number, and a reason.
    """

    def __init__(self) -> None:
        self._faces: dict[int, FollowedFace] = {}
        self._last_s: float | None = None

    def add(self, frame: Image, seconds: float, tracks: Sequence[LiveTrack]) -> list[PulseWindow]:
        """Read the skin of the tracks in a frame (uint8 RGB [H, W, 3]); return the windows that end with it.

        A window's ``face`` is the id of the track. Of the windows that end in a pause only the last one is given.
        """
        step_s, self._last_s = 0.0 if self._last_s is None else max(seconds - self._last_s, 0.0), seconds
        windows = []
        for track in tracks:
            face = self._faces.setdefault(track.id, FollowedFace(track.id, track.box, track.box))
            windows += _due(face, seconds)
            face.detected, face.present = track.box, track.detected
            face.unsure = any(overlap(track.box, other.box) > TOO_NEAR for other in tracks if other is not track)
            face.read(frame, seconds, step_s)
        return windows

    def drop(self, number: int) -> None:
        """Forget a lost track."""
        self._faces.pop(number, None)


def _due(face: FollowedFace, now_s: float) -> list[PulseWindow]:
    """Return the newest window that a frame at ``now_s`` is the first one after, if any."""
    if not face.rows:
        return []
    ended = int((now_s + SAME_TIME_S - face.begun_s - WINDOW_S) // STEP_S) + 1
    if ended <= face.windows:
        return []
    face.windows = ended
    start_s = face.begun_s + (ended - 1) * STEP_S
    part = face.trace().part(start_s - SAME_TIME_S, start_s + WINDOW_S - SAME_TIME_S)
    return [PulseWindow(face.number, start_s, start_s + WINDOW_S, heart_rate(part))]
