"""The view of live events on a terminal, and the lines where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from emo_edge.inference.action_units import UnitReading
from emo_edge.inference.live.events import FrameEvent, LiveFace, PulseEvent, SourceEvent, TrackEvent
from emo_edge.inference.results import EmotionResult, Settings
from emo_edge.inference.signals.heart_rate import HeartRate
from emo_edge.rendering.live_view import LiveView, face_line
from emo_edge.rendering.live_writers import LiveText

SETTINGS = Settings("b", "p", {}, "cpu", "haar", ("happiness", "neutral"), "?", False, 1.0, False, "", "0")
RESULT = EmotionResult((0, 0, 9, 9), None, 1, {"neutral": 0.15, "happiness": 0.8, "fear": 0.05}, None, {}, {}, SETTINGS)
UNITS = {"AU4": UnitReading(0.1, False, 0.2), "AU12": UnitReading(0.9, True, 2.0)}
FACE = LiveFace(3, (0, 0, 9, 9), True, RESULT, 45.2, False)
FRAME = FrameEvent(
    "0", 7, 0, 1.5, 45.2, (FACE,), {"track": 5.0}, {}, {"overtaken": 2, "damaged": 1}, np.zeros((9, 9, 3), np.uint8)
)


class Ticking:
    """A clock that moves by a tenth of a second at every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.1
        return self.now


@pytest.mark.parametrize(
    ("face", "line"),
    [
        (FACE, "  #3  happiness     80% ████████████████      neutral 15%, fear 5%  (label 45 ms old)"),
        (
            replace(FACE, label_age_ms=1240.0, reused=True, detected=False),
            "  #3  happiness     80% ████████████████      neutral 15%, fear 5%  (label 1.2 s old, unchanged, hidden)",
        ),
        (replace(FACE, result=None, label_age_ms=None), "  #3  not read yet"),
        (replace(FACE, result=replace(RESULT, probabilities={})), "  #3  no labels"),
        (replace(FACE, result=replace(RESULT, probabilities={}, action_units=UNITS)), "  #3  AU12 B"),
        (
            replace(FACE, result=replace(RESULT, probabilities={}, action_units={"AU4": UNITS["AU4"]})),
            "  #3  no active unit",
        ),
    ],
)
def test_a_face_is_one_line(face: LiveFace, line: str) -> None:
    assert face_line(face) == line


def test_labels_and_names_hold_no_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    view, hostile = LiveView(Ticking()), "\x1b]0;x\x07"
    face = replace(FACE, result=replace(RESULT, probabilities={hostile: 0.9, "joy": 0.1}))
    view.write(replace(FRAME, source=hostile, faces=(face,)))
    assert not set(capsys.readouterr().out) & {"\x1b", "\x07"}


def test_the_view_is_drawn_over_itself(capsys: pytest.CaptureFixture[str]) -> None:
    view = LiveView(Ticking())
    view.write(SourceEvent("0", "playing", "", 0.1))
    view.write(FRAME)
    first = capsys.readouterr().out
    assert first.startswith("0  playing  1.5 s  0.0 fps  age 45 ms  skipped 3\n  #3  happiness")
    view.write(replace(FRAME, faces=(), dropped={}))
    second = capsys.readouterr().out
    assert second.startswith("\x1b[2A\r\x1b[J0  playing") and second.endswith("\n  no face\n")
    view.write(SourceEvent("0", "stalled", "nothing came for 2.1 s", 4.0))
    assert capsys.readouterr().out == "\x1b[2A\r\x1b[J4.0 s  0 stalled: nothing came for 2.1 s\n"
    view.end()
    assert capsys.readouterr().out.count("\n") == 2


def test_more_faces_than_lines_are_counted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("COLUMNS", "60")
    LiveView(Ticking()).write(replace(FRAME, faces=tuple(replace(FACE, id=number) for number in range(1, 51))))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and lines[-1] == "  and 43 more" and max(map(len, lines)) <= 59


@pytest.mark.parametrize("writer", [LiveText, LiveView])
@pytest.mark.parametrize(("bpm", "shown"), [(71.83, "72 BPM"), (None, "no reliable pulse")])
def test_a_pulse_stands_behind_the_label_with_its_notice(
    capsys: pytest.CaptureFixture[str], writer: type[LiveText | LiveView], bpm: float | None, shown: str
) -> None:
    view = writer(Ticking())
    rate = HeartRate(bpm, bpm, 5.1, bpm is not None, None if bpm else "too dark", 10.0, 30.0, "pos")
    view.write(PulseEvent("0", 3, 0.0, 10.0, rate))
    view.write(FRAME)
    out = capsys.readouterr().out
    assert f" {shown}" in out and out.count("Not a medical device.") == 1
    view.write(TrackEvent("0", "lost", 3, 2.0, FACE.box, "left"))
    for _ in range(12):
        view.write(FRAME)
    assert shown not in capsys.readouterr().out


def test_text_has_a_line_a_second_and_the_troubles(capsys: pytest.CaptureFixture[str]) -> None:
    text = LiveText(Ticking(), every_s=1.0)
    for index in range(12):
        text.write(replace(FRAME, index=index))
    text.write(SourceEvent("0", "lost", "0: camera 0 stopped", 2.0))
    text.write(SourceEvent("0", "opening", "", 2.5))
    text.write(SourceEvent("0", "playing", "", 3.0))
    text.write(SourceEvent("0", "opening", "", 3.5))
    text.end()
    lines = capsys.readouterr().out.splitlines()
    frames, troubles = lines[:-3], lines[-3:]
    assert [line.split("  ")[0] for line in frames] == ["1.5 s"] * len(frames) and 2 <= len(frames) <= 5
    assert frames[0].endswith("#3 happiness 80%")
    assert troubles == ["2.0 s  0 lost: camera 0 stopped", "2.5 s  0 opening", "3.0 s  0 playing"]
