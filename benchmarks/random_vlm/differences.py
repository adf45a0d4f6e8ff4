"""Differences of two GGUF files, key by key and tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

LONGEST = 60
"""Characters of a value that are shown."""
F16 = gguf.GGMLQuantizationType.F16


def gguf_differences(ours: Path, theirs: Path) -> list[str]:
    """Name every key and tensor that two GGUF files do not have alike; an empty list says that they are equal.

    A float16 tensor equals a float32 one that rounds to the same values: scripts differ in what they store so.
    """
    one, other = gguf.GGUFReader(ours), gguf.GGUFReader(theirs)
    return [*_key_differences(_keys(one), _keys(other)), *_tensor_differences(_tensors(one), _tensors(other))]


def _keys(reader: gguf.GGUFReader) -> dict[str, Any]:
    return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}


def _key_differences(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    for name in sorted(ours.keys() | theirs.keys()):
        pair = [repr(values[name])[:LONGEST] if name in values else "missing" for values in (ours, theirs)]
        if name not in ours or name not in theirs or ours[name] != theirs[name]:
            yield f"{name}: {pair[0]}, theirs {pair[1]}"


def _tensors(reader: gguf.GGUFReader) -> dict[str, NDArray[Any]]:
    return {tensor.name: tensor.data for tensor in reader.tensors}


def _tensor_differences(ours: dict[str, NDArray[Any]], theirs: dict[str, NDArray[Any]]) -> Iterator[str]:
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours or name not in theirs:
            yield f"{name}: missing in {'ours' if name not in ours else 'theirs'}"
        elif ours[name].shape != theirs[name].shape:
            yield f"{name}: shape {ours[name].shape}, theirs {theirs[name].shape}"
        elif not _equal(ours[name], theirs[name]):
            furthest = np.abs(ours[name].astype(np.float32) - theirs[name].astype(np.float32)).max()
            yield f"{name}: values differ by up to {furthest:.1e}"


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if np.float16 in (one.dtype, other.dtype):
        return np.array_equal(one.astype(np.float16), other.astype(np.float16))
    return np.array_equal(one, other)
