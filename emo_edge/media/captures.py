"""Open and close OpenCV's captures of files, cameras and streams, with errors that name the next step."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emo_edge.errors import DeviceError, InputError
from emo_edge.media.sources import SourceKind, camera_index, without_password
from emo_edge.utils.native_paths import native_path, native_text
from emo_edge.utils.opencv import open_cv2

OPEN_TIMEOUT_MS = 10_000
READ_TIMEOUT_MS = 10_000
MAX_PIXELS = 36_000_000
"""Of a frame: 8K video, and 108 MB; several are kept at once."""
MOST_FRAMES = 10**9
"""Frame counts beyond this are nonsense (OpenCV passes on what a container lacks as -9e14 or 9e18)."""


@contextmanager
def opened_capture(source: str, kind: SourceKind) -> Iterator[Any]:
    """Open a cv2.VideoCapture of a "video", "camera" or "stream" and release it in the end.

    Raises InputError for a file that is no readable video, DeviceError for a camera or stream that does not answer.
    """
    capture = {"video": _file, "camera": _camera, "stream": _stream}[kind](source)
    try:
        _check_size(capture, source)
        yield capture
    finally:
        capture.release()


def _check_size(capture: Any, source: str) -> None:
    cv2 = open_cv2()
    width, height = (int(capture.get(name)) for name in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{without_password(source)}: frames of {width}x{height} pixels, more than the limit of {MAX_PIXELS:,}"
        )


def promised_frames(capture: Any) -> int:
    """Return the number of frames that the container promises; 0 when it promises none."""
    count = capture.get(open_cv2().CAP_PROP_FRAME_COUNT)
    return int(count) if 0 < count < MOST_FRAMES else 0


def frame_clock(capture: Any, kind: SourceKind) -> Callable[[int], float]:
    """Return a function from a frame's index, asked after its grab, to its seconds since the first frame.

    Files and streams carry time stamps; cameras, and streams that do not, are timed by this machine's clock.
    """
    cv2 = open_cv2()
    rate = capture.get(cv2.CAP_PROP_FPS)
    step = 1 / rate if 0 < rate < 1000 else 1 / 25
    first: list[float] = []
    last = [0.0]

    def seconds(index: int) -> float:
        stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        first.extend([] if first else [stamp, time.monotonic()])
        value = stamp - first[0]
        if kind == "camera" or (kind == "stream" and index and value <= 0):
            value = time.monotonic() - first[1]
        elif index and not value > 0:
            value = index * step
        last[0] = max(last[0], value)
        return last[0]

    return seconds


def _file(source: str) -> Any:
    # An absolute path is never taken for a protocol or a number.
    with native_path(Path(source).resolve()) as name:
        capture = open_cv2().VideoCapture(name)
    if not capture.isOpened():
        raise InputError(
            f"{source}: not a video that OpenCV can read, or a damaged one (an MP4 that was cut off cannot be opened): "
            "copy it again, or convert it to MP4"
        )
    return capture


def _camera(source: str) -> Any:
    cv2, index = open_cv2(), camera_index(source)
    linux = sys.platform == "linux"
    present = sorted(str(path) for path in Path("/dev").glob("video*"))
    # Asking the drivers for a camera that is not there takes seconds with some of them.
    missing = linux and f"/dev/video{index}" not in present
    capture = None if missing else cv2.VideoCapture(index, cv2.CAP_V4L2 if linux else cv2.CAP_ANY)
    if capture is None or not capture.isOpened():
        available = f"; this machine has {', '.join(present) or 'none'}" if linux else ""
        raise DeviceError(f"camera {index} cannot be opened{available}. Is it plugged in, and free of other programs?")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _stream(source: str) -> Any:
    cv2, source = open_cv2(), native_text(source)
    pipeline = " ! " in source
    if pipeline:
        capture = cv2.VideoCapture(source, cv2.CAP_GSTREAMER)
    else:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS]
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
    if capture.isOpened():
        return capture
    if pipeline and not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
        raise DeviceError(
            "this OpenCV was built without GStreamer: use the one that JetPack or the distribution brings, not pip's"
        )
    hint = "does it end in 'appsink'?" if pipeline else f"nothing answered within {OPEN_TIMEOUT_MS // 1000} s"
    raise DeviceError(f"{without_password(source)}: the stream cannot be opened ({hint})")
