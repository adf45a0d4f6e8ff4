"""Recordings of live events keep the times of their frames, and appear as a whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emo_edge.console.children import code_command
from emo_edge.errors import InputError
from emo_edge.inference.live.events import FrameEvent, LiveEvent, LiveFace, SourceEvent
from emo_edge.inference.results import EmotionResult, Settings
from emo_edge.media.videos import sampled_frames
from emo_edge.rendering.annotate import COLOURS
from emo_edge.rendering.live import recorder as recorder_module
from emo_edge.rendering.live.picture import live_picture
from emo_edge.rendering.live.recorder import WAITING, LiveRecorder, Recorded
from emo_edge.rendering.live_writers import FrameCounts, LiveWriter, head_text

SETTINGS = Settings("b", "p", {}, "cpu", "haar", ("happiness", "neutral"), "?", False, 1.0, False, "", "0")
RESULT = EmotionResult((0, 0, 9, 9), None, 1, {"neutral": 0.2, "happiness": 0.8}, None, {}, {}, SETTINGS)
FACE = LiveFace(1, (40.0, 40.0, 90.0, 90.0), True, RESULT, 45.2, False)
TIMES = [2.5, 2.5333, 2.7, 4.1]


def frame(time_s: float, *faces: LiveFace) -> FrameEvent:
    image = np.full((120, 160, 3), 90, np.uint8)
    return FrameEvent("0", 0, 0, time_s, 1.0, faces, {}, {}, {}, image)


def test_a_recording_keeps_the_times_of_the_source_and_its_faces(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    recorder = LiveRecorder(target, ["0"], every_frame=True)
    recorder.write(SourceEvent("0", "playing", "", 2.5))
    for time_s in TIMES:
        recorder.write(frame(time_s, FACE))
        assert not target.exists()
    recorder.end()
    recorder.end()
    frames = list(sampled_frames(target))
    assert [one.time_s for one in frames] == pytest.approx([time_s - TIMES[0] for time_s in TIMES], abs=1e-3)
    assert recorder.frames == 4 and [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert np.abs(frames[0].image.astype(int) - live_picture(frame(2.5, FACE))).mean() < 3


def test_an_id_keeps_its_colour_and_smoothed_labels_are_drawn() -> None:
    other = replace(FACE, id=2, box=(5.0, 5.0, 30.0, 30.0))
    both, alone = (live_picture(frame(0, *faces)) for faces in ((FACE, other), (other,)))
    assert all((picture == COLOURS[1]).all(2).any() for picture in (both, alone))
    assert not (alone == COLOURS[0]).all(2).any()
    smoothed = live_picture(frame(0, replace(FACE, smoothed={"neutral": 0.9, "happiness": 0.1})))
    assert (smoothed != live_picture(frame(0, FACE))).any()
    unread = live_picture(frame(0, replace(FACE, result=None)))
    assert (unread == live_picture(frame(0))).all()


class Noted(LiveWriter):
    """Keeps the events."""

    def __init__(self) -> None:
        self.events: list[LiveEvent] = []

    def write(self, event: LiveEvent) -> None:
        self.events.append(event)


def test_a_live_source_never_waits_for_the_encoder_and_left_out_frames_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow(event: FrameEvent) -> Any:
        assert go_on.wait(60)
        return live_picture(event)

    monkeypatch.setattr(recorder_module, "live_picture", slow)
    recorder, noted = LiveRecorder(tmp_path / "out.mp4", ["0"]), Noted()
    writer, counts = Recorded(noted, recorder), FrameCounts(lambda: 0.0)
    for index in range(30):
        writer.write(replace(frame(index / 30), dropped={"overtaken": 1}))
    go_on.set()
    writer.end()
    events = [event for event in noted.events if isinstance(event, FrameEvent)]
    assert len(events) == 30 and all(event.dropped["overtaken"] == 1 for event in events)
    left_out = sum(event.dropped["record"] for event in events)
    # The encoder may have taken one frame out of the queue.
    assert left_out == recorder.dropped and left_out in (30 - WAITING, 30 - WAITING - 1)
    assert len(list(sampled_frames(tmp_path / "out.mp4"))) == recorder.frames == 30 - left_out
    for event in events:
        counts.add(event)
    assert head_text(events[-1], counts).endswith(f"skipped 30  not recorded {left_out}")


def test_a_recording_without_a_frame_is_none(tmp_path: Path) -> None:
    LiveRecorder(tmp_path / "out.mp4", ["0"]).end()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.gif", "a recording ends in .mp4 or .avi"),
        ("there.mp4", "is there already"),
        ("no/out.mp4", "there is no folder"),
        ("source.mp4", "would replace the source"),
    ],
)
def test_names_that_cannot_be_written_are_refused_at_once(tmp_path: Path, name: str, message: str) -> None:
    for there in ("there.mp4", "source.mp4"):
        (tmp_path / there).write_text("precious")
    with pytest.raises(InputError, match=message):
        LiveRecorder(tmp_path / name, [str(tmp_path / "source.mp4")])


@pytest.mark.skipif(sys.platform != "linux", reason="waits for a system that limits file sizes this way")
def test_a_full_disk_is_one_error_and_the_file_before_stays(tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    target.write_text("precious")
    code = f"""
import resource, signal
from pathlib import Path
import numpy as np
from emo_edge.errors import EmoEdgeError
from emo_edge.inference.live.events import FrameEvent
from emo_edge.rendering.live.recorder import LiveRecorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
recorder = LiveRecorder(Path({str(target)!r}), ["0"], overwrite=True, every_frame=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
noise = np.random.default_rng(0)
try:
    for index in range(400):
        image = noise.integers(0, 255, (720, 960, 3), np.uint8)
        recorder.write(FrameEvent("0", index, 0, index / 30, 1.0, (), {{}}, {{}}, {{}}, image))
except EmoEdgeError as error:
    recorder.end()
    print(index < 300, error.exit_code, error)
"""
    done = subprocess.run(code_command(code), capture_output=True, text=True, check=False)
    assert done.stdout.startswith("True 4 ") and "make room or choose another place" in done.stdout, done.stderr
    assert target.read_text() == "precious" and [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
