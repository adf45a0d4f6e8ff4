"""Read a GGUF file's metadata and the sizes of its tensors, without llama.cpp and without its weights.

The layout is that of ggml's ``docs/gguf.md``: counts, key-value pairs, tensor infos, then the aligned data.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from emo_edge.bundle.model_shape import LanguageShape
from emo_edge.errors import CheckpointError

MAGIC = b"GGUF"
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
LARGEST = 1 << 24
"""Of a count or a string: a header of ours has tens of thousands of tokens."""
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


@dataclass(frozen=True)
class GgufHeader:
    """Metadata and tensors of a language model's file."""

    metadata: dict[str, Any]
    """Scalars and strings; of an array its length alone."""
    tensors: dict[str, StoredTensor]

    @property
    def tensor_bytes(self) -> dict[str, int]:
        """Size of each tensor as it is stored, padding included."""
        return {name: tensor.bytes for name, tensor in self.tensors.items()}

    @property
    def layer_bytes(self) -> float:
        """Size of one layer, on average."""
        layers = int(self.metadata["llama.block_count"])
        return sum(size for name, size in self.tensor_bytes.items() if name.startswith("blk.")) / layers

    @property
    def output_bytes(self) -> int:
        """Size of the output matrix, which is the table of embeddings where there is none of its own."""
        return self.tensor_bytes.get(OUTPUT, self.tensor_bytes.get(EMBEDDING, 0))

    def shape(self) -> LanguageShape:
        """Return the sizes in the metadata."""
        metadata = self.metadata
        heads = int(metadata["llama.attention.head_count"])
        return LanguageShape(
            vocabulary=int(metadata.get("llama.vocab_size", metadata.get("tokenizer.ggml.tokens", 0))),
            width=int(metadata["llama.embedding_length"]),
            mlp=int(metadata["llama.feed_forward_length"]),
            layers=int(metadata["llama.block_count"]),
            heads=heads,
            kv_heads=int(metadata.get("llama.attention.head_count_kv", heads)),
            context=int(metadata["llama.context_length"]),
        )


def read_gguf_header(path: Path) -> GgufHeader:
    """Read the head of a LLaMA's file; raise CheckpointError for one that is truncated, corrupt or another kind."""
    try:
        with path.open("rb") as stream:
            header = _header(stream, path.stat().st_size)
        header.shape()
        return header
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, struct.error, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: no LLaMA in GGUF, or truncated ({error}); export it again") from error


def read_gguf_structure(path: Path) -> GgufHeader:
    """Read the head of any GGUF file, a language model's or not; raise ValueError for one that is none."""
    try:
        with path.open("rb") as stream:
            return _header(stream, path.stat().st_size)
    except (KeyError, struct.error, ZeroDivisionError, TypeError, OverflowError) as error:
        raise ValueError(f"no GGUF, or truncated ({error})") from error


def _header(stream: BinaryIO, size: int) -> GgufHeader:
    if stream.read(4) != MAGIC or _scalar(stream, "I") not in (2, 3):
        raise ValueError("not GGUF of version 2 or 3")
    tensors, pairs = _count(stream), _count(stream)
    metadata = {}
    for _ in range(pairs):
        name = _string(stream)
        metadata[name] = _value(stream, _scalar(stream, "I"))
    infos = [_tensor(stream) for _ in range(tensors)]
    alignment = int(metadata.get("general.alignment", 32))
    data = -(-stream.tell() // alignment) * alignment
    starts = sorted(start for *_, start in infos)
    following = dict(zip(starts, [*starts[1:], size - data], strict=True))
    stored = {
        name: StoredTensor(kind, shape, data + start, following[start] - start) for name, kind, shape, start in infos
    }
    if any(tensor.bytes < 0 for tensor in stored.values()):
        raise ValueError("its tensors end after the file")
    return GgufHeader(metadata, stored)


def _tensor(stream: BinaryIO) -> tuple[str, int, tuple[int, ...], int]:
    """Read name, type, shape and the start among the data."""
    name = _string(stream)
    shape = tuple(_scalar(stream, "Q") for _ in range(_scalar(stream, "I")))
    return name, _scalar(stream, "I"), shape, _scalar(stream, "Q")


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return _string(stream)
    if kind != ARRAY:
        return _scalar(stream, SCALARS[kind])
    inner, count = _scalar(stream, "I"), _count(stream)
    if inner == STRING:
        for _ in range(count):
            _string(stream)
    else:
        stream.seek(count * struct.calcsize(f"<{SCALARS[inner]}"), 1)
    return count


def _scalar(stream: BinaryIO, kind: str) -> Any:
    return struct.unpack(f"<{kind}", stream.read(struct.calcsize(f"<{kind}")))[0]


def _count(stream: BinaryIO) -> int:
    count = int(_scalar(stream, "Q"))
    if count > LARGEST:
        raise ValueError(f"a count of {count}")
    return count


def _string(stream: BinaryIO) -> str:
    return stream.read(_count(stream)).decode("utf-8", "replace")
