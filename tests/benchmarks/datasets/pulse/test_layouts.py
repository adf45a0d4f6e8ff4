"""UBFC-rPPG and PURE from small trees of their layouts, drawn faces, and true rates of waves."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from emo_edge.benchmarks.datasets.pulse.recordings import Wave, ascending
from emo_edge.benchmarks.datasets.pulse.registry import open_pulse
from emo_edge.errors import InputError
from tests.made_videos import write

FIRST = 1392643993642815000


def beats(times: NDArray[np.float64], bpm: float) -> NDArray[np.float64]:
    """A wave with a second harmonic, noise-free, on a slow drift."""
    phase = 2 * np.pi * bpm / 60 * times
    return np.asarray(np.sin(phase) + 0.4 * np.sin(2 * phase + 1) + 3 * times / 60)


def written_ubfc(root: Path, subjects: list[str], bpm: float = 72) -> Path:
    times = np.arange(360) / 30
    for subject in subjects:
        (root / subject).mkdir(parents=True)
        moments = [row / 30 for row in range(20)]
        write(root / subject / "vid.avi", moments, codec="rawvideo", pixel_format="bgr24")
        rows = (beats(times, bpm), np.full(360, bpm), times)
        text = "\n".join("  ".join(f"{value:.7e}" for value in row) for row in rows)
        (root / subject / "ground_truth.txt").write_text(text + "\n")
    return root


def written_pure(root: Path, sessions: list[str], bpm: float = 72, frames: int = 5) -> Path:
    for session in sessions:
        (root / session / session).mkdir(parents=True)
        for row in range(frames):
            stamp = FIRST + round(row * 1e9 / 30)
            picture = np.full((8, 8, 3), 10 * row, np.uint8)
            cv2.imwrite(str(root / session / session / f"Image{stamp}.png"), picture)
        times = np.arange(720) / 60
        package = [
            {"Timestamp": FIRST + round(time * 1e9), "Value": {"waveform": float(value), "pulseRate": 70}}
            for time, value in zip(times, 50 + 20 * beats(times, bpm), strict=True)
        ]
        document = {"/FullPackage": package, "/Image": []}
        (root / session / f"{session}.json").write_text(json.dumps(document))
    return root


@pytest.mark.parametrize("bpm", [48.0, 72.5, 110.0, 149.0])
def test_the_rate_of_a_wave_is_that_of_its_beats(bpm: float) -> None:
    times = np.arange(900) / 60
    wave = Wave(times, beats(times, bpm))
    for start in (0.0, 2.5, 5.0):
        assert wave.bpm(start, start + 10) == pytest.approx(bpm, abs=0.5)


def test_a_wave_with_a_gap_or_without_a_beat_has_no_rate() -> None:
    times = np.arange(900) / 60
    wave = Wave(times, beats(times, 70))
    assert wave.bpm(10, 20) is None, "it ends at 15 s"
    assert Wave(times + 2, wave.values).bpm(0, 10) is None, "it begins at 2 s"
    assert Wave(times, np.full(900, 5.0)).bpm(0, 10) is None
    holed = (times < 4) | (times > 6)
    assert Wave(times[holed], wave.values[holed]).bpm(0, 10) is None
    broken = wave.values.copy()
    broken[60] = np.nan
    assert Wave(times, broken).bpm(0, 10) is None


def test_times_that_do_not_ascend_are_left_out() -> None:
    wave = ascending(np.array([0.0, 0.1, 0.1, 0.05, 0.2]), np.arange(5.0))
    assert wave.times.tolist() == [0, 0.1, 0.2] and wave.values.tolist() == [0, 1, 4]


@pytest.mark.parametrize("below", ["", "DATASET_2"])
def test_ubfc_as_it_is_written(tmp_path: Path, below: str) -> None:
    written_ubfc(tmp_path / below, ["subject10", "subject3"])
    dataset = open_pulse(f"ubfc-rppg:{tmp_path}")
    assert [one.subject for one in dataset.recordings] == ["subject3", "subject10"] and not dataset.synthetic
    recording = dataset.recordings[0]
    assert recording.truth(0, 10) == pytest.approx(72, abs=0.5) and recording.truth(5, 15) is None
    frames = list(recording.frames())
    assert len(frames) == 20 and frames[3].elapsed_s == pytest.approx(0.1, abs=0.002)
    assert len(list(recording.frames())) == 20, "a second method reads it again"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n", "lines of 3 numbers; wave, heart rate, times in seconds in as many each are expected"),
        ("1 2\n1 2\n1 2 3\n", "lines of 2 and 2 and 3 numbers"),
        ("", "lines of no numbers"),
        ("1 x\n1 2\n1 2\n", "could not convert"),
    ],
)
def test_ground_truth_of_ubfc_that_cannot_be_right(tmp_path: Path, text: str, message: str) -> None:
    (written_ubfc(tmp_path, ["subject1"]) / "subject1/ground_truth.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        open_pulse(f"ubfc-rppg:{tmp_path}")


def test_files_of_ubfc_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no folder of a person. Expected:\n  subject1/vid\.avi"):
        open_pulse(f"ubfc-rppg:{tmp_path}")
    written_ubfc(tmp_path, ["subject1", "subject2"])
    (tmp_path / "subject2/vid.avi").unlink()
    with pytest.raises(InputError, match=r"subject2: vid\.avi is missing"):
        open_pulse(f"ubfc-rppg:{tmp_path}")


def test_pure_as_it_is_written(tmp_path: Path) -> None:
    dataset = open_pulse(f"pure:{written_pure(tmp_path, ['01-01', '01-02', '02-01'], 90)}")
    assert [(one.key, one.subject) for one in dataset.recordings] == [("01-01", "01"), ("01-02", "01"), ("02-01", "02")]
    frames = list(dataset.recordings[0].frames())
    assert [frame.elapsed_s for frame in frames] == pytest.approx([0, 1 / 30, 2 / 30, 3 / 30, 4 / 30])
    assert frames[4].image[0, 0].tolist() == [40, 40, 40]
    assert dataset.recordings[2].truth(0, 10) == pytest.approx(90, abs=0.5)


def test_files_of_pure_that_are_missing_or_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder of a recording"):
        open_pulse(f"pure:{tmp_path}")
    written_pure(tmp_path / "a", ["01-01"], frames=0)
    with pytest.raises(InputError, match="01-01: no frame"):
        open_pulse(f"pure:{tmp_path / 'a'}")
    written_pure(tmp_path / "b", ["01-01"])
    path = tmp_path / "b/01-01/01-01.json"
    for text in ("{}", '{"/FullPackage": [{"Timestamp": 1}]}', '{"/FullPackage": []}', "[]"):
        path.write_text(text)
        with pytest.raises(InputError, match="/FullPackage is a list of Timestamp and Value"):
            open_pulse(f"pure:{tmp_path / 'b'}")
    path.write_text("{")
    with pytest.raises(InputError, match="not readable as JSON"):
        open_pulse(f"pure:{tmp_path / 'b'}")
    path.unlink()
    with pytest.raises(InputError, match=r"01-01\.json is missing"):
        open_pulse(f"pure:{tmp_path / 'b'}")


def test_drawn_faces_have_the_pulse_that_was_drawn() -> None:
    dataset = open_pulse("synthetic-pulse:2")
    assert dataset.synthetic and [one.subject for one in dataset.recordings] == ["0000", "0001"]
    frames = list(dataset.recordings[1].frames())
    assert frames[0].elapsed_s == 0 and frames[-1].elapsed_s == pytest.approx(10, abs=0.1)
    bpm = dataset.recordings[1].truth(0, 10)
    assert bpm is not None and 48 <= bpm <= 150


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("synthetic-pulse", "say how many, 1 to 99999"),
        ("synthetic-pulse:0", "say how many"),
        ("pur:x", "Choose from ubfc-rppg:FOLDER, pure:FOLDER, synthetic-pulse:N"),
    ],
)
def test_names_that_are_none(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_pulse(spec)
