"""Columns of LibreFace's table of a video, as far as a face network gives them.

Order and names: ``libreface/__init__.py`` and ``libreface/utils.py`` of ihp-lab/LibreFace 2. Frames count from 0. Poses
are in degrees: up, to the image's right, clockwise in the image. Left out are MediaPipe's landmarks and gaze;
``face_id`` is ours, and its place is the end.
"""

from __future__ import annotations

import math

from emo_edge.inference.rows import Value
from emo_edge.rendering.tracks.columns import Columns, FaceColumns, FrameColumns
from emo_edge.rendering.tracks.faces import FaceContents, TrackedFace


def columns(contents: FaceContents) -> Columns:
    """Return the columns for what a network gives."""
    labels = [label.capitalize() for label in contents.labels]
    order = sorted(range(len(contents.units)), key=lambda place: contents.units[place])
    units = [contents.units[place] for place in order]
    expression: Columns = (
        FaceColumns(("facial_expression",), "string", lambda face: (labels[int(face.probabilities.argmax())],)),
    )
    pose: Columns = (FaceColumns(("pitch", "yaw", "roll"), "number", _pose, 3),)
    return [
        FrameColumns(("frame_idx",), "integer", lambda frame, success: (frame.index,)),
        FrameColumns(("frame_time_in_ms",), "number", lambda frame, success: (1000 * frame.elapsed_s,), 3),
        *(pose if contents.geometry else ()),
        FaceColumns(
            tuple(f"au_{unit}" for unit in units), "integer", lambda face: face.active[order].astype(int).tolist()
        ),
        FaceColumns(
            tuple(f"au_{unit}_intensity" for unit in units if contents.intensities),
            "number",
            lambda face: face.intensity[order].tolist() if contents.intensities else (),
            3,
        ),
        *(expression if labels else ()),
        FaceColumns(("face_id",), "integer", lambda face: (face.face_id,)),
    ]


def _pose(face: TrackedFace) -> list[Value]:
    return [math.degrees(angle) for angle in face.pose]
