"""Columns of OpenFace 2.2's ``FeatureExtraction`` and ``FaceLandmarkVidMulti``, as far as a face network gives them.

Order, names, digits and units: ``RecorderCSV.cpp`` and the wiki page "Output Format" of TadasBaltrusaitis/OpenFace.
Frames count from 1, faces from 0. Left out are gaze, eye landmarks, the head's position in millimetres, 3D landmarks.

OpenFace's camera looks along +z, with x to the right and y down, and the head's rotation is Rx Ry Rz: a positive Rx
lowers the nose, a positive Ry turns it to the image's left, a positive Rz tilts the head clockwise in the image.
"""

from __future__ import annotations

from emo_edge.inference.rows import Value
from emo_edge.rendering.tracks.columns import Columns, FaceColumns, FrameColumns
from emo_edge.rendering.tracks.faces import LANDMARKS, FaceContents, TrackedFace


def columns(contents: FaceContents) -> Columns:
    """Return the columns for what a network gives."""
    names = [f"AU{unit:02d}" for unit in sorted(contents.units)]
    order = sorted(range(len(contents.units)), key=lambda place: contents.units[place])
    geometry: Columns = (
        FaceColumns(("pose_Rx", "pose_Ry", "pose_Rz"), "number", _pose, 3),
        FaceColumns(
            tuple(f"{axis}_{point}" for axis in "xy" for point in range(LANDMARKS)),
            "number",
            lambda face: face.landmarks.T.ravel().tolist(),
            1,
        ),
    )
    return [
        FrameColumns(("frame",), "integer", lambda frame, success: (frame.index + 1,)),
        FaceColumns(("face_id",), "integer", lambda face: (face.face_id,)),
        FrameColumns(("timestamp",), "number", lambda frame, success: (frame.elapsed_s,), 3),
        FaceColumns(("confidence",), "number", lambda face: (face.score,), 2),
        FrameColumns(("success",), "integer", lambda frame, success: (int(success),)),
        *(geometry if contents.geometry else ()),
        FaceColumns(
            tuple(f"{name}_r" for name in names if contents.intensities),
            "number",
            lambda face: face.intensity[order].tolist() if contents.intensities else (),
            2,
        ),
        FaceColumns(
            tuple(f"{name}_c" for name in names), "number", lambda face: face.active[order].astype(float).tolist(), 1
        ),
    ]


def _pose(face: TrackedFace) -> list[Value]:
    pitch, yaw, roll = face.pose
    return [-pitch, -yaw, roll]
