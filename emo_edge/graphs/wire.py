"""Protocol buffers as they lie in a file: fields read where they are, without a copy of the weights."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MOST_FIELDS = 500_000
"""Of one message; each takes 200 bytes here. A graph of ours has some thousands."""
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


Buffer = bytes | mmap.mmap
"""Bytes in memory or of a mapped file."""


class Field(NamedTuple):
    """One field: its number and wire type, its number value, or the range of its bytes."""

    number: int
    wire: int
    value: int
    start: int
    end: int


Ranges = Sequence[tuple[int, int]]
"""Positions of a message's parts: one that stands twice is merged by every parser."""


class Message:
    """The fields of one message.

    Raises ValueError, while it is read, for what is no message.
    """

    def __init__(self, content: Buffer, ranges: Ranges) -> None:
        self.content = content
        self._fields: dict[int, list[Field]] = {}
        count = 0
        for start, end in ranges:
            for field in read_fields(content, start, end):
                self._fields.setdefault(field.number, []).append(field)
                count += 1
                if count > MOST_FIELDS:
                    raise ValueError(f"a message of more than {MOST_FIELDS} fields")

    def has(self, number: int) -> bool:
        """Return whether a field of this number is there."""
        return number in self._fields

    def ranges(self, number: int) -> list[tuple[int, int]]:
        """Return the ranges of a field of bytes."""
        return [(field.start, field.end) for field in self._fields.get(number, ()) if field.wire == BYTES]

    def messages(self, number: int) -> list[Message]:
        """Return a repeated field of messages."""
        return [Message(self.content, [one]) for one in self.ranges(number)]

    def message(self, number: int) -> Message:
        """Return a single field of a message; an empty one where it is not there."""
        return Message(self.content, self.ranges(number))

    def texts(self, number: int) -> list[str]:
        """Return a repeated field of text; what is no UTF-8 stays different from all that is."""
        return [self.content[start:end].decode("utf-8", "surrogateescape") for start, end in self.ranges(number)]

    def text(self, number: int) -> str:
        """Return a single field of text, the last one."""
        return (self.texts(number) or [""])[-1]

    def numbers(self, number: int) -> list[int]:
        """Return a repeated field of int64, packed or not."""
        values = []
        for field in self._fields.get(number, ()):
            if field.wire == VARINT:
                values.append(_signed(field.value))
            elif field.wire == BYTES:
                position = field.start
                while position < field.end:
                    value, position = _varint(self.content, position, field.end)
                    values.append(_signed(value))
        return values

    def number(self, number: int) -> int:
        """Return a single field of int64, the last one; 0 where it is not there."""
        return next((_signed(f.value) for f in reversed(self._fields.get(number, [])) if f.wire == VARINT), 0)

    def floats(self, number: int) -> list[float]:
        """Return a repeated field of float32, packed or not."""
        values = list[float]()
        for field in self._fields.get(number, ()):
            if field.wire in (FIXED32, BYTES):
                whole = field.end - (field.end - field.start) % 4
                values += struct.unpack(
                    f"<{(whole - field.start) // 4}f",
                    self.content[field.start : whole],
                )
        return values

    def size(self, number: int) -> int:
        """Return the bytes that a field's values take in the file."""
        return sum(field.end - field.start for field in self._fields.get(number, ()))


def read_fields(content: Buffer, start: int, end: int) -> Iterator[Field]:
    """Yield the fields of a message between two positions; raise ValueError for what is none."""
    position = start
    while position < end:
        key, position = _varint(content, position, end)
        number, wire = key >> 3, key & 7
        first = position
        value = 0
        if wire == BYTES:
            size, first = _varint(content, position, end)
            position = first + size
        elif wire == VARINT:
            value, position = _varint(content, position, end)
        elif wire in (FIXED64, FIXED32):
            position += 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}: no ONNX graph")
        if position > end:
            raise ValueError("a field ends after its message: truncated, or no ONNX graph")
        yield Field(number, wire, value, first, position)


def _varint(content: Buffer, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 64:
        byte = content[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("a number ends after its message: truncated, or no ONNX graph")


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
