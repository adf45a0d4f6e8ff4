"""Frames of small real videos, whole, cut off and lying, of missing cameras, and of streams."""

from __future__ import annotations

import functools
import logging
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from emo_edge.benchmarks.synthetic.generator import render_clip
from emo_edge.errors import DeviceError, InputError
from emo_edge.media.captures import opened_capture
from emo_edge.media.crops import Image
from emo_edge.media.sources import camera_path, classify_source, without_password
from emo_edge.media.videos import TimedFrame, clip_frames, even_indices, sampled_frames

LENGTH, RATE, SIZE = 24, 12.0, 64
MARK = 24
"""The top left corner of each frame is as bright as its index says."""


@pytest.fixture(scope="module")
def rendered() -> list[Image]:
    clip = render_clip(11, 0, size=SIZE, num_frames=LENGTH)
    images = [frame.image.copy() for frame in clip.frames]
    for index, image in enumerate(images):
        image[:MARK, :MARK] = 10 + 10 * index
    return images


@pytest.fixture(scope="module")
def videos(rendered: list[Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "clip.avi", rendered, "MJPG")
    write_video(folder / "clip.mp4", rendered, "mp4v")
    write_video(folder / "short.avi", rendered[:3], "MJPG")
    animation = cv2.Animation()
    animation.frames = [np.ascontiguousarray(image[..., ::-1]) for image in rendered]
    animation.durations = [100] * LENGTH
    assert cv2.imwriteanimation(str(folder / "clip.gif"), animation)
    assert cv2.imwriteanimation(str(folder / "clip.png"), animation)
    return folder


def write_video(path: Path, images: list[Image], code: str) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), RATE, (SIZE, SIZE))
    assert writer.isOpened()
    for image in images:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()


def marked_index(image: Image) -> int:
    return round((float(image[4 : MARK - 4, 4 : MARK - 4].mean()) - 10) / 10)


def check(frames: list[TimedFrame], indices: list[int], rate: float = RATE) -> None:
    assert [frame.index for frame in frames] == indices
    assert [marked_index(frame.image) for frame in frames] == indices
    assert [frame.time_s for frame in frames] == pytest.approx([index / rate for index in indices], abs=2e-3)


def test_a_name_that_is_not_utf8_is_read(videos: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9") / os.fsdecode(b"clip\xff.mp4")
    path.parent.mkdir()
    path.write_bytes((videos / "clip.mp4").read_bytes())
    check(clip_frames(path), [1, 4, 7, 10, 13, 16, 19, 22])
    check(list(sampled_frames(path)), list(range(LENGTH)))


@pytest.mark.parametrize("name", ["clip.avi", "clip.mp4"])
def test_clip_frames_are_the_middles_of_equal_parts(videos: Path, rendered: list[Image], name: str) -> None:
    frames = clip_frames(videos / name)
    check(frames, [1, 4, 7, 10, 13, 16, 19, 22])
    assert frames[0].image.shape == (SIZE, SIZE, 3) and frames[0].image.dtype == np.uint8
    assert np.abs(frames[3].image.astype(int) - rendered[10]).mean() < 8  # RGB: swapped channels are far off
    check(clip_frames(str(videos / name), count=1), [12])


def test_a_short_clip_repeats_frames(videos: Path) -> None:
    check(clip_frames(videos / "short.avi"), [0, 0, 0, 1, 1, 2, 2, 2])
    assert even_indices(90, 8) == [5, 16, 28, 39, 50, 61, 73, 84]


@pytest.mark.parametrize("name", ["clip.gif", "clip.png"])
def test_an_animation_is_a_video_even_without_a_frame_count(videos: Path, name: str) -> None:
    check(clip_frames(videos / name, count=4), [3, 9, 15, 21], rate=10)


@pytest.mark.parametrize("lie", [0, 5, 200])
def test_a_wrong_frame_count_is_not_believed(videos: Path, tmp_path: Path, lie: int) -> None:
    data = bytearray((videos / "clip.avi").read_bytes())
    for tag, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        at = data.index(tag) + offset
        assert struct.unpack_from("<I", data, at)[0] == LENGTH
        struct.pack_into("<I", data, at, lie)
    (tmp_path / "lying.avi").write_bytes(data)
    check(clip_frames(tmp_path / "lying.avi"), [1, 4, 7, 10, 13, 16, 19, 22])


def test_sampled_frames_follow_the_rate(videos: Path) -> None:
    path = str(videos / "clip.mp4")
    check(list(sampled_frames(path)), list(range(LENGTH)))
    check(list(sampled_frames(path, fps=3)), [0, 4, 8, 12, 16, 20])
    check(list(sampled_frames(Path(path), fps=5)), [0, 3, 5, 8, 10, 12, 15, 17, 20, 22])
    check(list(sampled_frames(path, fps=100)), list(range(LENGTH)))
    check(list(sampled_frames(path, fps=0.1)), [0])


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_rate_is_positive(videos: Path, fps: float) -> None:
    with pytest.raises(InputError, match="fps is a positive number"):
        sampled_frames(str(videos / "clip.mp4"), fps=fps)


def test_a_cut_off_video_gives_what_is_there_and_then_an_error(
    videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = (videos / "clip.avi").read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(data[: len(data) // 2])
    seen = []
    with pytest.raises(InputError, match=r"cut\.avi: cut off, \d+ of 24 frames are there"):
        for frame in sampled_frames(path):
            seen.append(frame)
    assert 4 < len(seen) < 20
    whole = [frame.index for frame in seen if marked_index(frame.image) == frame.index]
    assert len(whole) >= len(seen) - 1  # the last one may be half
    with caplog.at_level(logging.WARNING):
        frames = clip_frames(path, count=2)
    assert [frame.index for frame in frames] == even_indices(len(seen), 2)
    assert f"cut off, {len(seen)} of 24 frames are there" in caplog.text


def test_a_file_without_frames_is_an_error(videos: Path, tmp_path: Path) -> None:
    data = (videos / "clip.mp4").read_bytes()
    for name, content in {
        "half.mp4": data[: len(data) // 2],
        "empty.mp4": b"",
        "junk.avi": b"RIFF" + bytes(80),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: .*(not a video that can be read|no readable frame)"):
            clip_frames(tmp_path / name)
        with pytest.raises(InputError, match=f"{name}: .*(not a video that can be read|no readable frame)"):
            list(sampled_frames(tmp_path / name))


def test_what_is_no_video_is_refused_at_the_call(videos: Path, tmp_path: Path) -> None:
    still = tmp_path / "still.png"
    cv2.imwrite(str(still), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="is an image, not a video"):
        sampled_frames(still)
    with pytest.raises(InputError, match="is a folder, not a video"):
        sampled_frames(tmp_path)
    with pytest.raises(InputError, match="not a video file"):
        clip_frames(still)
    with pytest.raises(InputError, match="no such file"):
        clip_frames(tmp_path / "none.mp4")
    with pytest.raises(InputError, match="count is at least 1"):
        clip_frames(videos / "clip.avi", count=0)


@pytest.mark.parametrize("source", [63, "63", "/dev/video63"])
def test_a_missing_camera_is_named_at_once(source: Any) -> None:
    start = time.perf_counter()
    with pytest.raises(DeviceError, match=r"camera 63 cannot be opened"):
        next(sampled_frames(source))
    assert time.perf_counter() - start < 2


def open_files(path: Path) -> int:
    return sum(os.path.realpath(f"/proc/self/fd/{name}") == str(path) for name in os.listdir("/proc/self/fd"))


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_the_capture_is_always_released(videos: Path) -> None:
    path = (videos / "clip.avi").resolve()
    frames = sampled_frames(path)
    next(frames)
    assert open_files(path) == 1
    frames.close()  # type: ignore[attr-defined]
    assert open_files(path) == 0
    with pytest.raises(RuntimeError), opened_capture(str(path), "video"):
        raise RuntimeError
    list(sampled_frames(path))
    clip_frames(path)
    assert open_files(path) == 0


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Do nothing."""


@pytest.fixture
def server(videos: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(videos))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_url_is_streamed(server: str) -> None:
    check(list(sampled_frames(f"{server}/clip.avi", fps=3)), [0, 4, 8, 12, 16, 20])


def test_a_stream_that_does_not_answer_is_named_without_its_password(server: str) -> None:
    with pytest.raises(DeviceError, match=r"none\.mp4: the stream cannot be opened"):
        list(sampled_frames(f"{server}/none.mp4"))
    with pytest.raises(DeviceError, match=r"^rtsp://127\.0\.0\.1:9/live: the stream cannot be opened"):
        list(sampled_frames("rtsp://user:secret@127.0.0.1:9/live"))
    assert without_password("rtsp://u:p@host/a@b") == "rtsp://host/a@b"


def test_a_pipeline_is_opened_or_gstreamer_is_named() -> None:
    pipeline = "videotestsrc num-buffers=3 ! videoconvert ! appsink"
    if "GStreamer:                   YES" in cv2.getBuildInformation():
        assert len(list(sampled_frames(pipeline))) == 3
    else:
        with pytest.raises(DeviceError, match="built without GStreamer"):
            list(sampled_frames(pipeline))


def test_sources_are_told_apart(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("still.png", np.zeros((4, 4, 3), np.uint8))
    Path("still.png").rename("still.mp4")
    (tmp_path / "7").write_bytes((videos / "clip.avi").read_bytes())
    (tmp_path / "a ! b.jpg").touch()
    (tmp_path / "clip.mpg").touch()
    wanted = {
        "0": "camera",
        "7": "camera",
        "./7": "video",
        "/dev/video2": "camera",
        ".": "folder",
        "still.mp4": "image",
        "a ! b.jpg": "image",
        "clip.mpg": "video",
        str(videos / "clip.gif"): "video",
        str(videos / "clip.png"): "video",
        str(videos / "clip.mp4"): "video",
        "rtsp://host/live": "stream",
        "HTTPS://host/clip.mp4": "stream",
        "v4l2src ! videoconvert ! appsink": "stream",
    }
    assert {text: classify_source(text) for text in wanted} == wanted
    assert (camera_path("3"), camera_path("/dev/video11")) == ("/dev/video3", "/dev/video11")


@pytest.mark.parametrize("text", ["", "none.jpg", "-1", "ftp://host/a", "a\0b", "/dev/v4l/\0", "x" * 5000, "notes.txt"])
def test_an_unknown_source_lists_the_possibilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"a folder of images, a video file, a camera .*rtsp.*GStreamer"):
        classify_source(text)


QUIET = """
import sys
import cv2  # loud before the package silences it
from pathlib import Path
from emo_edge.errors import EmoEdgeError
from emo_edge.media.videos import clip_frames, sampled_frames
for source in sys.argv[1:]:
    for read in (lambda: list(sampled_frames(source)), lambda: clip_frames(source)):
        try:
            read()
        except EmoEdgeError as error:
            print(type(error).__name__)
"""


def test_nothing_is_printed_by_opencv(videos: Path, tmp_path: Path) -> None:
    for name in ("clip.avi", "clip.mp4"):
        data = (videos / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
    sources = [*map(str, tmp_path.iterdir()), "63", "rtsp://127.0.0.1:9/x", "videotestsrc ! appsink"]
    done = subprocess.run([sys.executable, "-c", QUIET, *sources], capture_output=True, text=True, check=True)
    # The one line is the warning that clip_frames logs about the cut off AVI.
    assert [line for line in done.stderr.splitlines() if "clip.avi: cut off" not in line] == []
    assert done.stdout.split().count("DeviceError") == 3
