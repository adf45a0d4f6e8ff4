"""A table in py-feat's columns, opened as py-feat opens its own: ``read_feat`` of ``feat/utils/io.py``, version 2.1.

That reader is one call of pandas without options, and groups of columns by name that ``Fex`` gives as ``aus``,
``facebox``, ``landmarks``, ``facepose``, ``emotions``, ``time`` and ``input``. py-feat itself needs gigabytes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas
import pytest

from emo_edge.rendering.tracks.columns import track_row
from emo_edge.rendering.tracks.faces import FaceContents, TrackedFace, TrackedFrame
from emo_edge.rendering.tracks.files import open_track
from emo_edge.rendering.tracks.formats import format_columns
from emo_edge.taxonomy import LABEL_SETS

LABELS = LABEL_SETS["rafdb7"]
UNITS = (25, 1, 12)
EVERYTHING = FaceContents(geometry=True, units=UNITS, intensities=True, labels=LABELS)
GROUPS = {
    "facebox": ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"],
    "landmarks": [f"{axis}_{point}" for axis in "xy" for point in range(68)],
    "facepose": ["Pitch", "Roll", "Yaw"],
    "emotions": ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"],
}
"""Of floating-point columns that ``read_feat`` names itself, in its order."""


def read_feat(path: Path) -> tuple[pandas.DataFrame, dict[str, pandas.DataFrame]]:
    table = pandas.read_csv(path)
    groups = {name: table[columns] for name, columns in GROUPS.items()}
    return table, {**groups, "aus": table[[name for name in table.columns if "AU" in name]], "time": table[["frame"]]}


def face(number: int) -> TrackedFace:
    probabilities = np.arange(1.0, 8.0) / 28
    return TrackedFace(
        face_id=number,
        box=(10.0, 20.0, 110.5, 140.0),
        score=0.98765,
        landmarks=np.stack([np.arange(68) + 0.25, -np.arange(68.0)], axis=1),
        pose=(0.1, -0.2, 0.3),
        presence=np.array([0.9, 0.2, 0.5]),
        active=np.array([True, False, True]),
        intensity=np.array([3.0, 0.0, 1.0]),
        probabilities=probabilities,
        values=np.zeros(0),
    )


def write(path: Path, contents: FaceContents = EVERYTHING) -> Path:
    """Write two frames with one and two faces, and one without any in between."""
    columns = format_columns("py-feat", contents)
    table = open_track(path, columns, {}, parquet=False)
    for index, faces in enumerate(([face(0)], [None], [face(0), face(1)])):
        frame = TrackedFrame("clip, one.mp4", index, 0, index / 30, index / 30, 640, 480)
        table.write([track_row(columns, frame, one) for one in faces])
    table.close()
    return path


def test_every_group_that_the_reader_names_is_there_with_its_type(tmp_path: Path) -> None:
    table, groups = read_feat(write(tmp_path / "faces.csv"))
    assert isinstance(table.index, pandas.RangeIndex) and len(table) == 4
    assert not [name for name in table.columns if name.startswith("Unnamed")], "an index was written as a column"
    assert table.columns.is_unique
    for name in (*GROUPS, "aus"):
        assert (groups[name].dtypes == np.float64).all(), name
    assert groups["aus"].columns.tolist() == ["AU01", "AU12", "AU25"]
    assert groups["time"]["frame"].dtype == np.int64 and groups["time"]["frame"].tolist() == [0, 1, 2, 2]
    assert table["input"].tolist() == ["clip, one.mp4"] * 4
    assert table["FrameHeight"].tolist() == [480.0] * 4


def test_values_are_those_of_the_face_and_missing_ones_are_nan(tmp_path: Path) -> None:
    _, groups = read_feat(write(tmp_path / "faces.csv"))
    for name in (*GROUPS, "aus"):
        missing = groups[name].isna()
        assert missing.iloc[1].all() and not missing.iloc[[0, 2, 3]].any(axis=None), name
    first = {name: group.iloc[0].tolist() for name, group in groups.items()}
    assert first["facebox"] == [10.0, 20.0, 100.5, 120.0, 0.98765]
    assert first["facepose"] == [0.1, -0.3, 0.2], "radians, as its Pitch, Roll and Yaw"
    assert first["aus"] == [0.2, 0.5, 0.9]
    assert first["landmarks"][:2] == [0.25, 1.25] and first["landmarks"][68:70] == [0.0, -1.0]
    by_name = dict(zip(LABELS, np.arange(1.0, 8.0) / 28, strict=True))
    assert first["emotions"] == pytest.approx([by_name[name] for name in GROUPS["emotions"]], abs=1e-5)


def test_the_mean_of_a_video_leaves_frames_without_a_face_out(tmp_path: Path) -> None:
    """Compute as ``Fex.extract_mean`` does: a group's mean over the rows of an input."""
    table, groups = read_feat(write(tmp_path / "faces.csv"))
    means = groups["aus"].groupby(table["input"]).mean()
    assert means.loc["clip, one.mp4"].tolist() == pytest.approx([0.2, 0.5, 0.9])


def test_a_group_that_a_bundle_does_not_give_is_an_error_there_and_no_0(tmp_path: Path) -> None:
    path = write(tmp_path / "faces.csv", FaceContents(geometry=True, units=UNITS))
    with pytest.raises(KeyError, match="anger"):
        read_feat(path)
    table = pandas.read_csv(path)
    assert table[GROUPS["facepose"]].notna().any(axis=None) and "anger" not in table.columns
