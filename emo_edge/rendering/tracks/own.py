"""Our own columns, with the types of ``emo_edge/schemas/track-1.json``."""

from __future__ import annotations

import math

from emo_edge.rendering.tracks.columns import Columns, FaceColumns, FrameColumns
from emo_edge.rendering.tracks.faces import LANDMARKS, FaceContents

DIGITS = 5
"""Of a number, as in the tables of results."""


def columns(contents: FaceContents) -> Columns:
    """Return the columns for what a network gives."""
    names = [f"AU{unit}" for unit in contents.units]
    pose: Columns = (
        FaceColumns(
            ("pose_pitch", "pose_yaw", "pose_roll"),
            "number",
            lambda face: [math.degrees(angle) for angle in face.pose],
            DIGITS,
        ),
    )
    landmarks: Columns = (
        FaceColumns(
            tuple(f"landmark_{point}_{axis}" for point in range(LANDMARKS) for axis in "xy"),
            "number",
            lambda face: face.landmarks.ravel().tolist(),
            DIGITS,
        ),
    )
    return [
        FrameColumns(("source",), "string", lambda frame, success: (frame.source,)),
        FrameColumns(("frame", "segment"), "integer", lambda frame, success: (frame.index, frame.segment)),
        FrameColumns(
            ("time_s", "elapsed_s"), "number", lambda frame, success: (frame.seconds, frame.elapsed_s), DIGITS
        ),
        FrameColumns(("success",), "integer", lambda frame, success: (int(success),)),
        FaceColumns(("face_id",), "integer", lambda face: (face.face_id,)),
        FaceColumns(("box_x0", "box_y0", "box_x1", "box_y1"), "number", lambda face: face.box, DIGITS),
        FaceColumns(("detection_score",), "number", lambda face: (face.score,), DIGITS),
        *(pose if contents.geometry else ()),
        FaceColumns(tuple(names), "number", lambda face: face.presence.tolist(), DIGITS),
        FaceColumns(
            tuple(f"{name}_active" for name in names), "integer", lambda face: face.active.astype(int).tolist()
        ),
        FaceColumns(
            tuple(f"{name}_intensity" for name in names if contents.intensities),
            "number",
            lambda face: face.intensity.tolist() if contents.intensities else (),
            DIGITS,
        ),
        FaceColumns(
            tuple(f"p_{label}" for label in contents.labels),
            "number",
            lambda face: face.probabilities.tolist(),
            DIGITS,
        ),
        FaceColumns(
            tuple(f"value_{name}" for name in contents.values), "number", lambda face: face.values.tolist(), DIGITS
        ),
        *(landmarks if contents.geometry else ()),
    ]
