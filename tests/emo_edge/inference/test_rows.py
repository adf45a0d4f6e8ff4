"""Results as flat rows: one a face, the same keys in every row."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emo_edge import EmotionResult, FaceAttributes, InputError, Settings, SourceResult, rows
from emo_edge.inference.rows import POINTS, columns

SETTINGS = Settings(
    bundle="b",
    profile="exact",
    variants={},
    device="cpu",
    detector="haar",
    labels=("joy", "rage"),
    question="?",
    demographics=True,
    temperature=1.0,
    prior_correction=False,
    purpose="",
    emo_edge="0",
)
FACE = FaceAttributes(
    landmarks=np.zeros((68, 2), np.float32),
    pose_degrees={"pitch": 1.0, "yaw": -2.0, "roll": 3.0},
    attributes={},
    hidden_points=np.zeros(29, np.float32),
    demographics={"age": {"0-2": 0.1, "20-29": 0.9}, "gender": {"male": 0.4, "female": 0.6}},
)
RESULT = EmotionResult(
    box=(1.0, 2.0, 3.0, 4.0),
    detection_score=5.0,
    frames=1,
    probabilities={"joy": 0.75, "rage": 0.25},
    face=FACE,
    answers={"Why?": "Because."},
    stage_ms={},
    settings=SETTINGS,
)
ROW = {
    "source": None,
    "kind": "image",
    "start_s": None,
    "end_s": None,
    "face": 0,
    "label": "joy",
    "confidence": 0.75,
    "p_joy": 0.75,
    "p_rage": 0.25,
    "box_x0": 1.0,
    "box_y0": 2.0,
    "box_x1": 3.0,
    "box_y1": 4.0,
    "detection_score": 5.0,
    "frames": 1,
    "pose_pitch": 1.0,
    "pose_yaw": -2.0,
    "pose_roll": 3.0,
    "age": "20-29",
    "gender": "female",
    "answer_1": "Because.",
    "profile": "exact",
    "device": "cpu",
    "error": None,
    **{f"point_{name}_{axis}": None for name in POINTS for axis in "xy"},
    "rotation": 0,
    "whole_image": 0,
}
PLAIN = replace(RESULT, face=None, answers={}, detection_score=None)


def test_a_face_is_one_row_in_this_order() -> None:
    (row,) = rows(RESULT)
    assert list(row.items()) == list(ROW.items())


def test_values_stand_behind_the_probabilities() -> None:
    (row,) = rows([replace(RESULT, values={"valence": -0.5, "arousal": 0.25})])
    assert list(row)[7:11] == ["p_joy", "p_rage", "value_valence", "value_arousal"]
    assert (row["value_valence"], row["value_arousal"]) == (-0.5, 0.25)
    assert columns(["joy", "rage"], values=["valence", "arousal"])[8:12] == list(row)[7:11], "behind segment"


def test_points_of_the_detector_stand_behind_the_error() -> None:
    points = ((1.0, 2.0), (3.0, 2.5), (2.0, 3.0), (1.5, 4.0), (2.5, 4.5))
    (row,) = rows([replace(PLAIN, points=points)])
    assert list(row)[-13:-2] == ["error", *(f"point_{name}_{axis}" for name in POINTS for axis in "xy")]
    assert list(row.values())[-12:-2] == [1.0, 2.0, 3.0, 2.5, 2.0, 3.0, 1.5, 4.0, 2.5, 4.5]
    assert columns(["joy", "rage"])[-13:] == list(row)[-13:]


def test_how_the_face_was_looked_for_comes_last() -> None:
    results = [replace(PLAIN, rotation=90), replace(PLAIN, whole_image=True), None]
    found = [list(row.items())[-2:] for row in rows(results)]
    assert found == [
        [("rotation", turned), ("whole_image", whole)] for turned, whole in ((90, 0), (0, 1), (None, None))
    ]


def test_columns_that_no_result_has_are_left_out() -> None:
    (row,) = rows([PLAIN])
    assert [name for name in ROW if name not in row] == ["age", "gender", "answer_1"]
    assert row["pose_yaw"] is None and row["detection_score"] is None


def test_sources_give_their_name_times_and_index() -> None:
    clip = SourceResult("rtsp://me:secret@camera/1", "clip", [replace(PLAIN, frames=8)], None, (0.0, 1.5))
    image = SourceResult("a.jpg", "image", [RESULT, PLAIN], None)
    table = rows(iter([clip, image]))
    found = [(row["source"], row["kind"], row["start_s"], row["end_s"], row["face"], row["frames"]) for row in table]
    assert found == [
        ("rtsp://camera/1", "clip", 0.0, 1.5, 0, 8),
        ("a.jpg", "image", None, None, 0, 1),
        ("a.jpg", "image", None, None, 1, 1),
    ]
    assert [list(row) for row in table] == [list(ROW)] * 3, "every row has the keys of all"
    assert [row["age"] for row in table] == [None, "20-29", None]


def test_a_source_without_a_face_or_with_an_error_is_an_empty_row() -> None:
    empty = SourceResult("empty.jpg", "image", [], np.zeros((1, 1, 3), np.uint8))
    broken = SourceResult("broken.jpg", "image", [], None, error=InputError("broken.jpg: damaged"))
    for result, error in ((empty, None), (broken, "broken.jpg: damaged")):
        first, second = rows([result, RESULT])
        assert first == dict.fromkeys(ROW) | {"source": result.source, "kind": "image", "error": error}
        assert second == ROW
    assert rows(None)[0]["kind"] == "clip" and rows(None)[0]["label"] is None
    assert rows([]) == []


def test_lists_of_lists_are_numbered_each() -> None:
    assert [row["face"] for row in rows([[RESULT, RESULT], [RESULT], None])] == [0, 1, 0, None]


def test_rows_are_a_csv_table() -> None:
    text, table = io.StringIO(), rows([RESULT, PLAIN])
    writer = csv.DictWriter(text, table[0])
    writer.writeheader()
    writer.writerows(table)
    assert text.getvalue().splitlines()[1].startswith(",image,,,0,joy,0.75,0.75,0.25,1.0,2.0,3.0,4.0,5.0,1,")


@pytest.mark.parametrize("results", ["a.jpg", {"label": "joy"}, 5, [5], ["a.jpg"]])
def test_anything_else_is_an_error(results: Any) -> None:
    with pytest.raises(InputError, match="rows are made of an EmotionResult"):
        rows(results)
