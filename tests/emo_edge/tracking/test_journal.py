"""The record of a run: what is whole stays, what is torn or of other settings goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.errors import InputError
from emo_edge.tracking.journal import FRAME, Journal, JournalBatch, face_type

WIDTH = 3
HEADER: dict[str, Any] = {"video_sha256": "0" * 64, "limits": [None, 0.5]}


def batch(start: int, frames: int = 4) -> JournalBatch:
    numbers = np.zeros(frames, FRAME)
    numbers["index"] = np.arange(start, start + frames)
    faces = np.zeros(2, face_type(WIDTH))
    faces["frame"], faces["score"], faces["row"] = start, np.nan, start + 0.25
    return JournalBatch(numbers, faces, {"start": start, "exact": 0.1 + 0.2})


def opened(path: Path, header: dict[str, Any] | None = None) -> Journal:
    return Journal(path, header or HEADER, WIDTH)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A record of three batches."""
    made = tmp_path / ".out.csv.track"
    with opened(made) as journal:
        assert (journal.frames, journal.state, journal.is_of_others) == (0, None, False)
        for start in (0, 4, 8):
            journal.append(batch(start))
    return made


def test_a_record_gives_back_what_it_was_given(path: Path) -> None:
    journal = opened(path)
    assert (journal.frames, journal.state) == (12, {"start": 8, "exact": 0.1 + 0.2})
    read = list(journal.batches())
    assert len(read) == 3
    for one, start in zip(read, (0, 4, 8), strict=True):
        expected = batch(start)
        assert one.frames.tobytes() == expected.frames.tobytes() and one.faces.tobytes() == expected.faces.tobytes()
        assert one.state == expected.state
    journal.remove()
    assert not path.exists()


@pytest.mark.parametrize("lost", [1, 7, 40, 200])
def test_a_torn_batch_is_cut_away(path: Path, lost: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    with opened(path) as journal:
        assert journal.frames == 8
        journal.append(batch(8))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("tail", [b"x", b"\0" * 100, b"\xff" * 16, b"\x01\0\0\0" * 4], ids=repr)
def test_other_bytes_behind_the_batches_are_cut_away(path: Path, tail: bytes) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    with opened(path) as journal:
        assert journal.frames == 12 and path.read_bytes() == whole


def test_a_changed_byte_ends_the_record_there(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with opened(path) as journal:
        assert journal.frames in (0, 4) and len(list(journal.batches())) * 4 == journal.frames


def test_a_file_that_is_no_record_stays(path: Path) -> None:
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match="is no record of a stopped run"):
        opened(path)
    assert path.read_bytes() == b"mine"


def test_a_record_of_other_settings_is_begun_anew(path: Path) -> None:
    for other in ({**HEADER, "limits": [None, 0.6]}, HEADER):
        with opened(path, other) as journal:
            assert (journal.frames, journal.is_of_others) == (0, True)
