"""The record of a run under way: whole batches of rows in one file, which a run that was stopped goes on from.

A batch is written in one call, with a checksum. What a stopped run left behind the last whole batch is cut away.
Numbers are those that the networks gave, so that every format, and a neutral face, are made from one record.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from emo_edge.errors import InputError
from emo_edge.utils.json_values import json_values

MAGIC = b"emo-edge track 1\n"
HEAD = struct.Struct("<IIII")
"""Bytes of the frames, the faces and the state of a batch, and the checksum of all three."""
LENGTH = struct.Struct("<I")
LARGEST = 1 << 28
"""Bytes of a batch's part; sixteen frames of a crowd have a thousandth of it."""
FRAME = np.dtype(
    [
        ("index", "<i8"),
        ("segment", "<i8"),
        ("seconds", "<f8"),
        ("elapsed_s", "<f8"),
        ("width", "<i4"),
        ("height", "<i4"),
    ]
)


def face_type(width: int) -> np.dtype[Any]:
    """Return the type of a face: its frame's index, its track's number, its box and score, and a row of the network."""
    return np.dtype(
        [("frame", "<i8"), ("number", "<i8"), ("box", "<f8", (4,)), ("score", "<f8"), ("row", "<f4", (width,))]
    )


@dataclass(frozen=True)
class JournalBatch:
    """Some frames in order, and their faces in the order of the frames."""

    frames: NDArray[Any]
    """[N] of `FRAME`."""
    faces: NDArray[Any]
    """[M] of `face_type`; a score that there is not is NaN."""
    state: Mapping[str, Any]
    """JSON values: of the follower after these frames, and the ids of faces that are known since."""


class Journal:
    """The record of one video, which one process has at a time; a context manager that closes it."""

    def __init__(self, path: Path, header: Mapping[str, Any], width: int) -> None:
        """Open the record at ``path``: the one of the same header as far as it is whole, else a new one.

        Raises OSError where it cannot be read or written, InputError for a file that is none.
        """
        self.path, self._face = path, face_type(width)
        self.frames = 0
        """That are recorded."""
        self.state: Mapping[str, Any] | None = None
        """After the last recorded batch; None in a new record."""
        self.is_of_others = False
        """True if there was one of other settings, which is gone."""
        head = _head(header)
        self._start = len(head)
        self._file: IO[bytes] = path.open("a+b")
        try:
            self._file.seek(0)
            given = self._file.read(len(head))
            if given == head:
                self._keep_whole_batches()
            else:
                self.is_of_others = given.startswith(MAGIC)
                if given and not self.is_of_others:
                    raise InputError(f"{path}: is no record of a stopped run, and its name is needed for one; move it")
                self._cut(0)
                self._file.write(head)
                self._file.flush()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def append(self, batch: JournalBatch) -> None:
        """Add a batch, so that it stays whatever becomes of this process."""
        parts = [batch.frames.tobytes(), batch.faces.tobytes(), _dumped(batch.state)]
        checksum = zlib.crc32(b"".join(parts))
        self._file.write(b"".join([HEAD.pack(*map(len, parts), checksum), *parts]))
        self._file.flush()
        self.frames += len(batch.frames)

    def batches(self) -> Iterator[JournalBatch]:
        """Read the batches from the first one on."""
        self._file.seek(self._start)
        while (batch := self._read()) is not None:
            yield batch

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def remove(self) -> None:
        """Close the record and remove it."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _keep_whole_batches(self) -> None:
        end = self._start
        for batch in self.batches():
            self.frames, self.state = self.frames + len(batch.frames), batch.state
            end = self._file.tell()
        self._cut(end)

    def _cut(self, end: int) -> None:
        self._file.seek(end)
        self._file.truncate()

    def _read(self) -> JournalBatch | None:
        """Read one batch; None at the end, and where it is not whole."""
        head = self._file.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        *sizes, checksum = HEAD.unpack(head)
        if not sizes[2] or max(sizes) > LARGEST or sizes[0] % FRAME.itemsize or sizes[1] % self._face.itemsize:
            return None
        parts = [self._file.read(size) for size in sizes]
        if list(map(len, parts)) != sizes or zlib.crc32(b"".join(parts)) != checksum:
            return None
        frames, faces, text = parts
        try:
            state = json_values(text)
        except ValueError:
            return None
        if not isinstance(state, dict):
            return None
        return JournalBatch(np.frombuffer(frames, FRAME), np.frombuffer(faces, self._face), state)


def _head(header: Mapping[str, Any]) -> bytes:
    text = _dumped(header)
    return MAGIC + LENGTH.pack(len(text)) + text


def _dumped(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, allow_nan=False).encode("ascii")
