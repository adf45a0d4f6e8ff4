"""Faults of a live source: silence, loss, a driver that hangs, time stamps that jump; all on a clock of the test's."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from emo_edge.errors import DeviceError, InputError, MissingExtraError
from emo_edge.media.live.capture import OPENING_S, LiveCapture
from emo_edge.media.live.settings import CaptureSettings, retry_delay
from emo_edge.media.readers.opencv_reader import OpenCvReader
from tests.fake_sources import PATIENCE_S, FakeClock, FakeFrame, FakeReader, FakeSource, next_frame, states
from tests.made_videos import index_of, write

CAMERA = "rtsp://user:se-cret@camera.invalid/stream?token=se-cret"


def opened(clock: FakeClock, source: FakeSource, *, name: str = "0", **settings: Any) -> LiveCapture:
    return LiveCapture(name, CaptureSettings(**settings), clock=clock, opener=source, chance=lambda: 0.5)


def until_over(capture: LiveCapture) -> None:
    for _ in range(100):
        assert capture.poll() is None
        if capture.over:
            return
        capture.wait(PATIENCE_S)
    raise AssertionError("the source never ended")


def until_over_taking(capture: LiveCapture) -> None:
    """Take the frames to the end."""
    limit = time.monotonic() + PATIENCE_S
    while not capture.over and time.monotonic() < limit:
        if capture.poll() is None:
            capture.wait(0.01)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_the_newest_frame_wins_and_the_others_are_counted(clock: FakeClock) -> None:
    reader = FakeReader()
    capture = opened(clock, FakeSource(reader))
    reader.queue.put(FakeFrame(1))
    assert next_frame(capture).index == 0 and states(capture) == ["opening", "playing"]
    thread = capture._thread
    assert thread is not None
    for grey in (2, 3, 4):
        reader.queue.put(FakeFrame(grey))
    while thread.frames < 4:
        capture.wait(PATIENCE_S)
    frame = capture.poll()
    assert frame is not None and frame.index == 3 and frame.image[0, 0, 0] == 4
    assert capture.dropped() == {"overtaken": 2, "damaged": 0} and capture.poll() is None
    reader.queue.put(None)
    capture.close()


def test_a_camera_that_is_unplugged_is_lost_with_an_error(clock: FakeClock) -> None:
    reader = FakeReader()
    capture = opened(clock, FakeSource(reader))
    reader.queue.put(FakeFrame())
    next_frame(capture)
    reader.queue.put(None)
    until_over(capture)
    assert states(capture) == ["opening", "playing", "lost"]
    assert isinstance(capture.error, DeviceError) and "still plugged in" in str(capture.error)
    assert reader.closed.wait(PATIENCE_S)


def test_a_stall_of_three_seconds_is_an_event_and_the_frames_go_on(clock: FakeClock) -> None:
    reader = FakeReader()
    capture = opened(clock, FakeSource(reader))
    reader.queue.put(FakeFrame())
    next_frame(capture)
    clock.seconds += 1.9
    assert capture.poll() is None and states(capture) == ["opening", "playing"]
    clock.seconds += 1.1
    assert capture.poll() is None and states(capture) == ["stalled"]
    reader.queue.put(FakeFrame())
    assert next_frame(capture).index == 1 and states(capture) == ["playing"]
    reader.queue.put(None)
    capture.close()


@pytest.mark.parametrize("frames", [0, 1])
def test_a_stall_for_good_is_a_loss(clock: FakeClock, frames: int) -> None:
    reader, source = FakeReader(), FakeSource()
    source.readers.append(reader)
    capture = opened(clock, source)
    assert capture.poll() is None and source.opened.acquire(timeout=PATIENCE_S)
    for _ in range(frames):
        reader.queue.put(FakeFrame())
        next_frame(capture)
    assert capture._thread is not None
    limit = time.monotonic() + PATIENCE_S
    while not capture._thread.opened:
        assert time.monotonic() < limit
    for _ in range(3):
        clock.seconds += 4.0
        assert capture.poll() is None
    assert states(capture) == ["opening", *(["playing"] * frames), "stalled", "lost"]
    assert capture.over and isinstance(capture.error, DeviceError) and "nothing came for 12 s" in str(capture.error)
    reader.queue.put(None)


def test_a_lost_camera_is_opened_again_after_growing_delays(clock: FakeClock) -> None:
    first, last = FakeReader(), FakeReader()
    source = FakeSource(first, DeviceError("camera 0 cannot be opened"), DeviceError("still not"), last)
    capture = opened(clock, source, reconnect=True)
    first.queue.put(FakeFrame())
    next_frame(capture)
    first.queue.put(None)
    for delay in (0.5, 1.0, 2.0):
        while capture.changes[-1].state != "lost":
            assert capture.poll() is None
            capture.wait(PATIENCE_S) if capture.changes[-1].state != "lost" else None
        clock.seconds += delay - 0.01
        assert capture.poll() is None and capture.changes[-1].state == "lost"
        clock.seconds += 0.02
        assert capture.poll() is None and capture.changes[-1].state == "opening"
    last.queue.put(FakeFrame())
    frame = next_frame(capture)
    assert (frame.index, frame.segment) == (1, 1), "an opening begins a segment, and indices go on"
    assert states(capture) == ["opening", "playing", *["lost", "opening"] * 3, "playing"] and not capture.over
    last.queue.put(None)
    capture.close()


def test_delays_double_up_to_half_a_minute_with_a_quarter_of_chance() -> None:
    assert [retry_delay(attempt, 0.5) for attempt in (0, 1, 2, 5, 6, 7, 1000)] == [0.5, 1, 2, 16, 30, 30, 30]
    assert retry_delay(0, 0.0) == 0.375 and retry_delay(100, 1.0) == 37.5


def test_what_no_new_attempt_can_fix_ends_at_once(clock: FakeClock) -> None:
    capture = opened(clock, FakeSource(MissingExtraError("no cv2")), reconnect=True)
    until_over(capture)
    assert isinstance(capture.error, MissingExtraError)


def test_a_fault_of_the_program_is_not_swallowed(clock: FakeClock) -> None:
    capture = opened(clock, FakeSource(KeyError("a fault")), reconnect=True)
    with pytest.raises(KeyError):
        until_over(capture)


def test_a_grab_that_never_returns_is_left_behind_once(clock: FakeClock) -> None:
    hanging, again = FakeReader(), FakeReader()
    capture = opened(clock, FakeSource(hanging, again), reconnect=True)
    for reader in (hanging, again):
        reader.queue.put(FakeFrame())
        next_frame(capture)
        clock.seconds += 10.1
        assert capture.poll() is None
        clock.seconds += 0.6
    assert states(capture) == ["opening", "playing", "lost", "opening", "playing", "lost"]
    assert capture.over and "has not returned either" in str(capture.error), "one such thread a source at most"
    for reader in (hanging, again):
        reader.queue.put(FakeFrame())
        assert reader.closed.wait(PATIENCE_S), "a call that returns after all closes its source"


def test_an_opening_that_never_returns_is_a_loss(clock: FakeClock) -> None:
    released = threading.Event()

    @contextmanager
    def opener(source: str, kind: str) -> Iterator[Any]:
        released.wait(PATIENCE_S)
        yield FakeReader()

    capture = LiveCapture("0", clock=clock, opener=opener)
    assert capture.poll() is None
    clock.seconds += OPENING_S + 1
    assert capture.poll() is None
    assert capture.over and "nothing came" in str(capture.error) and states(capture) == ["opening", "lost"]
    thread = capture._abandoned
    assert thread is not None
    released.set()


def test_a_jump_of_the_time_stamps_begins_a_segment_and_nothing_waits(clock: FakeClock) -> None:
    reader = FakeReader()
    capture = opened(clock, FakeSource(reader))
    numbers = []
    for stamp in (50.0, 50.04, 9000.0, 3.0, 3.04, None):
        reader.queue.put(FakeFrame(stamp=stamp))
        clock.seconds += 0.04
        frame = next_frame(capture)
        numbers.append((frame.segment, round(frame.seconds, 2)))
    assert [segment for segment, _ in numbers] == [0, 0, 1, 2, 2, 2]
    assert [seconds for _, seconds in numbers] == [0.04, 0.08, 0.12, 0.16, 0.2, 0.24], "by the clock alone"
    reader.queue.put(None)
    capture.close()


def test_a_frame_that_cannot_be_decoded_is_counted_and_left_out(clock: FakeClock) -> None:
    class Broken(FakeFrame):
        def keep(self) -> None:
            raise InputError("half a JPEG")

    reader = FakeReader()
    capture = opened(clock, FakeSource(reader))
    reader.queue.put(Broken())
    reader.queue.put(FakeFrame(7))
    assert next_frame(capture).image[0, 0, 0] == 7
    assert capture.dropped() == {"overtaken": 0, "damaged": 1}
    reader.queue.put(None)
    capture.close()


class NoRate:
    """OpenCV's capture of a camera or a pipeline that names no rate and no time stamps."""

    def __init__(self, rate: float) -> None:
        self.rate, self.left = rate, 4

    def get(self, number: int) -> float:
        sides = {cv2.CAP_PROP_FRAME_WIDTH: 64.0, cv2.CAP_PROP_FRAME_HEIGHT: 48.0}
        return self.rate if number == cv2.CAP_PROP_FPS else sides.get(number, 0.0)

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, Any]:
        return True, np.full((48, 64, 3), self.left, np.uint8)

    def release(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_a_source_of_no_frames_a_second_is_read_by_the_clock(clock: FakeClock, rate: float) -> None:
    @contextmanager
    def source(name: str, kind: str) -> Iterator[Any]:
        yield OpenCvReader(NoRate(rate), name, camera=kind == "camera")

    for name in ("0", "videotestsrc ! appsink"):
        capture = LiveCapture(name, clock=clock, opener=source)
        frame = next_frame(capture)
        assert frame.segment == 0 and frame.image.shape == (48, 64, 3) and frame.seconds == 0.0
        until_over_taking(capture)
        assert states(capture) == ["opening", "playing", "lost"] and isinstance(capture.error, DeviceError)


def test_a_password_is_in_no_change_and_no_error(clock: FakeClock) -> None:
    capture = opened(clock, FakeSource(FakeReader()), name=CAMERA)
    assert capture.poll() is None
    clock.seconds += OPENING_S + 11
    assert capture.poll() is None and capture.over
    assert "se-cret" not in f"{capture.name}{capture.changes}{capture.error!r}{capture.error}"
    assert "camera.invalid" in str(capture.error)


def test_a_file_gives_every_frame_and_then_its_end(tmp_path: Path) -> None:
    video = write(tmp_path / "a.mp4", [index / 10 for index in range(12)])
    capture = LiveCapture(str(video))
    frames = []
    while not capture.over:
        frame = capture.poll()
        if frame is None:
            capture.wait(PATIENCE_S)
        else:
            frames.append((index_of(frame.image), frame.index, round(frame.seconds, 3)))
    assert frames == [(index, index, index / 10) for index in range(12)]
    assert capture.error is None and states(capture) == ["opening", "playing", "ended"]


def test_a_file_at_its_own_pace_is_as_old_as_its_stamps_say(tmp_path: Path) -> None:
    clock = FakeClock()
    video = write(tmp_path / "a.mp4", [index / 10 for index in range(12)])
    capture = LiveCapture(str(video), CaptureSettings(realtime=True), clock=clock)
    last = None
    while not capture.over:
        frame = capture.poll()
        last = frame or last
        if frame is None:
            capture.wait(PATIENCE_S)
    assert last is not None and last.index == 11 and last.captured_s == pytest.approx(1001.1)
    assert clock.seconds == pytest.approx(1001.1)


def test_a_file_that_is_cut_off_ends_with_an_error(tmp_path: Path) -> None:
    video = write(tmp_path / "a.mkv", [index / 10 for index in range(30)])
    video.write_bytes(video.read_bytes()[:-200])
    capture = LiveCapture(str(video))
    while not capture.over:
        if capture.poll() is None:
            capture.wait(PATIENCE_S)
    assert isinstance(capture.error, InputError) and "cut off" in str(capture.error)


def test_a_folder_is_no_live_source(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; live reads a camera"):
        LiveCapture(str(tmp_path))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_stall_is_a_number_of_seconds(seconds: float) -> None:
    with pytest.raises(InputError, match="`stall`"):
        CaptureSettings(stall_s=seconds)
