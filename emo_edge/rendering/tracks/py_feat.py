"""Columns of py-feat's ``Detectorv1`` (``Fex``), as far as a face network gives them.

Order, names and units: ``feat/detector.py`` and ``feat/utils/__init__.py`` of cosanlab/py-feat 2.1. Frames count from
0. A pose is in radians: up, to the person's own right, tilted to the person's own right. A unit is its probability.
Left out are the head's position, gaze and embeddings of identity; ``face_id`` is ours, and its place is the end.
"""

from __future__ import annotations

from emo_edge.inference.rows import Value
from emo_edge.rendering.tracks.columns import Columns, FaceColumns, FrameColumns
from emo_edge.rendering.tracks.faces import LANDMARKS, FaceContents, TrackedFace, TrackedFrame

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""In py-feat's order."""


def columns(contents: FaceContents) -> Columns:
    """Return the columns for what a network gives."""
    units = sorted(range(len(contents.units)), key=lambda place: contents.units[place])
    emotions = [(name, contents.labels.index(name)) for name in EMOTIONS if name in contents.labels]
    rows = [row for _, row in emotions]
    geometry: Columns = (
        FaceColumns(
            tuple(f"{axis}_{point}" for axis in "xy" for point in range(LANDMARKS)),
            "number",
            lambda face: face.landmarks.T.ravel().tolist(),
            3,
        ),
        FaceColumns(("Pitch", "Roll", "Yaw"), "number", _pose, 5),
    )
    return [
        FaceColumns(("FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight"), "number", _rectangle, 3),
        FaceColumns(("FaceScore",), "number", lambda face: (face.score,), 5),
        *(geometry if contents.geometry else ()),
        FaceColumns(
            tuple(f"AU{contents.units[place]:02d}" for place in units),
            "number",
            lambda face: face.presence[units].tolist(),
            5,
        ),
        FaceColumns(tuple(name for name, _ in emotions), "number", lambda face: face.probabilities[rows].tolist(), 5),
        FrameColumns(
            ("FrameHeight", "FrameWidth"), "number", lambda frame, success: (float(frame.height), float(frame.width)), 1
        ),
        FrameColumns(("input",), "string", lambda frame, success: (frame.source,)),
        FrameColumns(("frame",), "integer", lambda frame, success: (frame.index,)),
        FrameColumns(("approx_time",), "string", _approximate_time),
        FaceColumns(("face_id",), "integer", lambda face: (face.face_id,)),
    ]


def _rectangle(face: TrackedFace) -> list[Value]:
    return [*face.box[:2], *face.size]


def _pose(face: TrackedFace) -> list[Value]:
    pitch, yaw, roll = face.pose
    return [pitch, -roll, -yaw]


def _approximate_time(frame: TrackedFrame, success: bool) -> tuple[str]:
    minutes, seconds = divmod(int(frame.elapsed_s), 60)
    return (f"{minutes:02d}:{seconds:02d}",)
