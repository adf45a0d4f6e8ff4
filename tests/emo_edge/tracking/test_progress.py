"""Progress of a run: frames done and in all, the rate, the time that is left, the place of the video."""

from __future__ import annotations

from pathlib import Path

import pytest

from emo_edge.console.status_line import StatusLine
from emo_edge.tracking import progress
from emo_edge.tracking.progress import TrackProgress, progress_text, summary_text
from emo_edge.tracking.run import TrackedVideo


def test_a_line_has_what_is_known() -> None:
    assert (
        progress_text("a.mp4", 1200, 3600, 600, 20.0) == "a.mp4: 1,200 of 3,600 frames, 30.0 a second, about 80 s left"
    )
    assert progress_text("a.mp4", 1200, 0, 600, 20.0) == "a.mp4: 1,200 frames, 30.0 a second"
    assert progress_text("a.mp4", 40, 30, 0, 0.0) == "a.mp4: 40 frames"


def test_lines_come_every_ten_seconds_and_rates_are_of_this_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lines = [0.0], list[str]()
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = TrackProgress(2, StatusLine(), lines.append)
    for seconds in range(25):
        now[0] = float(seconds)
        shown("a.mp4", 1000 + 16 * seconds, 2000)
    assert lines == [
        "1 of 2: a.mp4: 1,160 of 2,000 frames, 16.0 a second, about 52 s left",
        "1 of 2: a.mp4: 1,320 of 2,000 frames, 16.0 a second, about 42 s left",
    ]
    shown.end(TrackedVideo("a.mp4", Path("a.csv"), 2000, 1900))
    now[0] = 40.0
    shown("b.mp4", 16, 160)
    assert lines[2:] == ["a.mp4: 2,000 frames, 1,900 faces, 24 s: a.csv", "2 of 2: b.mp4: 16 of 160 frames"]


def test_a_video_that_was_finished_before_says_so() -> None:
    video = TrackedVideo("a.mp4", Path("a.csv"), is_unchanged=True)
    assert summary_text(video, 0.1) == "a.mp4: finished before, a.csv is left as it is"
