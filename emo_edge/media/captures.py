"""Open and close files, cameras and streams, with errors that name the next step."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from emo_edge.errors import DeviceError, EmoEdgeError, InputError
from emo_edge.media.readers import pyav_reader
from emo_edge.media.readers.frames import OPEN_TIMEOUT_S, READ_TIMEOUT_S, FrameReader
from emo_edge.media.readers.opencv_reader import OpenCvReader
from emo_edge.media.readers.unreachable import reason
from emo_edge.media.readers.waiting import WaitingThread
from emo_edge.media.sources import SourceKind, camera_path, without_password
from emo_edge.utils.extras import failed_import
from emo_edge.utils.native_paths import native_path, native_text
from emo_edge.utils.opencv import open_cv2

logger = logging.getLogger(__name__)
ALPHA_MODE = bytes.fromhex("53c08101")
"""Matroska's element AlphaMode with the value 1, of WebM with transparency."""
HEAD_BYTES = 1 << 16


@contextmanager
def opened_capture(source: str, kind: SourceKind) -> Iterator[FrameReader]:
    """Open a "video", "camera" or "stream" and close it in the end.

    Files and addresses are read with PyAV, cameras and GStreamer pipelines with OpenCV. Without PyAV OpenCV reads all,
    and a warning names what is missing then.

    Raises InputError for a file that is no readable video, DeviceError for a camera or stream that does not answer.
    """
    reader = {"video": _file, "camera": _camera, "stream": _stream}[kind](source)
    try:
        yield reader
    finally:
        reader.close()


@cache
def has_pyav() -> bool:
    """Return True where PyAV can be imported; log a warning, once, where it cannot."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        logger.warning(
            "OpenCV reads videos, and recognises neither transparency nor cover pictures: %s", failed_import(error)
        )
        return False
    return True


def _file(source: str) -> FrameReader:
    # An absolute path is never taken for a protocol or a number.
    path = Path(source).resolve()
    if has_pyav():
        with native_path(path) as name:
            return pyav_reader.open_file(name, source)
    with path.open("rb") as file:
        transparent = ALPHA_MODE in file.read(HEAD_BYTES)
    if transparent:
        raise InputError(f'{source}: is transparent, which only PyAV reads. Run: pip install "emo-edge[cpu]"')
    with native_path(path) as name:
        capture = open_cv2().VideoCapture(name)
    if not capture.isOpened():
        raise InputError(
            f"{source}: not a video that OpenCV can read, or a damaged one (an MP4 that was cut off cannot be opened): "
            "copy it again, or convert it to MP4"
        )
    return OpenCvReader(capture, source)


def _camera(source: str) -> FrameReader:
    cv2, path = open_cv2(), camera_path(source)
    if sys.platform != "linux":
        capture = cv2.VideoCapture(int(path.removeprefix("/dev/video")), cv2.CAP_ANY)
    else:
        # Asking the drivers for a camera that is not there takes seconds with some of them.
        capture = cv2.VideoCapture(path, cv2.CAP_V4L2) if os.access(path, os.R_OK | os.W_OK) else None
    if capture is None or not capture.isOpened():
        raise DeviceError(f"camera {source.removeprefix('/dev/video')} cannot be opened{_camera_hint(path)}")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return OpenCvReader(capture, source, camera=True)


def _camera_hint(path: str) -> str:
    if sys.platform != "linux":
        return ". Is it plugged in, and free of other programs?"
    if Path(path).exists() and not os.access(path, os.R_OK | os.W_OK):
        return f': no permission for {path}. Run: sudo usermod -aG video "$USER", and log in again'
    present = ", ".join(sorted(str(node) for node in Path("/dev").glob("video*"))) or "none"
    if Path(path).exists():
        return (
            f"; this machine has {present}. Is it free of other programs? "
            "A camera may have several nodes, of which one gives pictures"
        )
    return f"; this machine has {present}. Is it plugged in, and free of other programs?"


def _stream(source: str) -> FrameReader:
    shown, source = without_password(source), native_text(source)
    if " ! " in source and "://" not in source.partition(" ")[0]:
        return _pipeline(source, shown)
    # FFmpeg knows the protocols by their small letters alone.
    scheme, mark, rest = source.partition("://")
    source = f"{scheme.lower()}{mark}{rest}"
    if not has_pyav():
        return _address_by_opencv(source, shown)
    from av.error import FFmpegError

    failure: Exception | None = None
    start = time.monotonic()
    try:
        return pyav_reader.open_stream(source, shown)
    except EmoEdgeError as error:
        raise DeviceError(str(error)) from None
    except (FFmpegError, ValueError, OSError) as error:
        failure = error
    # Raised out of the handler: FFmpeg's error, which holds the address, is no part of a traceback.
    raise DeviceError(f"{shown}: the stream cannot be opened ({reason(source, failure, time.monotonic() - start)})")


def _address_by_opencv(source: str, shown: str) -> FrameReader:
    cv2 = open_cv2()
    limits: list[Any] = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_S * 1000]
    limits += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_S * 1000]
    start, waiting = time.monotonic(), WaitingThread()
    capture = waiting.run(lambda: cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits))
    if not capture.isOpened():
        waiting.close()
        raise DeviceError(f"{shown}: the stream cannot be opened ({reason(source, None, time.monotonic() - start)})")
    return OpenCvReader(capture, shown, waiting=waiting)


def _pipeline(source: str, shown: str) -> FrameReader:
    cv2, waiting = open_cv2(), WaitingThread()
    capture = waiting.run(lambda: cv2.VideoCapture(source, cv2.CAP_GSTREAMER))
    if capture.isOpened():
        return OpenCvReader(capture, shown, waiting=waiting)
    waiting.close()
    if not re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
        raise DeviceError(
            "this OpenCV was built without GStreamer: use the one that JetPack or the distribution brings, not pip's"
        )
    raise DeviceError(f"{shown}: the stream cannot be opened (does it end in 'appsink'?)")
