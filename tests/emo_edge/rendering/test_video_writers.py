"""Written videos keep the times of their frames, by time stamps in MP4 and by repeated frames elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from emo_edge.media.videos import TimedFrame, sampled_frames
from emo_edge.rendering import video_writers
from emo_edge.rendering.video_writers import TimedImage, video_encoder, write_video
from tests.made_videos import SIDE, VARIABLE, index_of, marked

STEP = 1 / 30


def images(times: list[float], last_s: float = 0.0) -> Iterator[TimedImage]:
    for index, time_s in enumerate(times):
        yield marked(index), time_s, last_s


def written(path: Path, frames: Iterator[TimedImage], step_s: float = STEP) -> list[TimedFrame]:
    list(write_video(path, frames, step_s, path))
    return list(sampled_frames(path))


def duration(path: Path) -> float:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return float(stream.duration * stream.time_base)


def test_an_mp4_has_the_time_stamps_and_is_h264(tmp_path: Path) -> None:
    frames = written(tmp_path / "a.mp4", images(VARIABLE))
    assert [frame.time_s for frame in frames] == pytest.approx(VARIABLE, abs=1e-3)
    assert [index_of(frame.image) for frame in frames] == list(range(len(VARIABLE)))
    assert duration(tmp_path / "a.mp4") == pytest.approx(VARIABLE[-1] + 1, abs=0.02), (
        "the last is shown like the others"
    )
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    head = (tmp_path / "a.mp4").read_bytes()
    assert head.index(b"moov") < head.index(b"mdat"), "browsers begin before the end is there"
    written(tmp_path / "b.mp4", images(VARIABLE, last_s=0.5))
    assert duration(tmp_path / "b.mp4") == pytest.approx(VARIABLE[-1] + 0.5, abs=0.02)


@pytest.mark.parametrize("with_pyav", [True, False])
@pytest.mark.parametrize("name", ["http:a.mp4", "c:a.mp4", "file:a.avi"])
def test_a_name_that_looks_like_a_protocol_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, with_pyav: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(video_writers, "has_pyav", lambda: with_pyav)
    assert written(Path(name), images(VARIABLE))
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.avi", "a.mp4"])
def test_a_constant_rate_repeats_frames(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_writers, "has_pyav", lambda: False)
    frames = written(tmp_path / name, images(VARIABLE))
    assert len(frames) * STEP == pytest.approx(VARIABLE[-1] + 1, abs=1.1 * STEP)
    for frame in frames:
        wanted = max(index for index, time_s in enumerate(VARIABLE) if time_s <= frame.time_s + STEP / 2)
        # MPEG-4 Part 2 rounds the colours.
        assert abs(index_of(frame.image) - wanted) <= (name == "a.mp4")


def test_a_constant_rate_below_the_frames_keeps_the_duration(tmp_path: Path) -> None:
    frames = written(tmp_path / "a.avi", images([index / 30 for index in range(60)]), step_s=0.1)
    assert len(frames) * 0.1 == pytest.approx(2, abs=0.11)


@pytest.mark.parametrize("name", ["a.avi", "a.mp4"])
def test_odd_and_changing_sizes_become_one_even_size(tmp_path: Path, name: str) -> None:
    shapes = [(SIDE - 1, SIDE + 1), (SIDE - 1, SIDE + 1), (30, 40)]
    frames = ((np.full((*shape, 3), 128, np.uint8), index * 0.1, 0.1) for index, shape in enumerate(shapes))
    found = written(tmp_path / name, frames, step_s=0.1)
    assert [frame.image.shape for frame in found] == [(SIDE, SIDE + 2, 3)] * 3
    assert all(abs(frame.image.mean() - 128) < 4 for frame in found)


def test_the_best_encoder_is_chosen_and_the_lack_of_h264_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert video_encoder() == "libx264"
    video_encoder.cache_clear()
    monkeypatch.setattr(video_writers, "ENCODERS", {"no-such": {}, "mpeg4": {"qscale": "4"}})
    try:
        assert len(written(tmp_path / "a.mp4", images([0, 0.1, 0.5]))) == 3
        assert caplog.text.count("browsers do not play") == 1
    finally:
        video_encoder.cache_clear()
