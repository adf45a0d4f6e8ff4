"""Real containers of variable rate, joined, cut off, transparent, turned, and with cover pictures alone."""

from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition

from emo_edge.errors import InputError
from emo_edge.media import captures
from emo_edge.media.readers.cut_off import ASF_FILE_PROPERTIES, holds_another, is_cut_off
from emo_edge.media.videos import clip_frames, sampled_frames, segment_frames
from tests.made_videos import CODEC, SIDE, VARIABLE, index_of, marked, write


@pytest.mark.parametrize("pyav", [True, False])
@pytest.mark.parametrize("extension", CODEC)
def test_a_whole_video_of_variable_rate_is_not_cut_off(
    tmp_path: Path, extension: str, pyav: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(captures, "has_pyav", lambda: pyav)
    path = write(tmp_path / f"clip{extension}", VARIABLE)
    frames = list(sampled_frames(path))
    assert [index_of(frame.image) for frame in frames] == list(range(len(VARIABLE)))
    assert [frame.time_s for frame in frames] == pytest.approx(VARIABLE, abs=2e-3)
    assert [round(frame.time_s, 1) for frame in sampled_frames(path, fps=2)] == [0, 0.5, 1, 2, 3, 4, 5]
    clip = clip_frames(path, count=5)
    assert [frame.index for frame in clip] in ([15, 30, 31, 32, 33], [15, 30, 31, 32, 34], [18, 30, 32, 33, 34])
    assert [index_of(frame.image) for frame in clip] == [frame.index for frame in clip]
    assert not caplog.records


@pytest.mark.parametrize("extension", CODEC)
@pytest.mark.parametrize("part", [0.35, 0.6, 0.9])
def test_a_cut_off_file_is_named(tmp_path: Path, extension: str, part: float, caplog: pytest.LogCaptureFixture) -> None:
    whole = write(tmp_path / f"whole{extension}", [index / 30 for index in range(40)])
    assert not is_cut_off(whole)
    data = whole.read_bytes()
    path = tmp_path / f"cut{extension}"
    length = int(len(data) * part)
    path.write_bytes(data[: length + (length % 188 == 0)])
    assert is_cut_off(path)
    with pytest.raises(InputError, match=r"cut off|not a video that can be read|no readable frame"):
        list(sampled_frames(path))
    if extension in (".ts", ".mkv", ".flv") and part > 0.5:
        with caplog.at_level(logging.WARNING):
            assert clip_frames(path, count=2)
        assert "cut off after" in caplog.text


def test_an_mp4_with_its_index_in_front_is_cut_off_too(tmp_path: Path) -> None:
    with (
        av.open(str(write(tmp_path / "plain.mp4", [index / 30 for index in range(40)]))) as source,
        av.open(str(tmp_path / "front.mp4"), "w", options={"movflags": "+faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    data = (tmp_path / "front.mp4").read_bytes()
    assert len(list(sampled_frames(tmp_path / "front.mp4"))) == 40
    (tmp_path / "cut.mp4").write_bytes(data[:-200])
    with pytest.raises(InputError, match=r"cut off, \d\d of 40 frames are there"):
        list(sampled_frames(tmp_path / "cut.mp4"))


@pytest.mark.parametrize("extension", [".mp4", ".mov", ".flv", ".wmv", ".apng"])
def test_a_second_video_that_ffmpeg_does_not_read_is_said(
    extension: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = [index / 10 for index in range(12)]
    codecs = {".wmv": "wmv2", ".apng": "apng", ".mov": "libx264", **CODEC}
    pixels = "rgb24" if extension == ".apng" else ""
    one = write(tmp_path / f"one{extension}", times, codec=codecs[extension], pixel_format=pixels)
    whole = list(sampled_frames(one))
    assert not holds_another(one) and not caplog.records
    (tmp_path / f"joined{extension}").write_bytes(one.read_bytes() * 2)
    assert len(list(sampled_frames(tmp_path / f"joined{extension}"))) == len(whole)
    (message,) = caplog.messages
    assert message.endswith(f"joined{extension}: several videos, one after the other: the first one is read")
    caplog.clear()
    assert clip_frames(tmp_path / f"joined{extension}", count=2)
    assert "several videos" in caplog.text


def test_a_size_that_no_file_has_is_no_second_video(tmp_path: Path) -> None:
    """In the header of a WMV that was changed."""
    path = write(tmp_path / "a.wmv", [0, 0.1, 0.2], codec="wmv2")
    data = bytearray(path.read_bytes())
    at = data.index(ASF_FILE_PROPERTIES) + 40
    data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)
    assert not holds_another(path) and is_cut_off(path)


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("extension", [".webm", ".mkv"])
def test_transparency_is_known_by_a_tag_of_either_case(tagged: bool, extension: str, tmp_path: Path) -> None:
    """FFmpeg names the container's element in small letters, and a tag that its recipes set in capitals."""
    path = tmp_path / f"a{extension}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuva420p"
        if tagged:
            stream.metadata["alpha_mode"] = "1"
        for index in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(marked(index, 0), format="rgba")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        names = container.streams.video[0].metadata
    assert ("ALPHA_MODE" in names) == tagged
    assert [frame.image.min() for frame in sampled_frames(path)] == [255] * 3


FORKED_READER = """
import os, sys
from emo_edge.errors import PipelineStateError
from emo_edge.media.videos import clip_frames, sampled_frames
frames = sampled_frames(sys.argv[1])
next(frames)
child = os.fork()
if child == 0:
    try:
        list(frames)
    except PipelineStateError as error:
        print(error, flush=True)
    # The error is gone, and with it what it held of the reader.
    del frames
    os._exit(0 if len(clip_frames(sys.argv[1], count=2)) == 2 else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert len(list(frames)) == 39, "the parent reads on"
sys.exit(code)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="waits for a system that forks")
def test_a_forked_child_does_not_wait_for_threads_of_its_parent(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [index / 10 for index in range(40)])
    command = [sys.executable, "-W", "ignore", "-c", FORKED_READER, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "forked while a video was read" in done.stdout and 'get_context("spawn")' in done.stdout


def test_joined_files_are_read_to_the_end(tmp_path: Path) -> None:
    one = write(tmp_path / "one.ts", [index / 10 for index in range(20)]).read_bytes()
    (tmp_path / "joined.ts").write_bytes(one + one)
    frames = list(sampled_frames(tmp_path / "joined.ts", fps=2))
    assert [(frame.segment, round(frame.time_s, 1)) for frame in frames] == [
        (segment, time_s) for segment in (0, 1) for time_s in (0, 0.5, 1, 1.5)
    ]
    assert [frame.index for frame in clip_frames(tmp_path / "joined.ts", count=4)] == [5, 15, 25, 35]
    clips = list(segment_frames(tmp_path / "joined.ts", count=2))
    assert [[frame.index for frame in clip] for clip in clips] == [[5, 15], [25, 35]]
    assert [[round(frame.time_s, 1) for frame in clip] for clip in clips] == [[0.5, 1.5]] * 2
    (one,) = segment_frames(tmp_path / "one.ts", count=2)
    assert [frame.index for frame in one] == [frame.index for frame in clip_frames(tmp_path / "one.ts", count=2)]


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [("a.webm", "libvpx", ""), ("a.webm", "libvpx-vp9", ""), ("a.mov", "qtrle", "argb"), ("a.mov", "png", "rgba")],
)
def test_transparent_pixels_are_white(tmp_path: Path, name: str, codec: str, pixel_format: str) -> None:
    times = [0, 0.1, 0.2]
    write(tmp_path / name, times, codec=codec, alpha=0, pixel_format=pixel_format)
    assert [frame.image.min() for frame in sampled_frames(tmp_path / name)] == [255] * 3
    write(tmp_path / name, times, codec=codec, alpha=255, pixel_format=pixel_format)
    # VP8 at its usual rate loses up to two levels.
    assert [frame.image.mean() for frame in sampled_frames(tmp_path / name)] == pytest.approx([20, 23, 26], abs=2.4)
    write(tmp_path / name, times, codec=codec, alpha=51, pixel_format=pixel_format)
    assert all(abs(frame.image.mean() - 209) < 4 for frame in clip_frames(tmp_path / name, count=3))


def test_without_pyav_a_transparent_video_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.webm", [0, 0.1], alpha=0)
    monkeypatch.setattr(captures, "has_pyav", lambda: False)
    with pytest.raises(InputError, match=r"a\.webm: is transparent, which only PyAV reads"):
        clip_frames(path)


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_a_turned_video_is_upright_as_opencv_has_it(tmp_path: Path, quarter: int) -> None:
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = SIDE * 2, SIDE, "yuv420p"
        image = np.hstack([marked(40), marked(0)])
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    cos, sin = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarter]
    matrix = [cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30]
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, *matrix)
    path.write_bytes(data)
    (frame,) = sampled_frames(path)
    done, wanted = cv2.VideoCapture(str(path)).read()
    assert done and frame.image.shape == wanted.shape
    assert np.abs(frame.image[..., ::-1].astype(int) - wanted).max() <= 2


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=8000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = SIDE, SIDE, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(marked(0), format="rgb24").reformat(format="yuvj420p")
        container.mux(cover.encode(picture))
        container.mux(cover.encode(None))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    for read in (lambda: list(sampled_frames(path)), lambda: clip_frames(path)):
        with pytest.raises(InputError, match=r"song\.m4a: holds no video, only a cover picture"):
            read()


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    write(tmp_path / "other.ts", [0, 0.1])
    (tmp_path / "list.ts").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/other.ts\n")
    with pytest.raises(InputError, match="not a video that can be read"):
        list(sampled_frames(tmp_path / "list.ts"))
