"""``emo-edge pulse`` as people see it: whole output and exit codes, on small videos of known rates."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from emo_edge.benchmarks.synthetic.pulse.recompression import encoded
from emo_edge.cli.signals.pulse import main
from emo_edge.inference.signals.heart_rate import NOTICE
from emo_edge.rendering.pulse_writers import COLUMNS

SKIN = np.array([180.0, 130.0, 100.0])
BLOOD = np.array([0.33, 0.77, 0.53])


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="emo-edge pulse")


def film(seconds: float, bpm: float) -> bytes:
    """Return a video of skin alone that beats with a twentieth of its colour, so that H.264 keeps it."""
    times = np.arange(round(seconds * 30)) / 30
    rows = SKIN * (1 - 0.05 * np.sin(2 * np.pi * bpm / 60 * times)[:, None] * BLOOD)
    return encoded([np.full((32, 32, 3), row, np.uint8) for row in np.round(rows)], crf=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pulse")
    (made / "beats.mp4").write_bytes(film(11, 72))
    (made / "short.mp4").write_bytes(film(3, 72))
    (made / "notes.txt").write_text("no video")
    return made


def test_text_has_a_window_a_line_and_the_notice_with_each_number(folder: Path) -> None:
    done = run(folder / "beats.mp4", folder / "short.mp4", "--detector", "whole")
    assert done.exit_code == 0 and done.stderr == ""
    first, one, other, second, short = done.stdout.splitlines()
    assert (first, second) == (str(folder / "beats.mp4"), str(folder / "short.mp4"))
    assert one.startswith("  0.0–10.0 s: 7") and other.startswith("  1.0–11.0 s: 7")
    assert all(" BPM (SNR " in line and line.endswith(NOTICE) for line in (one, other))
    assert short == "  0.0–3.0 s: no reliable pulse: 3.0 s are too short: at least 8 s are needed"


@pytest.mark.parametrize("method", ["pos", "chrom", "green"])
def test_json_holds_every_field(folder: Path, method: str) -> None:
    done = run(folder / "beats.mp4", "--detector", "whole", "--method", method, "--json")
    windows = json.loads(done.stdout)
    assert done.exit_code == 0 and len(windows) == 2
    assert {"kind", "pulse_version", *COLUMNS} == windows[0].keys()
    assert windows[0]["bpm"] == pytest.approx(72, abs=0.3) and windows[0]["method"] == method
    assert windows[0]["bin_bpm"] == 72.0 and windows[0]["notice"] == NOTICE and windows[0]["fps"] == 30.0


def test_lines_and_rows_have_no_number_where_the_pulse_is_not_reliable(folder: Path) -> None:
    done = run(folder / "short.mp4", folder / "beats.mp4", "--detector", "whole", "--jsonl")
    windows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [window["reliable"] for window in windows] == [False, True, True]
    assert windows[0]["bpm"] is None and windows[0]["bin_bpm"] is None and windows[0]["reason"]
    done = run(folder / "short.mp4", folder / "beats.mp4", "--detector", "whole", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == list(COLUMNS) and len(rows) == 3
    assert (rows[0]["bpm"], rows[0]["reliable"], rows[1]["notice"]) == ("", "False", NOTICE)
    assert float(rows[1]["bpm"]) == windows[1]["bpm"]


def test_a_source_that_cannot_be_read_leaves_the_others(folder: Path) -> None:
    done = run(folder / "missing.mp4", folder / "notes.txt", folder / "short.mp4", "--detector", "whole", "--json")
    assert done.exit_code == 4
    assert len(json.loads(done.stdout)) == 1
    assert [line.startswith("Error: ") for line in done.stderr.splitlines()] == [True, True]


def test_a_still_is_refused(folder: Path) -> None:
    import cv2

    cv2.imwrite(str(folder / "still.png"), np.zeros((40, 40, 3), np.uint8))
    done = run(folder / "still.png", "--detector", "whole")
    assert done.exit_code == 4 and "is an image, not a video, camera or stream" in done.stderr


def test_the_packaged_detector_finds_no_face_in_bare_skin(folder: Path) -> None:
    done = run(folder / "short.mp4", "--detector", "haar")
    assert done.exit_code == 0 and "no reliable pulse: no face is detected" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "Missing argument"),
        (("x.mp4", "--json", "--csv"), 2, "choose one of --json and --csv"),
        (("x.mp4", "--method", "poss"), 2, "did you mean pos"),
        (("x.mp4", "--detector", "auto"), 4, "--detector auto is a bundle's own"),
        (("x.mp4", "--detector", "harr"), 4, "did you mean haar"),
    ],
)
def test_words_that_are_none_are_errors(words: tuple[str, ...], code: int, message: str) -> None:
    done = run(*words)
    assert done.exit_code == code and message in done.stderr and done.stdout == ""


def test_help_says_what_it_is_not() -> None:
    done = run("--help")
    words = " ".join(done.stdout.split())
    assert done.exit_code == 0 and NOTICE in words and "drawn faces alone" in words
