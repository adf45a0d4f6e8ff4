"""Classification of a SOURCE argument: an image, a folder, a video, a camera or a stream."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Literal

from emo_edge.errors import InputError
from emo_edge.media.file_signatures import MOVING, STILL, kind_of_file
from emo_edge.media.folders import OPTIONAL_NAMES, PICTURE_NAMES
from emo_edge.media.pipes import STANDARD_INPUT

SourceKind = Literal["image", "folder", "video", "camera", "stream"]

VIDEO_EXTENSIONS = (".mp4", ".avi", ".mov", ".m4v", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".ogv")
SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt")
POSSIBLE = (
    "an image (JPEG, PNG, WebP, BMP; TIFF, GIF, AVIF, HEIC with the extra `photos`) or - for one on standard input, "
    "a folder of images, a video file, a camera (0, 1, ... or /dev/video0), a URL (rtsp://, http://, ...) or a "
    "GStreamer pipeline (with ' ! ')"
)

_CAMERA = re.compile(r"(?:/dev/video)?(\d{1,4})", re.ASCII)


def classify_source(text: str) -> SourceKind:
    """Return the kind of source that ``text`` names; content decides before the extension.

    An existing file comes before a pipeline. A bare number is a camera: write "./0" for a file of that
    name. Raises InputError that lists the possibilities.
    """
    if text == STANDARD_INPUT:
        return "image"
    if _CAMERA.fullmatch(text):
        return "camera"
    if text.partition("://")[0].lower() in SCHEMES and "://" in text:
        return "stream"
    path = Path(text)
    try:
        if text and (path.exists() or path.is_symlink()):
            return _path_source(path)
    except (OSError, ValueError):  # a name too long or with a zero byte: no file
        pass
    if " ! " in text:
        return "stream"
    raise InputError(f"{text or 'an empty source'}: no such file. A source is {POSSIBLE}")


def camera_index(text: str) -> int:
    """Return the index in a camera's source, "2", "/dev/video2" or a link to it; raise InputError for another text."""
    match = _CAMERA.fullmatch(text) or _CAMERA.fullmatch(os.path.realpath(text))
    if match is None:
        raise InputError(f"{text}: not a camera; a source is {POSSIBLE}")
    return int(match[1])


def _path_source(path: Path) -> SourceKind:
    if not path.exists():
        raise InputError(f"{path}: a link to {os.readlink(path)}, which is missing")
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISREG(mode):
        return _file_source(path)
    if stat.S_ISFIFO(mode):
        return "image"  # what it brings is known when it is read
    if stat.S_ISCHR(mode) and _CAMERA.fullmatch(os.path.realpath(path)):
        return "camera"  # a link of /dev/v4l/by-id or by-path
    kind = "a socket" if stat.S_ISSOCK(mode) else "a device that is no camera"
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
    """Return ``source`` without the password that a URL may hold."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", source)
