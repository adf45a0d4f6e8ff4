"""Bounds on what a detector gives: the least score, the smallest face, the number of faces."""

from __future__ import annotations

from dataclasses import dataclass

from emo_edge.errors import InputError
from emo_edge.faces.detector import DetectedFace, FaceDetector
from emo_edge.media.crops import Image


@dataclass(frozen=True)
class FaceLimits:
    """Bounds on faces. Raises InputError for a bound that means nothing."""

    min_score: float | None = None
    """Least score in [0, 1]; None is the detector's own threshold."""
    min_face: float | None = None
    """Least longer side of a box, as a fraction of the picture's shorter side."""
    max_faces: int | None = None
    """Number of faces, the largest ones."""

    def __post_init__(self) -> None:
        for name in ("min_score", "min_face"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"`{name}` is in 0..1, not {value}")
        if self.max_faces is not None and self.max_faces < 1:
            raise InputError(f"`max_faces` is 1 or more, not {self.max_faces}")

    def kept(self, faces: list[DetectedFace], frame: Image) -> list[DetectedFace]:
        """Return the faces inside the bounds, in their order; one without a score passes the first."""
        smallest = (self.min_face or 0.0) * min(frame.shape[:2])
        least = self.min_score or 0.0
        inside = [face for face in faces if (face.score is None or face.score >= least) and face.side >= smallest]
        return inside[: self.max_faces]


NO_LIMITS = FaceLimits()


class LimitedDetector:
    """A detector whose faces are inside bounds."""

    def __init__(self, detector: FaceDetector, limits: FaceLimits) -> None:
        self.inner, self.limits = detector, limits

    @property
    def name(self) -> str:
        """Return the detector's own name: the margin of a crop depends on it."""
        return self.inner.name

    def detect(self, frame: Image) -> list[DetectedFace]:
        """Return the faces of ``frame`` (uint8 RGB [H, W, 3]) that are inside the bounds, the largest first."""
        return self.limits.kept(self.inner.detect(frame), frame)
