"""CSV files of trackers: OpenFace's and py-feat's columns, frames without a face, other faces, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emo_edge.benchmarks.action_units.predictions import file_of, predictions_of, read_predictions
from emo_edge.errors import InputError

UNITS = (1, 12)
OPENFACE = """frame, face_id, timestamp, confidence, success, pose_Rx, x_0, AU01_r, AU12_r, AU01_c, AU12_c, AU28_c
1, 0, 0.000, 0.98, 1, 0.1, 310.2, 0.25, 3.10, 0.00, 1.00, 0.00
2, 0, 0.033, 0.00, 0, 0.0, 0.0, 0.00, 0.00, 0.00, 0.00, 0.00
3, 0, 0.067, 0.98, 1, 0.1, 311.0, 1.80, 0.00, 1.00, 0.00, 0.00
"""


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_openface_as_it_writes(tmp_path: Path) -> None:
    own = read_predictions(written(tmp_path / "a.csv", OPENFACE), UNITS)
    assert own.frames.tolist() == [1, 3] and own.first_frame == 1 and own.other_faces == 0
    assert own.active.tolist() == [[0, 1], [1, 0]] and own.intensities.tolist() == [[0.25, 3.1], [1.8, 0]]
    assert np.isnan(own.probabilities).all()


def test_a_frame_without_a_face_has_empty_cells_and_no_zero(tmp_path: Path) -> None:
    text = "frame,face_id,success,AU01_c,AU12_c\n0,,0,,\n1,0,1,1,0\n2,0,1,,1\n"
    own = read_predictions(written(tmp_path / "a.csv", text), UNITS)
    assert own.frames.tolist() == [1, 2] and own.first_frame == 0
    assert np.isnan(own.active[1, 0]) and own.active[1, 1] == 1


def test_a_video_without_any_face_has_no_prediction(tmp_path: Path) -> None:
    own = read_predictions(written(tmp_path / "a.csv", "frame,success,AU01_c\n1,0,\n2,0,\n"), UNITS)
    assert len(own.frames) == 0 and own.active.shape == (0, 2) and own.first_frame == 1


def test_our_own_columns(tmp_path: Path) -> None:
    text = "source,frame,segment,success,face_id,AU1_presence,AU12_presence,AU1_active,AU12_active,AU1_intensity\n"
    own = read_predictions(
        written(tmp_path / "a.csv", f"{text}v.mp4,0,0,1,0,0.4,0.8,1,1,2.5\nv.mp4,1,0,0,,,,,,\n"), UNITS
    )
    assert own.probabilities.tolist() == [[0.4, 0.8]] and own.active.tolist() == [[1, 1]]
    assert own.intensities[0, 0] == 2.5 and np.isnan(own.intensities[0, 1]) and own.first_frame == 0


def test_probabilities_decide_where_no_column_says_active(tmp_path: Path) -> None:
    own = read_predictions(written(tmp_path / "a.csv", "frame,AU01,AU12_p,AU12_c\n0,0.5,0.9,0\n1,0.49,0.1,1\n"), UNITS)
    assert own.active.tolist() == [[1, 0], [0, 1]], "a column AU12_c comes before the probability"
    assert own.probabilities.tolist() == [[0.5, 0.9], [0.49, 0.1]]


def test_a_unit_without_a_column_is_missing_and_never_0(tmp_path: Path) -> None:
    own = read_predictions(written(tmp_path / "a.csv", "frame,AU12_r\n1,2.5\n"), UNITS)
    assert own.intensities[0, 1] == 2.5
    assert np.isnan(own.intensities[:, 0]).all() and np.isnan(own.active).all()


def test_the_face_with_most_rows_counts_in_a_frame_of_several(tmp_path: Path) -> None:
    text = "frame,face_id,AU01_c\n1,7,0\n1,0,1\n2,0,1\n3,0,1\n3,7,0\n4,8,0\n"
    own = read_predictions(written(tmp_path / "a.csv", text), UNITS)
    assert own.frames.tolist() == [1, 2, 3, 4] and own.active[:, 0].tolist() == [1, 1, 1, 0]
    assert own.other_faces == 2, "face 8 is the same person, followed anew"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,AU01_c\n1,1\n", "a header with frame, and AU01_c, AU01_r or AU01 of a unit is expected"),
        ("frame,AU28_c\n1,1\n", "a header with frame, and AU01_c"),
        ("frame,AU01_c\n1,2\n", "line 2: AU01_c is 0 or 1, not 2"),
        ("frame,AU01_r\n1,5.5\n", "line 2: AU01_r is 0 to 5, not 5.5"),
        ("frame,AU01\n1,1.5\n", "line 2: AU01 is 0 to 1, not 1.5"),
        ("frame,AU01_c\n1,yes\n", "line 2: could not convert string to float"),
        ("frame,AU01_c\n1.5,1\n", "line 2: a whole number is expected"),
        ("frame,AU01_c\n1e300,1\n", "line 2: a whole number is expected, not '1e300'"),
        ("frame,AU01_c\n4,1\n4,0\n", "frame 4 is there twice for one face"),
        ("frame,AU01_c\n", "no frame in it"),
        ("frame,AU01_c,AU12_c\n1,1\n", "line 2: 2 cells"),
    ],
)
def test_files_that_cannot_be_right(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_predictions(written(tmp_path / "a.csv", text), UNITS)


def test_no_text_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        read_predictions(tmp_path / "a.csv", UNITS)


def test_the_file_of_a_recording(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no predictions of SN001: SN001\.csv is expected"):
        file_of(tmp_path, "SN001")
    left = written(tmp_path / "LeftVideoSN001_comp.csv", "")
    assert file_of(tmp_path, "SN001") == left
    written(tmp_path / "RightVideoSN001_comp.csv", "")
    with pytest.raises(InputError, match=r"are all of SN001: name one SN001\.csv"):
        file_of(tmp_path, "SN001")
    assert file_of(written(tmp_path / "SN001.csv", "").parent, "SN001") == tmp_path / "SN001.csv"


def test_arrays_take_the_place_of_files() -> None:
    own = predictions_of(2, np.arange(3), probabilities=np.array([[0.1, 0.6], [np.nan, 0.5], [1, 0]]))
    np.testing.assert_array_equal(own.active, [[0, 1], [np.nan, 1], [1, 0]])
    assert np.isnan(own.intensities).all() and own.first_frame == 0
