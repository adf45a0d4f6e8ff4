"""Classification of a SOURCE argument: an image, a folder, a video, a camera or a stream."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Literal

from emo_edge.errors import InputError
from emo_edge.media.folders import OPTIONAL_NAMES, PICTURE_NAMES, link_problem
from emo_edge.media.headers.file_signatures import MOVING, STILL, kind_of_file
from emo_edge.media.pipes import STANDARD_INPUT
from emo_edge.media.readers.credentials import unknown_text, without_credentials

SourceKind = Literal["image", "folder", "video", "camera", "stream"]

VIDEO_EXTENSIONS = (
    ".mp4",
    ".avi",
    ".mov",
    ".m4v",
    ".mkv",
    ".webm",
    ".mpg",
    ".mpeg",
    ".ts",
    ".flv",
    ".wmv",
    ".ogv",
    ".mjpeg",
    ".mjpg",
)
SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt")
POSSIBLE = (
    "an image (JPEG, PNG, WebP, BMP; TIFF, GIF, AVIF, HEIC with emo-edge[photos]) or - for one on standard input, "
    "a folder of images, a video file, a camera (0, 1, ..., /dev/video0 or /dev/v4l/by-id/...), "
    "a URL (rtsp://, http://, ...) or a GStreamer pipeline (with ' ! ')"
)

V4L_MAJOR = 81
"""Major number of Video4Linux devices (admin-guide/devices.txt of the kernel)."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*", re.ASCII)
_CAMERA = re.compile(r"(?:/dev/video)?(\d{1,4})", re.ASCII)


def classify_source(text: str) -> SourceKind:
    """Return the kind of source that ``text`` names; content decides before the extension.

    An existing file comes before a pipeline. A bare number is a camera: write "./0" for a file of that
    name. Raises InputError that lists the possibilities.
    """
    if text == STANDARD_INPUT:
        return "image"
    # A name below /dev/v4l/ is a camera also while it is unplugged.
    if _CAMERA.fullmatch(text) or (text.startswith("/dev/v4l/") and "\0" not in text):
        return "camera"
    scheme, mark, _ = text.partition("://")
    if mark and scheme.lower() in SCHEMES:
        return "stream"
    path = Path(text)
    try:
        if text and (path.exists() or path.is_symlink()):
            return _path_source(path)
    except (OSError, ValueError):  # a name too long or with a zero byte: no file
        pass
    if " ! " in text:
        return "stream"
    if mark and _SCHEME.fullmatch(scheme):
        raise InputError(f"{unknown_text(text)}: unsupported protocol {scheme}://. A source is {POSSIBLE}")
    raise InputError(f"{unknown_text(text) or 'an empty source'}: no such file. A source is {POSSIBLE}")


def camera_path(text: str) -> str:
    """Return the device of a camera's source; a link, such as one below /dev/v4l/by-id, is followed."""
    match = _CAMERA.fullmatch(text)
    return f"/dev/video{int(match[1])}" if match else os.path.realpath(text)


def _path_source(path: Path) -> SourceKind:
    if not path.exists():
        raise InputError(f"{path}: {link_problem(path)}")
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        return "folder"
    if stat.S_ISREG(status.st_mode):
        return _file_source(path)
    if stat.S_ISFIFO(status.st_mode):
        return "image"  # what it brings is known when it is read
    if stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) == V4L_MAJOR:
        return "camera"
    kind = "a socket" if stat.S_ISSOCK(status.st_mode) else "a device that is no camera"
    raise InputError(f"{path}: is {kind}. A source is {POSSIBLE}")


def _file_source(path: Path) -> SourceKind:
    try:
        kind = kind_of_file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if kind in STILL:
        return "image"
    if kind in MOVING:
        return "video"
    # Unknown content keeps its extension's word, so that the reader can name the problem.
    if kind is None and path.suffix.lower() in (*PICTURE_NAMES, *OPTIONAL_NAMES):
        return "image"
    if kind is None and path.suffix.lower() in VIDEO_EXTENSIONS:
        return "video"
    raise InputError(f"{path}: {kind or 'the content'} is not read. A source is {POSSIBLE}")


def without_password(source: str) -> str:
    """Return ``source`` without its credentials, as results, messages and drawings name it."""
    return without_credentials(source)
