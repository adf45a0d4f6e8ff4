"""Columns of each format: names and order as the tools write them, signs, units, digits; the published schema."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas
import pyarrow.parquet
import pytest

import emo_edge
from emo_edge.benchmarks.synthetic.geometry import rotation_matrix
from emo_edge.rendering.tracks.columns import column_names, track_row
from emo_edge.rendering.tracks.faces import FaceContents, TrackedFace, TrackedFrame
from emo_edge.rendering.tracks.files import open_track
from emo_edge.rendering.tracks.formats import FORMATS, format_columns

UNITS = (12, 1, 45)
EVERYTHING = FaceContents(
    geometry=True, units=UNITS, intensities=True, labels=("happiness", "anger", "contempt"), values=("valence",)
)
NOTHING = FaceContents(geometry=False)
FRAME = TrackedFrame("clip.mp4", 61, 1, 0.5, 62.25, 640, 480)
FACE = TrackedFace(
    face_id=2,
    box=(10.0, 20.0, 110.5, 140.0),
    score=0.98765,
    landmarks=np.stack([np.arange(68) + 0.25, -np.arange(68.0)], axis=1),
    pose=(0.1, -0.2, 0.3),
    presence=np.array([0.9, 0.2, 0.5]),
    active=np.array([True, False, True]),
    intensity=np.array([3.456, 0.0, 1.0]),
    probabilities=np.array([0.7, 0.2, 0.1]),
    values=np.array([-0.5]),
)
X, Y = ([f"{axis}_{point}" for point in range(68)] for axis in "xy")


def row_of(name: str, contents: FaceContents = EVERYTHING, face: TrackedFace | None = FACE) -> dict[str, Any]:
    columns = format_columns(name, contents)
    return dict(zip(column_names(columns), track_row(columns, FRAME, face), strict=True))


def test_openface_writes_what_feature_extraction_does() -> None:
    row = row_of("openface")
    head = ["frame", "face_id", "timestamp", "confidence", "success", "pose_Rx", "pose_Ry", "pose_Rz"]
    units = ["AU01_r", "AU12_r", "AU45_r", "AU01_c", "AU12_c", "AU45_c"]
    assert list(row) == [*head, *X, *Y, *units]
    assert [row[name] for name in head] == [62, 2, 62.25, 0.99, 1, -0.1, 0.2, 0.3]
    assert [row[name] for name in units] == [0.0, 3.46, 1.0, 0.0, 1.0, 1.0]
    assert (row["x_0"], row["x_67"], row["y_67"]) == (0.2, 67.2, -67.0)


@pytest.mark.parametrize(("axis", "angle"), [(0, 0.4), (1, 0.5), (2, -0.3)])
def test_openface_has_the_signs_of_its_rotation(axis: int, angle: float) -> None:
    """A head of known angles, in OpenFace's camera: x right, y down, z away, and R = Rx Ry Rz of right-handed axes."""
    pose = [0.0, 0.0, 0.0]
    pose[axis] = angle
    columns = format_columns("openface", EVERYTHING)
    face = TrackedFace(**{**vars(FACE), "pose": tuple(pose)})
    row = dict(zip(column_names(columns), track_row(columns, FRAME, face), strict=True))
    rx, ry, rz = (row[f"pose_R{name}"] for name in "xyz")
    cx, sx, cy, sy, cz, sz = (*(math.cos(rx), math.sin(rx), math.cos(ry), math.sin(ry), math.cos(rz), math.sin(rz)),)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    away = np.diag([1.0, 1.0, -1.0])  # ours looks along -z
    np.testing.assert_allclose(about_x @ about_y @ about_z, away @ rotation_matrix(*pose) @ away, atol=1e-6)


def test_py_feat_writes_what_its_detector_does() -> None:
    row = row_of("py-feat")
    box = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"]
    rest = ["Pitch", "Roll", "Yaw", "AU01", "AU12", "AU45", "anger", "happiness"]
    end = ["FrameHeight", "FrameWidth", "input", "frame", "approx_time", "face_id"]
    assert list(row) == [*box, *X, *Y, *rest, *end]
    assert [row[name] for name in box] == [10.0, 20.0, 100.5, 120.0, 0.98765]
    assert [row[name] for name in rest] == [0.1, -0.3, 0.2, 0.2, 0.9, 0.5, 0.2, 0.7]
    assert [row[name] for name in end] == [480.0, 640.0, "clip.mp4", 61, "01:02", 2]


def test_libreface_writes_what_its_video_does() -> None:
    row = row_of("libreface")
    units = ["au_1", "au_12", "au_45", "au_1_intensity", "au_12_intensity", "au_45_intensity"]
    assert list(row) == [
        "frame_idx",
        "frame_time_in_ms",
        "pitch",
        "yaw",
        "roll",
        *units,
        "facial_expression",
        "face_id",
    ]
    assert (row["frame_idx"], row["frame_time_in_ms"], row["facial_expression"]) == (61, 62250.0, "Happiness")
    assert [row[name] for name in units] == [0, 1, 1, 0.0, 3.456, 1.0]
    assert (row["pitch"], row["yaw"], row["roll"]) == (5.73, -11.459, 17.189)


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_bundle_has_not_is_no_column(name: str) -> None:
    without = row_of(name, FaceContents(geometry=True))
    assert not [column for column in without if column.lower().startswith(("au", "p_", "facial", "anger", "value"))]
    presence_alone = row_of(name, FaceContents(geometry=False, units=UNITS))
    assert not [
        column for column in presence_alone if column.endswith(("_r", "_intensity", "x_0", "y_0", "landmark_0_x"))
    ]
    units = {"openface": "AU45_c", "py-feat": "AU45", "libreface": "au_45", "emo-edge": "AU45"}
    assert units[name] in presence_alone
    assert {"face_id"} <= row_of(name, NOTHING).keys()


@pytest.mark.parametrize("name", FORMATS)
def test_a_frame_without_a_face_has_its_time_and_empty_cells(name: str) -> None:
    row = row_of(name, face=None)
    known = {
        "openface": {"frame": 62, "timestamp": 62.25, "success": 0},
        "py-feat": {
            "FrameHeight": 480.0,
            "FrameWidth": 640.0,
            "input": "clip.mp4",
            "frame": 61,
            "approx_time": "01:02",
        },
        "libreface": {"frame_idx": 61, "frame_time_in_ms": 62250.0},
        "emo-edge": {
            **{"source": "clip.mp4", "frame": 61, "segment": 1, "time_s": 0.5},
            **{"elapsed_s": 62.25, "success": 0},
        },
    }
    assert {column: value for column, value in row.items() if value is not None} == known[name]


@pytest.mark.parametrize("face", [FACE, None])
@pytest.mark.parametrize("contents", [EVERYTHING, NOTHING])
def test_our_rows_follow_the_published_schema(contents: FaceContents, face: TrackedFace | None) -> None:
    path = Path(emo_edge.__file__).parent / "schemas" / "track-1.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(row_of("emo-edge", contents, face), schema)


@pytest.mark.parametrize("name", FORMATS)
def test_parquet_holds_what_csv_holds(name: str, tmp_path: Path) -> None:
    columns = format_columns(name, EVERYTHING)
    rows = [track_row(columns, FRAME, face) for face in (FACE, None)]
    for suffix in ("csv", "parquet"):
        table = open_track(tmp_path / f"t.{suffix}", columns, {"asked": "for"}, parquet=suffix == "parquet")
        table.write(rows)
        table.close()
    stored = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert [list(row.values()) for row in stored.to_pylist()] == rows
    assert json.loads(stored.schema.metadata[b"emo_edge.settings"]) == {"asked": "for"}
    read = pandas.read_csv(tmp_path / "t.csv")
    pandas.testing.assert_frame_equal(read, stored.to_pandas(), check_dtype=False)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == list(read.columns)


def test_numbers_of_a_csv_have_fixed_digits_and_no_negative_zero(tmp_path: Path) -> None:
    columns = format_columns("openface", FaceContents(geometry=True))
    face = TrackedFace(**{**vars(FACE), "pose": (1e-5, -1e-5, -1e-5), "score": None})
    table = open_track(tmp_path / "t.csv", columns, {}, parquet=False)
    table.write([track_row(columns, FRAME, face)])
    table.close()
    _, line = (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()
    assert line.startswith("62,2,62.250,,1,0.000,0.000,0.000,0.2,1.2,")
