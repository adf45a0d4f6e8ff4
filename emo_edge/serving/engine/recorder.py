"""Readings and live events that a server stores because its operator asked for it; nothing else stores any.

A thread of its own writes, so that nobody waits for the disk. What it cannot write in time, or at all, is left out and
counted; the readings themselves go on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from emo_edge.errors import InputError
from emo_edge.media.crops import Image
from emo_edge.media.headers.file_signatures import file_kind
from emo_edge.storage.locks import FileLock, LockedError
from emo_edge.utils.files import replaced_file
from emo_edge.utils.opencv import open_cv2

logger = logging.getLogger(__name__)
RECORD_VERSION = 1
READINGS, EVENTS, PICTURES = "readings.jsonl", "live.jsonl", "pictures"
LOCK = ".recording.lock"
"""There while a server records."""
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "WebP": ".webp", "BMP": ".bmp", "TIFF": ".tiff", "GIF": ".gif"}
FOLDER_MODE, FILE_MODE = 0o700, 0o600
WAITING_BYTES = 64 << 20
"""Of pictures that wait to be written."""
WAITING = 4096
"""Lines that wait to be written."""
QUALITY = 90
"""Of the JPEG of a live frame."""
NAME = 32
"""Characters of the sha256 that a picture is named by."""


@dataclass(frozen=True)
class _Entry:
    file: str
    line: dict[str, Any]
    pictures: Sequence[bytes | Image]

    @property
    def size(self) -> int:
        return sum(len(one) if isinstance(one, bytes) else one.nbytes for one in self.pictures)


class Recorder:
    """Appends lines of JSON to the files of a folder that its owner alone can read, and stores pictures beside them."""

    def __init__(self, folder: Path, *, pictures: bool, lost: Callable[[], None] = lambda: None) -> None:
        """Prepare the folder.

        Args:
            folder: is made, or is there and closed to others.
            pictures: True stores the pictures too.
            lost: is called for each line that was not written.

        Raises InputError for a folder that cannot be written, or that others can read.
        """
        self.has_pictures = pictures
        self._folder, self._lost = folder, lost
        _prepare(folder)
        if pictures:
            _prepare(folder / PICTURES)
        self._lock = FileLock(folder / LOCK)
        try:
            self._lock.acquire()
            _remove_partial(folder / PICTURES)
            self._files = {name: _open(folder / name) for name in (READINGS, EVENTS)}
        except LockedError as error:
            raise InputError(f"--record {folder}: another server records there; choose another folder") from error
        except OSError as error:
            self._lock.close()
            raise InputError(
                f"--record {folder}: cannot be written ({error.strerror}); choose another folder"
            ) from error
        self._changed, self._entries = threading.Condition(), deque[_Entry]()
        self._waiting_bytes, self._closing, self._has_failed = 0, False, False
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    @property
    def stored(self) -> str:
        """Return ``readings``, or ``pictures`` where those are stored as well."""
        return "pictures" if self.has_pictures else "readings"

    def reading(self, route: str, result: dict[str, Any], pictures: Sequence[bytes]) -> None:
        """Store a result as clients get it, with the files that it is about."""
        self._put(_Entry(READINGS, {"route": route, "result": result}, pictures if self.has_pictures else ()))

    def event(self, connection: str, event: dict[str, Any], image: Image | None = None) -> None:
        """Store an event of a WebSocket or a camera, with its frame."""
        pictures = [image] if self.has_pictures and image is not None else []
        self._put(_Entry(EVENTS, {"connection": connection, "event": event}, pictures))

    def close(self) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        for descriptor in self._files.values():
            os.close(descriptor)
        self._lock.close()

    def _put(self, entry: _Entry) -> None:
        entry.line.update(
            record_version=RECORD_VERSION, time=datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        )
        with self._changed:
            if len(self._entries) >= WAITING or self._waiting_bytes + entry.size > WAITING_BYTES:
                self._fail("the disk is too slow")
                return
            self._entries.append(entry)
            self._waiting_bytes += entry.size
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._entries or self._closing)
                if not self._entries:
                    return
                entry = self._entries.popleft()
            try:
                self._write(entry)
                self._has_failed = False
            except OSError as error:
                self._fail(error.strerror or str(error))
            with self._changed:
                self._waiting_bytes -= entry.size

    def _write(self, entry: _Entry) -> None:
        # A line names pictures that are there.
        names = [self._stored(one if isinstance(one, bytes) else _jpeg(one)) for one in entry.pictures]
        line = {**entry.line, **({"pictures": names} if self.has_pictures else {})}
        _append(self._files[entry.file], json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n")

    def _stored(self, data: bytes) -> str:
        """Store a picture under its sha256, once; return its name in the folder."""
        suffix = SUFFIXES.get(file_kind(data) or "", ".bin")
        name = f"{PICTURES}/{hashlib.sha256(data).hexdigest()[:NAME]}{suffix}"
        path = self._folder / name
        if not path.exists():
            with replaced_file(path) as partial, open(os.open(partial, _flags(os.O_EXCL), FILE_MODE), "wb") as file:
                file.write(data)
        return name

    def _fail(self, reason: str) -> None:
        self._lost()
        if not self._has_failed:
            logger.error("a reading was not recorded (%s); the readings go on", reason)
        self._has_failed = True


def _prepare(folder: Path) -> None:
    """Make a folder that its owner alone can read; raise InputError for one that others can, or that is none."""
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise InputError(f"--record {folder}: cannot be made ({error.strerror}); choose another folder") from error
    if not stat.S_ISDIR(status.st_mode):
        raise InputError(f"--record {folder}: is no folder itself; choose another one")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise InputError(f"--record {folder}: others can open this folder; run chmod 700 {folder}, or choose a new one")


def _remove_partial(folder: Path) -> None:
    """Remove pictures that a server was writing when it was killed; the lock keeps another one's apart."""
    for left in folder.glob(".*.partial"):
        left.unlink(missing_ok=True)


def _flags(more: int) -> int:
    return os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | more


def _open(path: Path) -> int:
    descriptor = os.open(path, _flags(os.O_APPEND), FILE_MODE)
    os.fchmod(descriptor, FILE_MODE)
    return descriptor


def _append(descriptor: int, line: bytes) -> None:
    """Write a whole line; of one that the disk does not take, nothing stays."""
    before = os.fstat(descriptor).st_size
    try:
        if os.write(descriptor, line) != len(line):
            raise OSError(0, "No space left on device")
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def _jpeg(image: Image) -> bytes:
    cv2 = open_cv2()
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return bytes(coded)
