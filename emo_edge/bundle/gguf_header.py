"""Read a GGUF file's metadata and the sizes of its tensors, without llama.cpp and without its weights.

The layout is that of ggml's ``docs/gguf.md``: counts, key-value pairs, tensor infos, then the aligned data. Every count
and length is bounded before anything of that size is read; `emo_edge.bundle.checks.gguf` has the rules for values.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emo_edge.bundle.gguf_types import UNQUANTIZED_TENSORS
from emo_edge.bundle.model_shape import LanguageShape
from emo_edge.errors import CheckpointError

MAGIC = b"GGUF"
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 4, 5, 6, 7, 8, 9, 10
PACKED = {kind: struct.Struct(f"<{code}") for kind, code in SCALARS.items()}
LENGTH = PACKED[UINT64]
DTYPES = {kind: np.dtype(f"<{np.dtype(code).str[1:]}") for kind, code in SCALARS.items()}
LARGEST = 1 << 20
"""Of a count, a string or a size: vocabularies have up to some 260,000 tokens."""
LONGEST = 16 << 20
"""Bytes before the data: a vocabulary of 260,000 tokens takes about 6 MB."""
MOST_AXES = 4
ALIGNMENT_KEY, ALIGNMENT = "general.alignment", 32
OUTPUT, EMBEDDING = "output.weight", "token_embd.weight"


@dataclass(frozen=True)
class StoredTensor:
    """Position and type of a tensor in the file."""

    type: int
    """ggml's number."""
    shape: tuple[int, ...]
    """The fastest axis first, as in the file."""
    start: int
    """Of its data, in bytes from the file's start."""
    bytes: int
    """Padding included."""


class GgufArray(NamedTuple):
    """An array of the metadata: strings as they are stored, or numbers [N]."""

    kind: int
    """GGUF's number of its values' type."""
    values: list[bytes] | NDArray[Any]


@dataclass(frozen=True)
class GgufHeader:
    """Metadata and tensors of a language model's file."""

    metadata: dict[str, Any]
    """Scalars and strings; of an array its length alone."""
    tensors: dict[str, StoredTensor]
    """In the order of the file."""
    kinds: dict[str, int] = field(default_factory=dict)
    """GGUF's number of the type of each value of ``metadata``."""
    arrays: dict[str, GgufArray] = field(default_factory=dict)
    data_start: int = 0
    """Of the first tensor, in bytes from the file's start."""

    @property
    def tensor_bytes(self) -> dict[str, int]:
        """Size of each tensor as it is stored, padding included."""
        return {name: tensor.bytes for name, tensor in self.tensors.items()}

    @property
    def quantized_types(self) -> frozenset[int]:
        """Numbers of the tensor types with blocks: a file whose own type is f16 may hold some."""
        return frozenset(tensor.type for tensor in self.tensors.values()) - UNQUANTIZED_TENSORS

    @property
    def layer_bytes(self) -> float:
        """Size of one layer, on average."""
        layers = int(self.metadata[self._key("block_count")])
        return sum(size for name, size in self.tensor_bytes.items() if name.startswith("blk.")) / layers

    @property
    def output_bytes(self) -> int:
        """Size of the output matrix, which is the table of embeddings where there is none of its own."""
        return self.tensor_bytes.get(OUTPUT, self.tensor_bytes.get(EMBEDDING, 0))

    @property
    def architecture(self) -> str:
        """Name of the architecture, with which the keys of its sizes begin."""
        return str(self.metadata.get("general.architecture", "llama"))

    def shape(self) -> LanguageShape:
        """Return the sizes in the metadata; raise ValueError for one that no model has.

        Where layers differ, the largest of a size counts.
        """
        vocabulary = self._key("vocab_size") if self._key("vocab_size") in self.metadata else "tokenizer.ggml.tokens"
        heads = self._size(self._key("attention.head_count"))
        grouped = self._key("attention.head_count_kv") in self.metadata
        return LanguageShape(
            vocabulary=self._size(vocabulary),
            width=self._size(self._key("embedding_length")),
            mlp=self._size(self._key("feed_forward_length")),
            layers=self._size(self._key("block_count")),
            heads=heads,
            kv_heads=self._size(self._key("attention.head_count_kv")) if grouped else heads,
            context=self._size(self._key("context_length")),
        )

    def _key(self, name: str) -> str:
        return f"{self.architecture}.{name}"

    def _size(self, name: str) -> int:
        value = self.metadata.get(name)
        if name in self.arrays and name.startswith(f"{self.architecture}."):
            numbers = self.arrays[name].values
            value = int(max(numbers)) if isinstance(numbers, np.ndarray) and len(numbers) else 0
        if type(value) is not int or not 1 <= value <= LARGEST:
            raise ValueError(f"{name} is {value}, not a whole number from 1 to {LARGEST}")
        return value


def read_gguf_header(path: Path) -> GgufHeader:
    """Read the head of a language model's file.

    Raises CheckpointError for one that is truncated, corrupt or of another kind.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            header = _header(_Cursor(content), len(content))
        header.shape()
        return header
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, struct.error) as error:
        raise CheckpointError(f"{path}: no language model in GGUF, or truncated ({error}); export it again") from error


def read_gguf_structure(path: Path) -> GgufHeader:
    """Read the head of any GGUF file, a language model's or not; raise ValueError for one that is none."""
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _header(_Cursor(content), len(content))
    except (KeyError, struct.error) as error:
        raise ValueError(f"no GGUF, or truncated ({error})") from error


class _Cursor:
    """A position in the head of a file."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.position = content, 0
        self.end = min(len(content), LONGEST)

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        start, self.position = self.position, self.position + count
        if self.position > self.end:
            raise ValueError(f"its head ends after the file, or after {LONGEST} bytes")
        return self.content[start : self.position]

    def scalar(self, kind: int) -> Any:
        """Return the next number of a type."""
        packed = PACKED[kind]
        return packed.unpack(self.take(packed.size))[0]

    def count(self) -> int:
        """Return the next length, bounded."""
        count = int(self.scalar(UINT64))
        if count > LARGEST:
            raise ValueError(f"a count of {count}, more than {LARGEST}")
        return count

    def string(self) -> bytes:
        """Return the next string."""
        return self.take(self.count())

    def strings(self, count: int) -> list[bytes]:
        """Return the next strings: `string` without its calls, for a vocabulary is read at every start."""
        content, position, values = self.content, self.position, []
        for _ in range(count):
            (length,) = LENGTH.unpack_from(content, position)
            start = position + LENGTH.size
            position = start + length
            if position > self.end:
                raise ValueError(f"its head ends after the file, or after {LONGEST} bytes")
            values.append(content[start:position])
        self.position = position
        return values


def _header(cursor: _Cursor, size: int) -> GgufHeader:
    if cursor.take(4) != MAGIC or cursor.scalar(UINT32) not in (2, 3):
        raise ValueError("not GGUF of version 2 or 3")
    tensors, pairs = cursor.count(), cursor.count()
    metadata, kinds, arrays = _pairs(cursor, pairs)
    infos = dict(_tensor(cursor) for _ in range(tensors))
    if len(infos) < tensors:
        raise ValueError("two tensors have the same name")
    alignment = metadata.get(ALIGNMENT_KEY, ALIGNMENT)
    if type(alignment) is not int or not 1 <= alignment <= LARGEST:
        raise ValueError(f"{ALIGNMENT_KEY} is {alignment}")
    data = -(-cursor.position // alignment) * alignment
    starts = sorted(start for *_, start in infos.values())
    following = dict(zip(starts, [*starts[1:], size - data], strict=True))
    stored = {
        name: StoredTensor(kind, shape, data + start, following[start] - start)
        for name, (kind, shape, start) in infos.items()
    }
    if any(tensor.bytes < 0 for tensor in stored.values()):
        raise ValueError("its tensors end after the file")
    return GgufHeader(metadata, stored, kinds, arrays, data)


def _pairs(cursor: _Cursor, pairs: int) -> tuple[dict[str, Any], dict[str, int], dict[str, GgufArray]]:
    """Read the metadata: values, types, arrays."""
    metadata: dict[str, Any] = {}
    kinds: dict[str, int] = {}
    arrays: dict[str, GgufArray] = {}
    for _ in range(pairs):
        name, kind = cursor.string().decode("utf-8", "replace"), cursor.scalar(UINT32)
        if name in metadata:
            raise ValueError(f"{name!r} is there twice")
        kinds[name] = kind
        if kind == ARRAY:
            arrays[name] = _array(cursor)
            metadata[name] = len(arrays[name].values)
        else:
            metadata[name] = cursor.string().decode("utf-8", "replace") if kind == STRING else cursor.scalar(kind)
    return metadata, kinds, arrays


def _array(cursor: _Cursor) -> GgufArray:
    kind, count = cursor.scalar(UINT32), cursor.count()
    if kind == STRING:
        return GgufArray(kind, cursor.strings(count))
    dtype = DTYPES[kind]
    return GgufArray(kind, np.frombuffer(cursor.take(count * dtype.itemsize), dtype))


def _tensor(cursor: _Cursor) -> tuple[str, tuple[int, tuple[int, ...], int]]:
    """Read name, type, shape and the start among the data."""
    name, axes = cursor.string().decode("utf-8", "replace"), cursor.scalar(UINT32)
    if axes > MOST_AXES:
        raise ValueError(f"{name!r} has {axes} axes")
    shape = tuple(cursor.scalar(UINT64) for _ in range(axes))
    return name, (cursor.scalar(UINT32), shape, cursor.scalar(UINT64))
